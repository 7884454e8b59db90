"""The evaluator: the same metrics for every variant, whatever its training objective is.

Sums over examples are accumulated in float64 and divided by N. Noise is drawn one draw at a time for all examples, so
that no metric depends on how the examples are split.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.distributions.posteriors import Posterior
from vaezoo.models import Model

ROWS_PER_THREAD = 250  # so that their pixels stay in the processor's cache
ACTIVE_VARIANCE = 0.01
JACKKNIFE_GROUPS = 100
DRAWS_PER_TASK = 20  # of a thread: enough that threads rarely wait for each other


def _decode_blocks(model: Model, x: Tensor, z: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield rows, their pixels [n, P] and the decoder's output [1, n, P] for one draw z [1, N, D], block by block."""
    for rows in _list_blocks(x):
        yield rows, x[rows].flatten(1), model.decoder(z[:, rows])


def _prepare_thread(threads: int) -> None:
    # torch keeps both settings for each thread; the harness flushes denormals in the main thread
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def _list_blocks(x: Tensor) -> list[slice]:
    size = ROWS_PER_THREAD * torch.get_num_threads()
    return [slice(start, start + size) for start in range(0, len(x), size)]


def _draw_noise(model: Model, x: Tensor, generator: torch.Generator) -> Float[Tensor, "1 N D"]:
    return torch.randn(1, len(x), model.latent_dim, generator=generator, dtype=x.dtype).to(x.device)


@torch.no_grad()
def reconstruction(
    model: Model, x: Float[Tensor, "N ..."], q: Posterior, draws: int, generator: torch.Generator
) -> tuple[Float[Tensor, "S N"], float]:
    """Return log p(x|z) of S draws per example, nats, and the mean squared error per pixel between x and E[x|z]."""
    likelihood = model.decoder.likelihood
    log_px = torch.empty(draws, len(x), dtype=torch.float64, device=x.device)
    squares = torch.zeros((), dtype=torch.float64, device=x.device)
    for draw in range(draws):
        for rows, pixels, output in _decode_blocks(model, x, q.sample(_draw_noise(model, x, generator))):
            log_px[draw, rows] = likelihood.log_prob(pixels, output)[0].double()
            squares += (pixels - likelihood.mean(output)[0]).square().mean(-1).sum(dtype=torch.float64)
    return log_px, (squares / (draws * len(x))).item()


@torch.no_grad()
def log_likelihood(
    model: Model, x: Float[Tensor, "N ..."], q: Posterior, draws: int, generator: torch.Generator, workers: int = 1
) -> tuple[float, float]:
    """Return the importance-weighted bound (1/N) sum_i log (1/K) sum_k w_ik and its standard error, nats per example.

    The draws are streamed in G = min(K, 100) groups. Let L_ig be the bound of example i without group g. The standard
    error is the jackknife's: sqrt(sum_i (G - 1)/G sum_g (L_ig - mean_g L_ig)²) / N. In trained models a few
    draws have most of the weight; then the error of the delta method is too small by a factor of 2 to 3.
    Source: Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519, equation 8.
    """
    sums = _sum_weights(model, x, q, draws, generator, workers)
    groups = len(sums)
    value = (sums.logsumexp(0) - math.log(draws)).mean().item()
    sizes = torch.tensor([len(range(g, draws, groups)) for g in range(groups)], dtype=torch.float64, device=x.device)
    log_zero = sums.new_full((1, len(x)), -math.inf)
    before = torch.cat([log_zero, sums.logcumsumexp(0)[:-1]])
    after = torch.cat([sums.flip(0).logcumsumexp(0).flip(0)[1:], log_zero])
    left_out = torch.logaddexp(before, after)
    left_out -= (draws - sizes).log()[:, None]
    return value, (left_out.var(0) * (groups - 1) ** 2 / groups).sum().sqrt().item() / len(x)


@torch.no_grad()
def log_likelihood_bounds(
    model: Model, x: Float[Tensor, "N ..."], q: Posterior, draws: int, generator: torch.Generator
) -> Float[Tensor, " N"]:
    """Return the importance-weighted bound log (1/K) sum_k w_k of each example, nats; see `log_likelihood`."""
    return _sum_weights(model, x, q, draws, generator).logsumexp(0) - math.log(draws)


def _sum_weights(
    model: Model, x: Float[Tensor, "N ..."], q: Posterior, draws: int, generator: torch.Generator, workers: int = 1
) -> Float[Tensor, "G N"]:
    """Return the logarithm of the sum of the weights w of each group of draws.

    workers: threads that decode blocks at the same time. A block is the same for any number, hence the result, too.
    """
    groups = min(draws, JACKKNIFE_GROUPS)
    sums = torch.full((groups, len(x)), -math.inf, dtype=torch.float64, device=x.device)
    pixels = x.flatten(1)
    with ThreadPoolExecutor(workers, initializer=_prepare_thread, initargs=(torch.get_num_threads(),)) as pool:
        for start in range(0, draws, DRAWS_PER_TASK):
            count = min(DRAWS_PER_TASK, draws - start)
            z = [q.sample(_draw_noise(model, x, generator)) for _ in range(count)]
            log_w = [(model.prior.log_prob(zk) - q.log_prob(zk))[0].double() for zk in z]
            add_block = partial(_add_log_px, model, pixels, z, log_w)
            deque((pool.map if workers > 1 else map)(add_block, _list_blocks(x)), maxlen=0)
            for draw, log_wk in enumerate(log_w, start):
                sums[draw % groups] = torch.logaddexp(sums[draw % groups], log_wk)
    return sums


@torch.no_grad()  # a setting of each thread
def _add_log_px(
    model: Model, pixels: Float[Tensor, "N P"], z: list[Tensor], log_w: list[Float[Tensor, " N"]], rows: slice
) -> None:
    # add log p(x|z) of each draw to its log weight, in place, for these rows
    for zk, log_wk in zip(z, log_w, strict=True):
        log_px = model.decoder.likelihood.log_prob(pixels[rows], model.decoder(zk[:, rows]))
        log_wk[rows] += log_px[0].double()


@torch.no_grad()
def evidence_lower_bound(model: Model, x: Float[Tensor, "N ..."], generator: torch.Generator, draws: int = 16) -> float:
    """Return the ELBO E_q[log p(x|z)] - KL(q‖p), averaged over the examples, nats per example.

    Args:
        model: a model with random latents.
        x: N examples.
        generator: source of the noise.
        draws: draws per example for the first term; the KL has a closed form.
    """
    q = model.encoder(x)
    log_px, _ = reconstruction(model, x, q, draws, generator)
    return (log_px.mean(0) - model.prior.kl(q).double()).mean().item()


def count_active(mean: Float[Tensor, "N D"], width: int) -> int:
    """Return the number of active units from the posterior means; see `evaluate`."""
    return int((mean.var(0).view(-1, width).sum(-1) > ACTIVE_VARIANCE).sum())


@torch.no_grad()
def evaluate(
    model: Model,
    x: Float[Tensor, "N ..."],
    generator: torch.Generator,
    draws: int = 16,
    log_likelihood_draws: int = 100,
    workers: int = 1,
) -> dict[str, float]:
    """Return the metrics of a model, averaged over the examples.

    Args:
        model: the model.
        x: N examples.
        generator: source of the noise.
        draws: draws per example for reconstruction and ELBO; an autoencoder uses 1.
        log_likelihood_draws: importance samples per example for the log likelihood.
        workers: threads for the log likelihood, which flush denormals; otherwise they change its time only.

    Returns:
        By name: "reconstruction_error" (-E_q[log p(x|z)], nats per example), "reconstruction_mse" (per pixel) and
        "active_units" (latents whose posterior mean has a variance above 0.01 over the examples, summed over the
        coordinates of the latent). If the latents are random, also "elbo", "kl" and "log_likelihood", nats per example,
        and the standard errors over the noise, "elbo_se" and "log_likelihood_se".

    Source: active units: Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519, section 5.1.
    """
    q = model.encoder(x)
    log_px, squared_error = reconstruction(model, x, q, draws if model.stochastic else 1, generator)
    metrics = {
        "reconstruction_error": -log_px.mean().item(),
        "reconstruction_mse": squared_error,
        "active_units": float(count_active(q.mean, model.encoder.family.width)),
    }
    if not model.stochastic:
        return metrics
    kl = model.prior.kl(q).double()
    value, error = log_likelihood(model, x, q, log_likelihood_draws, generator, workers)
    return metrics | {
        "elbo": (log_px.mean(0) - kl).mean().item(),
        "elbo_se": (log_px.var(0) / draws).sum().sqrt().item() / len(x),
        "kl": kl.mean().item(),
        "log_likelihood": value,
        "log_likelihood_se": error,
    }
