"""Objectives L(x) = E[F(log w_1 .. log w_K)] + A(x), nats per example; training maximises them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vaezoo.distributions.posteriors import Posterior
from vaezoo.equality import equal_by_content
from vaezoo.models import Model
from vaezoo.reductions import LOG_MEAN_EXP, MEAN, Reduction, convex, grouped, renyi

LogWeight = Callable[[Model, Tensor, Tensor, Posterior], Float[Tensor, "K B"]]


@equal_by_content
@dataclass(frozen=True, eq=False)
class Objective:
    """An objective as a record of functions.

    Args:
        log_weight: (model, x [B, ...], z [K, B, D], q) -> log w [K, B], nats; each from its own draw alone.
        reduction: F over the K draws.
        exact: (model, q) -> A(x) [B], nats: the part with a closed form. Its gradient is computed by autograd.
        bound: whether L(x) is declared to be at most log p(x); `check` tests it. If A = 0, it also tests that the mean
            of w is p(x).
        weighs_kl: whether the functions multiply the KL, or log p(z) - log q(z|x), by `model.kl_weight`.
        frees_bits: whether each KL in the functions is that of `weighted_kl`, which has free bits.
    """

    name: str
    log_weight: LogWeight
    reduction: Reduction
    exact: Callable[[Model, Posterior], Float[Tensor, " B"]]
    bound: bool = True
    weighs_kl: bool = False
    frees_bits: bool = False


def log_likelihood_weight(model: Model, x: Tensor, z: Tensor, q: Posterior) -> Float[Tensor, "K B"]:
    """Return log w = log p(x|z), [K, B], nats."""
    return model.decoder.log_prob(x, z)


def importance_weight(model: Model, x: Tensor, z: Tensor, q: Posterior) -> Float[Tensor, "K B"]:
    """Return log w = log p(x|z) + log p(z) - log q(z|x), [K, B], nats; the last two times the weight of the KL."""
    if isinstance(model.kl_weight, float):
        return model.decoder.log_prob(x, z) + model.prior.log_prob(z) - q.log_prob(z)
    return model.decoder.log_prob(x, z) + model.kl_weight * (model.prior.log_prob(z) - q.log_prob(z))


def zero_exact(model: Model, q: Posterior) -> Float[Tensor, " B"]:
    """Return A(x) = 0, [B]."""
    return q.mean.new_zeros(len(q.mean))


def weighted_kl(model: Model, q: Posterior) -> Float[Tensor, " B"]:
    """Return the KL in closed form times its weight, [B], nats.

    With free bits b, the term of each latent is at least b: sum_d max(b, KL_d). Then no latent gains from a smaller KL.

    Source: Kingma et al. 2016, Improved variational inference with inverse autoregressive flow, arXiv:1606.04934,
    equation 15, with the maximum for each example instead of the minibatch, so that examples stay independent.
    """
    kl = model.prior.kl_per_latent(q).clamp(min=model.free_bits).sum(-1) if model.free_bits else model.prior.kl(q)
    return kl if isinstance(model.kl_weight, float) else model.kl_weight * kl


def beta_elbo(beta: float) -> Objective:
    """Return the objective E_q[log p(x|z)] - beta KL(q‖p) with the KL in closed form.

    For beta >= 1 it is a lower bound of log p(x).

    Source: Higgins et al. 2017, beta-VAE (ICLR 2017), equation 4.
    """
    return Objective(
        f"beta_elbo({beta:g})",
        log_likelihood_weight,
        MEAN,
        exact=lambda model, q: -beta * weighted_kl(model, q),
        bound=beta >= 1,
        weighs_kl=True,
        frees_bits=True,
    )


def ciwae(b: float) -> Objective:
    """Return the objective b elbo_mc + (1 - b) iwae of the same draws, b in [0, 1].

    Source: Rainforth et al. 2018, arXiv:1802.04537 (CIWAE).
    """
    return Objective(f"ciwae({b:g})", importance_weight, convex(b), exact=zero_exact, weighs_kl=True)


def vr_iwae(alpha: float) -> Objective:
    """Return the VR-IWAE bound, alpha in [0, 1): iwae for alpha = 0; for alpha near 1 it is close to elbo_mc.

    Source: Daudel et al. 2023, arXiv:2210.06226.
    """
    return Objective(f"vr_iwae({alpha:g})", importance_weight, renyi(alpha), exact=zero_exact, weighs_kl=True)


def miwae(groups: int) -> Objective:
    """Return the mean of `groups` importance-weighted bounds; K draws are divided among them.

    Source: Rainforth et al. 2018, arXiv:1802.04537 (MIWAE).
    """
    return Objective(f"miwae({groups})", importance_weight, grouped(groups), exact=zero_exact, weighs_kl=True)


# reconstruction: E[log p(x|z)] only, the objective of the autoencoder.
# elbo: the KL in closed form (Kingma and Welling 2014, arXiv:1312.6114, equation 3).
# elbo_mc: the KL estimated from the same draws (equation 2 of the same paper).
# iwae: the importance-weighted bound (Burda et al. 2016, arXiv:1509.00519, equation 8).
WITH_ANY_KL = {"weighs_kl": True, "frees_bits": True}
reconstruction = Objective("reconstruction", log_likelihood_weight, MEAN, exact=zero_exact, bound=False, **WITH_ANY_KL)
elbo = Objective("elbo", log_likelihood_weight, MEAN, exact=lambda model, q: -weighted_kl(model, q), **WITH_ANY_KL)
elbo_mc = Objective("elbo_mc", importance_weight, MEAN, exact=zero_exact, weighs_kl=True)
iwae = Objective("iwae", importance_weight, LOG_MEAN_EXP, exact=zero_exact, weighs_kl=True)
