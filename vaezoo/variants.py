"""Variants: what is compared. A variant is (architecture, objective, estimator, draws), a claim and a source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.baselines import LEARNED, LEAVE_ONE_OUT, MOVING_AVERAGE, NONE
from vaezoo.estimators import (
    Estimator,
    blocked,
    doubly_reparameterized,
    pathwise,
    score_function,
    sticking_the_landing,
)
from vaezoo.models import DataSpec, Model, mlp_normal, mlp_point
from vaezoo.objectives import Objective, beta_elbo, ciwae, elbo, elbo_mc, iwae, reconstruction
from vaezoo.posteriors import Posterior


@dataclass(frozen=True)
class Variant:
    """One way to train an autoencoder.

    architecture: (data's shape and likelihood, latent_dim) -> model.
    draws: K, latents drawn per example and step.
    unbiased: the claim that the estimate's mean is the objective's gradient; tests hold the variant to it.
    source: paper and arXiv number or venue.
    """

    name: str
    architecture: Callable[[DataSpec, int], Model]
    objective: Objective
    estimator: Estimator
    draws: int = 1
    unbiased: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        baseline = self.estimator.baseline
        if self.draws < baseline.min_draws:
            raise ValueError(
                f"{self.name}: {baseline.name} compares each draw with the others, so it needs at least "
                f"{baseline.min_draws} draws per example, got {self.draws}; set draws to {baseline.min_draws} or more, "
                "or choose a variant without it"
            )


def build(variant: Variant, spec: DataSpec, latent_dim: int) -> Model:
    """The variant's model, with the network of its baseline where that one learns."""
    model = variant.architecture(spec, latent_dim)
    model.baseline = variant.estimator.baseline.network(math.prod(spec.shape))
    return model


def parts(
    variant: Variant, model: Model, x: Tensor, noise: Float[Tensor, "K B D"], average: Float[Tensor, ""]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """F(log w), which carries the gradient estimate, and A(x): the two parts of the objective, nats per example.

    average: the moving average of a baseline that predicts, as it was before this draw; 0 otherwise.
    """
    prediction = average + model.baseline(x.flatten(1)).squeeze(-1).to(x.dtype)
    return parts_at(variant, model, model.encoder(x), x, noise, prediction)


def parts_at(
    variant: Variant, model: Model, q: Posterior, x: Tensor, noise: Float[Tensor, "K B D"], prediction: Tensor
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """The two parts for a posterior q and a baseline's prediction [B] that are given."""
    objective = variant.objective

    def log_weight(z: Tensor, q: Posterior) -> Tensor:
        return objective.log_weight(model, x, z, q)

    stochastic = variant.estimator.estimate(log_weight, objective.reduction, q, noise, prediction)
    return stochastic, objective.exact(model, q)


def started(variant: Variant, model: Model, x: Tensor, noise: Float[Tensor, "K B D"]) -> Float[Tensor, ""]:
    """The moving average that a predicting baseline starts from: the mean F of one draw of its own; 0 for others."""
    nothing = torch.zeros((), dtype=x.dtype, device=x.device)
    if not variant.estimator.baseline.rate:
        return nothing
    with torch.no_grad():
        return parts(variant, model, x, noise, nothing)[0].mean()


def estimate(
    variant: Variant, model: Model, x: Tensor, noise: Float[Tensor, "K B D"], average: Float[Tensor, ""]
) -> Float[Tensor, " B"]:
    """The variant's objective L(x) for each example, nats; its gradient is the variant's gradient estimate."""
    stochastic, exact = parts(variant, model, x, noise, average)
    return stochastic + exact


KINGMA = "Kingma and Welling 2014, Auto-encoding variational Bayes, arXiv:1312.6114"
REINFORCE = (
    "Williams 1992, REINFORCE, Machine Learning 8; for variational inference: Paisley et al. 2012, Variational "
    "Bayesian inference with stochastic search, arXiv:1206.6430"
)
NVIL = "Mnih and Gregor 2014, Neural variational inference and learning in belief networks (NVIL), arXiv:1402.0030"
VIMCO = "Mnih and Rezende 2016, Variational inference for Monte Carlo objectives (VIMCO), arXiv:1602.06725"
BURDA = "Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519"
STL = "Roeder et al. 2017, Sticking the landing, arXiv:1703.09194"
DREG = "Tucker et al. 2019, Doubly reparameterized gradient estimators for Monte Carlo objectives, arXiv:1810.04152"
RAINFORTH = "Rainforth et al. 2018, Tighter variational bounds are not necessarily better, arXiv:1802.04537"

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "autoencoder",
        mlp_point,
        reconstruction,
        pathwise,
        source="Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, Science 313",
    ),
    Variant("vae", mlp_normal, elbo, pathwise, source=f"{KINGMA}, equation 10"),
    Variant("vae-2", mlp_normal, elbo, pathwise, draws=2, source=f"{KINGMA}, equation 10 with L = 2"),
    Variant(
        "beta-vae",
        mlp_normal,
        beta_elbo(4.0),
        pathwise,
        source="Higgins et al. 2017, beta-VAE, ICLR; Burgess et al. 2018, arXiv:1804.03599",
    ),
    Variant(
        "vae-blocked",
        mlp_normal,
        elbo,
        blocked,
        unbiased=False,
        source="Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4 (left)",
    ),
    Variant("vae-mc-kl", mlp_normal, elbo_mc, pathwise, source=f"{KINGMA}, equation 6"),
    Variant("vae-stl", mlp_normal, elbo_mc, sticking_the_landing, source=STL),
    Variant("reinforce-vae", mlp_normal, elbo, score_function(NONE), source=REINFORCE),
    Variant(
        "reinforce-vae-ema", mlp_normal, elbo, score_function(MOVING_AVERAGE), source=f"{NVIL}, the constant c alone"
    ),
    Variant("reinforce-vae-nvil", mlp_normal, elbo, score_function(LEARNED), source=NVIL),
    Variant(
        "reinforce-vae-loo",
        mlp_normal,
        elbo,
        score_function(LEAVE_ONE_OUT),
        draws=2,
        source=f"Kool et al. 2019, Buy 4 REINFORCE samples, get a baseline for free!, ICLR workshop; {VIMCO}",
    ),
    Variant("iwae", mlp_normal, iwae, pathwise, draws=5, source=BURDA),
    Variant("iwae-stl", mlp_normal, iwae, sticking_the_landing, draws=5, unbiased=False, source=f"{STL}; {DREG}"),
    Variant("iwae-dreg", mlp_normal, iwae, doubly_reparameterized, draws=5, source=DREG),
    Variant("iwae-vimco", mlp_normal, iwae, score_function(LEAVE_ONE_OUT), draws=5, source=VIMCO),
    Variant("ciwae-dreg", mlp_normal, ciwae(0.5), doubly_reparameterized, draws=5, source=f"{RAINFORTH}; {DREG}"),
)
