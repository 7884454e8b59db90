"""Variants: what is compared. A variant is (architecture, objective, estimator, draws), a claim and a source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.baselines import LEAVE_ONE_OUT, NONE
from vaezoo.estimators import Estimator, blocked, pathwise, score_function
from vaezoo.models import DataSpec, Model, mlp_normal, mlp_point
from vaezoo.objectives import Objective, beta_elbo, elbo, reconstruction
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
    objective = variant.objective
    q = model.encoder(x)

    def log_weight(z: Tensor, q: Posterior) -> Tensor:
        return objective.log_weight(model, x, z, q)

    prediction = average + model.baseline(x.flatten(1)).squeeze(-1)
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

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "autoencoder",
        mlp_point,
        reconstruction,
        pathwise,
        source="Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, Science 313",
    ),
    Variant("vae", mlp_normal, elbo, pathwise, source=KINGMA),
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
    Variant("reinforce-vae", mlp_normal, elbo, score_function(NONE), source=REINFORCE),
    Variant(
        "reinforce-vae-loo",
        mlp_normal,
        elbo,
        score_function(LEAVE_ONE_OUT),
        draws=2,
        source="Kool et al. 2019, Buy 4 REINFORCE samples, get a baseline for free!, ICLR workshop; "
        "Mnih and Rezende 2016, arXiv:1602.06725",
    ),
)
