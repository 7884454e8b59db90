"""The list of wrong variants, each with the property that `check` must find broken."""

from vaezoo import Estimator, Variant, elbo, mlp_normal, pathwise

ENCODER, DECODER = "bias of the encoder's gradient", "bias of the decoder's gradient"
VALUE, EXAMPLES = "value is the objective", "examples are independent"
RARE_DRAWS = "mean value is the objective for rare draws"
DERIVATIVES, DENSITY, BOUND = "gradients are derivatives", "likelihood is a density", "objective is a bound of log p(x)"
KL, LEAST_SQUARES = "KL in closed form", "baseline learns by least squares"
WRONG = []


def wrong(property_, objective=elbo, architecture=mlp_normal, draws=1, **options):
    """Return a decorator that adds a variant with the decorated function as its estimate."""

    def add(function):
        details = {name: options.pop(name) for name in ("transforms_noise", "fewest_draws") if name in options}
        name = function.__name__.replace("_", "-")
        estimator = Estimator(function.__name__, function, **details)
        WRONG.append((Variant(name, architecture, objective, estimator, draws, **options), property_))
        return function

    return add


def add(name, property_, architecture=mlp_normal, objective=elbo, estimator=pathwise, draws=1, **options):
    WRONG.append((Variant(name, architecture, objective, estimator, draws, **options), property_))
