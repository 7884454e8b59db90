"""Variants of the claim reinmax-order: 8 latents of 4 classes."""

from functools import partial

from vaezoo import DataSpec, Model, Variant, elbo
from vaezoo.distributions.families import categorical
from vaezoo.estimators import reinmax, st_gumbel_softmax, straight_through
from vaezoo.models import build_model


def mlp_8x4(spec: DataSpec, latent_dim: int) -> Model:
    """Return a model with 8 latents of 4 classes."""
    return build_model(spec, latent_dim, categorical(4))


make = partial(Variant, architecture=mlp_8x4, objective=elbo, unbiased=False, latent_dim=32)
VARIANTS = [
    make("8x4-st", estimator=straight_through),
    make("8x4-st-gumbel", estimator=st_gumbel_softmax(0.5)),
    make("8x4-reinmax", estimator=reinmax),
]
