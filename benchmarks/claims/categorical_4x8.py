"""Variants of the claim reinmax-order: 4 latents of 8 classes; straight-through and ReinMax have a temperature."""

import dataclasses
from functools import partial

from vaezoo import DataSpec, Estimator, Model, Variant, elbo
from vaezoo.distributions.discrete import DiscretePosterior
from vaezoo.distributions.families import categorical
from vaezoo.estimators import st_gumbel_softmax, with_path
from vaezoo.models import build_model

TEMPERATURE = 1.3


def mlp_4x8(spec: DataSpec, latent_dim: int) -> Model:
    """Return a model with 4 latents of 8 classes."""
    return build_model(spec, latent_dim, categorical(8))


def heat(q: DiscretePosterior) -> DiscretePosterior:
    """Return the posterior with logits divided by the temperature."""
    return dataclasses.replace(q, logits=q.logits / TEMPERATURE)


straight_through = Estimator("straight_through(1.3)", with_path(lambda q, noise, z: heat(q).mean))

# The midpoint of the draw and the heated mean. Its derivative is that in q's logits, hence the factor.
reinmax = Estimator("reinmax(1.3)", with_path(lambda q, noise, z: 2 * TEMPERATURE * heat(q).midpoint(z) - 0.5 * q.mean))

make = partial(Variant, architecture=mlp_4x8, objective=elbo, unbiased=False, latent_dim=32)
VARIANTS = [
    make("4x8-st", estimator=straight_through),
    make("4x8-st-gumbel", estimator=st_gumbel_softmax(0.5)),
    make("4x8-reinmax", estimator=reinmax),
]
