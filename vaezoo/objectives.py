"""Objectives L(x) = E[F(log w_1 .. log w_K)] + A(x), as records of functions. Nats per example, to be maximised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vaezoo.models import Model
from vaezoo.posteriors import Posterior
from vaezoo.reductions import LOG_MEAN_EXP, MEAN, Reduction, convex

LogWeight = Callable[[Model, Tensor, Tensor, Posterior], Float[Tensor, "K B"]]


@dataclass(frozen=True)
class Objective:
    """One row of the table of objectives.

    log_weight: (model, x [B, ...], z [K, B, D], q) -> log w [K, B].
    reduction: F, over the K draws.
    exact: (model, q) -> A(x) [B], the part with a closed form, differentiated as it is.
    """

    name: str
    log_weight: LogWeight
    reduction: Reduction
    exact: Callable[[Model, Posterior], Float[Tensor, " B"]]


def likelihood(model: Model, x: Tensor, z: Tensor, q: Posterior) -> Float[Tensor, "K B"]:
    """log w = log p(x|z)."""
    return model.decoder.log_prob(x, z)


def importance(model: Model, x: Tensor, z: Tensor, q: Posterior) -> Float[Tensor, "K B"]:
    """log w = log p(x|z) + log p(z) - log q(z|x)."""
    return model.decoder.log_prob(x, z) + model.prior.log_prob(z) - q.log_prob(z)


def nothing(model: Model, q: Posterior) -> Float[Tensor, " B"]:
    """A = 0."""
    return q.mean.new_zeros(len(q.mean))


def beta_elbo(beta: float) -> Objective:
    """E_q[log p(x|z)] - beta KL(q‖p), the KL in closed form; a lower bound of log p(x) for beta >= 1.

    Source: Higgins et al. 2017, beta-VAE (ICLR 2017), equation 4.
    """
    return Objective(f"beta_elbo({beta:g})", likelihood, MEAN, exact=lambda model, q: -beta * model.prior.kl(q))


def ciwae(b: float) -> Objective:
    """b elbo_mc + (1 - b) iwae over the same draws.

    Source: Rainforth et al. 2018, arXiv:1802.04537 (CIWAE).
    """
    return Objective(f"ciwae({b:g})", importance, convex(b), exact=nothing)


# reconstruction: E[log p(x|z)] alone, the autoencoder's.
# elbo: the KL in closed form; Kingma and Welling 2014, arXiv:1312.6114, equation 3.
# elbo_mc: the KL by the same draws; equation 2 there.
# iwae: the importance-weighted bound; Burda et al. 2016, arXiv:1509.00519, equation 8.
reconstruction = Objective("reconstruction", likelihood, MEAN, exact=nothing)
elbo = Objective("elbo", likelihood, MEAN, exact=lambda model, q: -model.prior.kl(q))
elbo_mc = Objective("elbo_mc", importance, MEAN, exact=nothing)
iwae = Objective("iwae", importance, LOG_MEAN_EXP, exact=nothing)
