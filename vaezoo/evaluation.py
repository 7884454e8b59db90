"""The one evaluator: every variant is judged by these numbers, whatever it was trained on.

Sums over examples are accumulated in float64 and divided by N; noise is drawn one draw at a time for all examples, so
that no result depends on how the examples are split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.models import Model
from vaezoo.posteriors import Posterior

ROWS_AT_ONCE = 250  # of each thread: their pixels stay in the processor's cache
ACTIVE_VARIANCE = 0.01
JACKKNIFE_GROUPS = 100


def _decoded(model: Model, x: Tensor, z: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, their pixels [n, P] and the decoder's output [1, n, P] for one draw z [1, N, D], block by block."""
    size = ROWS_AT_ONCE * torch.get_num_threads()
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield rows, x[rows].flatten(1), model.decoder(z[:, rows])


def _noise(model: Model, x: Tensor, generator: torch.Generator) -> Float[Tensor, "1 N D"]:
    return torch.randn(1, len(x), model.latent_dim, generator=generator, dtype=x.dtype).to(x.device)


@torch.no_grad()
def reconstruction(
    model: Model, x: Float[Tensor, "N ..."], q: Posterior, draws: int, generator: torch.Generator
) -> tuple[Float[Tensor, "S N"], float]:
    """log p(x|z) of S draws of each example, nats, and the mean squared error per pixel between x and E[x|z]."""
    likelihood = model.decoder.likelihood
    log_px = torch.empty(draws, len(x), dtype=torch.float64, device=x.device)
    squares = torch.zeros((), dtype=torch.float64, device=x.device)
    for draw in range(draws):
        for rows, pixels, output in _decoded(model, x, q.sample(_noise(model, x, generator))):
            log_px[draw, rows] = likelihood.log_prob(pixels, output)[0].double()
            squares += (pixels - likelihood.mean(output)[0]).square().mean(-1).sum(dtype=torch.float64)
    return log_px, (squares / (draws * len(x))).item()


@torch.no_grad()
def log_likelihood(
    model: Model, x: Float[Tensor, "N ..."], q: Posterior, draws: int, generator: torch.Generator
) -> tuple[float, float]:
    """The importance-weighted bound (1/N) sum_i log (1/K) sum_k w_ik, and its standard error, nats per example.

    Streamed over the draws, in G = min(K, 100) groups. Source: Burda et al. 2016, arXiv:1509.00519, equation 8. The
    error is the jackknife's over groups, sqrt(sum_i (G - 1)/G sum_g (L_i without g - its mean over g)²)/N: the delta
    method's is too small by a factor of 2 to 3 where few draws carry the weight, as they do in a trained model.
    """
    groups = min(draws, JACKKNIFE_GROUPS)
    sums = torch.full((groups, len(x)), -math.inf, dtype=torch.float64, device=x.device)
    for draw in range(draws):
        z = q.sample(_noise(model, x, generator))
        log_w = (model.prior.log_prob(z) - q.log_prob(z))[0].double()
        for rows, pixels, output in _decoded(model, x, z):
            log_w[rows] += model.decoder.likelihood.log_prob(pixels, output)[0].double()
        sums[draw % groups] = torch.logaddexp(sums[draw % groups], log_w)
    value = (sums.logsumexp(0) - math.log(draws)).mean().item()
    sizes = torch.tensor([len(range(g, draws, groups)) for g in range(groups)], dtype=torch.float64, device=x.device)
    nothing = sums.new_full((1, len(x)), -math.inf)
    before = torch.cat([nothing, sums.logcumsumexp(0)[:-1]])
    behind = torch.cat([sums.flip(0).logcumsumexp(0).flip(0)[1:], nothing])
    without = torch.logaddexp(before, behind)
    without -= (draws - sizes).log()[:, None]
    return value, (without.var(0) * (groups - 1) ** 2 / groups).sum().sqrt().item() / len(x)


@torch.no_grad()
def evidence_lower_bound(model: Model, x: Float[Tensor, "N ..."], generator: torch.Generator, draws: int = 16) -> float:
    """The ELBO alone, nats per example, averaged over the examples: E_q[log p(x|z)] - KL(q‖p)."""
    q = model.encoder(x)
    log_px, _ = reconstruction(model, x, q, draws, generator)
    return (log_px.mean(0) - model.prior.kl(q).double()).mean().item()


@torch.no_grad()
def evaluate(
    model: Model,
    x: Float[Tensor, "N ..."],
    generator: torch.Generator,
    draws: int = 16,
    log_likelihood_draws: int = 100,
) -> dict[str, float]:
    """The metrics of DESIGN section 2 on the examples x; those that need a posterior are left out without one."""
    q = model.encoder(x)
    log_px, squared_error = reconstruction(model, x, q, draws if model.stochastic else 1, generator)
    metrics = {
        "reconstruction_error": -log_px.mean().item(),
        "reconstruction_mse": squared_error,
        "active_units": float((q.mean.var(0) > ACTIVE_VARIANCE).sum().item()),
    }
    if not model.stochastic:
        return metrics
    kl = model.prior.kl(q).double()
    value, error = log_likelihood(model, x, q, log_likelihood_draws, generator)
    return metrics | {
        "elbo": (log_px.mean(0) - kl).mean().item(),
        "elbo_se": (log_px.var(0) / draws).sum().sqrt().item() / len(x),
        "kl": kl.mean().item(),
        "log_likelihood": value,
        "log_likelihood_se": error,
    }
