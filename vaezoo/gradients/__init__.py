"""Moments of gradient estimates at fixed parameters: their variance, signal-to-noise ratio, bias and direction."""

from vaezoo.gradients.direct_measurement import minibatch_gradient as minibatch_gradient
from vaezoo.gradients.measure import measure as measure
from vaezoo.gradients.minibatch_variance import measure_between_examples as measure_between_examples
from vaezoo.gradients.minibatch_variance import measure_fresh_variance as measure_fresh_variance
from vaezoo.gradients.moments import Measurement as Measurement
from vaezoo.gradients.moments import Moments as Moments
from vaezoo.gradients.moments import Route as Route
from vaezoo.gradients.moments import ValueWithError as ValueWithError
from vaezoo.gradients.moments import normalise as normalise
from vaezoo.gradients.spread import grouped_spread as grouped_spread
from vaezoo.gradients.spread import leading_spread as leading_spread
