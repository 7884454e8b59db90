"""Models and their architectures."""

from vaezoo.models.architecture import ACTIVATIONS as ACTIVATIONS
from vaezoo.models.architecture import MLP as MLP
from vaezoo.models.architecture import MLP_2 as MLP_2
from vaezoo.models.architecture import Architecture as Architecture
from vaezoo.models.architecture import DataSpec as DataSpec
from vaezoo.models.architecture import mlp as mlp
from vaezoo.models.convolution import CONV as CONV
from vaezoo.models.dataset import Dataset as Dataset
from vaezoo.models.initialisation import find_state as find_state
from vaezoo.models.initialisation import initialise as initialise
from vaezoo.models.initialisation import initialise_output as initialise_output
from vaezoo.models.model import Decoder as Decoder
from vaezoo.models.model import Encoder as Encoder
from vaezoo.models.model import Model as Model
from vaezoo.models.model import check_names as check_names
from vaezoo.models.variational import build_model as build_model
from vaezoo.models.variational import mlp_bernoulli as mlp_bernoulli
from vaezoo.models.variational import mlp_categorical as mlp_categorical
from vaezoo.models.variational import mlp_normal as mlp_normal
from vaezoo.models.variational import mlp_point as mlp_point

ARCHITECTURES = (MLP, MLP_2, CONV)
