"""Variational autoencoders and their gradient estimators, composed of small functions."""

from vaezoo.baselines import LEARNED as LEARNED
from vaezoo.baselines import LEAVE_ONE_OUT as LEAVE_ONE_OUT
from vaezoo.baselines import MOVING_AVERAGE as MOVING_AVERAGE
from vaezoo.baselines import NO_BASELINE as NO_BASELINE
from vaezoo.baselines import Baseline as Baseline
from vaezoo.estimators import Estimator as Estimator
from vaezoo.estimators import blocked as blocked
from vaezoo.estimators import doubly_reparameterized as doubly_reparameterized
from vaezoo.estimators import pathwise as pathwise
from vaezoo.estimators import score_function as score_function
from vaezoo.estimators import sticking_the_landing as sticking_the_landing
from vaezoo.evaluation import evaluate as evaluate
from vaezoo.evaluation import evidence_lower_bound as evidence_lower_bound
from vaezoo.gradients import Measurement as Measurement
from vaezoo.gradients import Moments as Moments
from vaezoo.gradients import measure as measure
from vaezoo.models import ARCHITECTURES as ARCHITECTURES
from vaezoo.models import Architecture as Architecture
from vaezoo.models import Dataset as Dataset
from vaezoo.models import DataSpec as DataSpec
from vaezoo.models import Model as Model
from vaezoo.models import find_state as find_state
from vaezoo.models import initialise as initialise
from vaezoo.models import initialise_output as initialise_output
from vaezoo.models import mlp_normal as mlp_normal
from vaezoo.models import mlp_point as mlp_point
from vaezoo.objectives import Objective as Objective
from vaezoo.objectives import beta_elbo as beta_elbo
from vaezoo.objectives import ciwae as ciwae
from vaezoo.objectives import elbo as elbo
from vaezoo.objectives import elbo_mc as elbo_mc
from vaezoo.objectives import iwae as iwae
from vaezoo.objectives import miwae as miwae
from vaezoo.objectives import reconstruction as reconstruction
from vaezoo.objectives import vr_iwae as vr_iwae
from vaezoo.variants import VARIANTS as VARIANTS
from vaezoo.variants import FittedVariant as FittedVariant
from vaezoo.variants import Variant as Variant
from vaezoo.variants import build as build
from vaezoo.variants import estimate as estimate
from vaezoo.variants import estimate_parts as estimate_parts
from vaezoo.variants import initial_average as initial_average

__version__ = "0.1.0"
