"""Trained models: their use on a user's arrays, and their files."""

from vaezoo.trained.files import load_model as load_model
from vaezoo.trained.files import serialize_model as serialize_model
from vaezoo.trained.trained_model import TrainedModel as TrainedModel
