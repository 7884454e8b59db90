"""Functions from data and settings to a model: the architecture of a variant."""

from __future__ import annotations

import math

from vaezoo.distributions.families import BERNOULLI, CATEGORICAL, DIAGONAL_NORMAL, POINT_MASS, Family
from vaezoo.distributions.likelihoods import LIKELIHOODS
from vaezoo.models.architecture import DataSpec
from vaezoo.models.model import Decoder, Encoder, Model


def build_model(spec: DataSpec, latent_dim: int, family: Family) -> Model:
    """Return a VAE with the networks of the spec, and the posterior and prior of a family."""
    trunk, width = spec.architecture.encoder(spec)
    network = spec.architecture.decoder(spec, latent_dim)
    likelihood = LIKELIHOODS[spec.likelihood](math.prod(spec.shape))
    prior = family.priors[spec.prior](latent_dim)
    return Model(Encoder(trunk, width, latent_dim, family), Decoder(network, likelihood), prior, latent_dim)


def mlp_normal(spec: DataSpec, latent_dim: int) -> Model:
    """Return a VAE with the networks and the prior of the spec, and a diagonal normal posterior.

    The networks are perceptrons by default; the name is part of the identity of results.

    Args:
        spec: shape, likelihood, architecture and hidden widths.
        latent_dim: D, the number of latents.

    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix C.
    """
    return build_model(spec, latent_dim, DIAGONAL_NORMAL)


def mlp_point(spec: DataSpec, latent_dim: int) -> Model:
    """Return an autoencoder: the networks of `mlp_normal` without the head for the scale, with a point mass as q."""
    return build_model(spec, latent_dim, POINT_MASS)


def mlp_bernoulli(spec: DataSpec, latent_dim: int) -> Model:
    """Return a VAE as `mlp_normal`, with D Bernoulli latents and a uniform prior by default.

    Source: Mnih and Gregor 2014, Neural variational inference and learning in belief networks, arXiv:1402.0030.
    """
    return build_model(spec, latent_dim, BERNOULLI)


def mlp_categorical(spec: DataSpec, latent_dim: int) -> Model:
    """Return a VAE as `mlp_bernoulli`, with D / 10 categorical latents of 10 classes, as one-hot vectors.

    Raises:
        ValueError: D is no multiple of 10.

    Source: Jang et al. 2017, Categorical reparameterization with Gumbel-softmax, arXiv:1611.01144.
    """
    return build_model(spec, latent_dim, CATEGORICAL)
