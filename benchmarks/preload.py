"""Modules that the fork server imports once for all cells; the server also exits without delay."""

import atexit
import gc
import os

gc.disable()  # until the end of the imports, which take a sixth less time

import benchmarks.gradient_studies.measurement
import benchmarks.training.cell
import benchmarks.training.task  # noqa: F401
from benchmarks.common import environment
from benchmarks.planning import registry

SERVER = os.getpid()
environment.read_processor()  # cached, so that no cell reads them again
environment.read_torch_version()
registry.load_installed()  # cached, so that no cell imports the packages again
gc.freeze()  # the garbage collection of a cell skips all objects that exist now
gc.enable()


@atexit.register
def _exit_at_once() -> None:
    """Exit at once, because torch needs two seconds to shut down, and the command would wait for it."""
    if os.getpid() == SERVER:
        os._exit(0)
