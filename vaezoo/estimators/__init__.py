"""Gradient estimators, by how they differentiate through or around the draws."""

from vaezoo.estimators.control_variates import rebar as rebar
from vaezoo.estimators.control_variates import relax as relax
from vaezoo.estimators.discrete import arm as arm
from vaezoo.estimators.discrete import disarm as disarm
from vaezoo.estimators.discrete import enumerated as enumerated
from vaezoo.estimators.discrete import gumbel_softmax as gumbel_softmax
from vaezoo.estimators.discrete import reinmax as reinmax
from vaezoo.estimators.discrete import st_gumbel_softmax as st_gumbel_softmax
from vaezoo.estimators.discrete import straight_through as straight_through
from vaezoo.estimators.discrete import with_path as with_path
from vaezoo.estimators.estimator import Estimate as Estimate
from vaezoo.estimators.estimator import Estimator as Estimator
from vaezoo.estimators.general import blocked as blocked
from vaezoo.estimators.general import doubly_reparameterized as doubly_reparameterized
from vaezoo.estimators.general import pathwise as pathwise
from vaezoo.estimators.general import score_function as score_function
from vaezoo.estimators.general import sticking_the_landing as sticking_the_landing
