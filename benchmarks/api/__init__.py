"""The harness in Python: train variants, read runs, and use their models. Importing it does not import torch."""

from benchmarks.api.finished_run import Run as Run
from benchmarks.api.finished_run import read as read
from benchmarks.api.train import run as run
from benchmarks.common.errors import UserError as UserError
