"""Variants: an architecture, an objective, an estimator and a number of draws. `VARIANTS` is the registry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.baselines import LEARNED, LEAVE_ONE_OUT, MOVING_AVERAGE, NO_BASELINE, ZeroPrediction
from vaezoo.distributions.posteriors import Posterior
from vaezoo.estimators import (
    Control,
    Estimator,
    blocked,
    doubly_reparameterized,
    pathwise,
    score_function,
    sticking_the_landing,
)
from vaezoo.models import DataSpec, Model, check_names, mlp_normal, mlp_point
from vaezoo.objectives import Objective, beta_elbo, ciwae, elbo, elbo_mc, iwae, reconstruction
from vaezoo.reductions import weigh_path


@dataclass(frozen=True)
class Variant:
    """One way to train an autoencoder.

    Args:
        name: identifier, unique in the registry.
        architecture: (spec of the data, latent_dim) -> model.
        objective: L(x), to be maximised.
        estimator: the estimator of the gradient of L.
        draws: K, latent samples per example and training step.
        unbiased: whether the mean of the gradient estimate is declared to be the gradient of L; `check` tests it.
        source: paper and arXiv number or venue.
        latent_dim: D, the number of coordinates of z, where the user names none; None for that of the data set.

    Raises:
        ValueError: the estimator or its baseline needs more draws, or is for fewer.
    """

    name: str
    architecture: Callable[[DataSpec, int], Model]
    objective: Objective
    estimator: Estimator
    draws: int = 1
    unbiased: bool = True
    source: str = ""
    latent_dim: int | None = None

    def __post_init__(self) -> None:
        min_draws, baseline = self.estimator.min_draws, self.estimator.baseline_name
        label = f"baseline {baseline}" if baseline else f"estimator {self.estimator.name}"
        most_draws = self.estimator.most_draws
        if most_draws is not None and self.draws > most_draws:
            raise ValueError(
                f"{self.name}: {label} is for {most_draws} draw{'s' * (most_draws > 1)} per example, got {self.draws}; "
                f"set draws to {most_draws}"
            )
        if self.draws < min_draws:
            raise ValueError(
                f"{self.name}: {label} needs at least {min_draws} draws per example, got {self.draws}; "
                f"set draws to {min_draws} or more, or choose a variant without it"
            )


def build(variant: Variant, spec: DataSpec, latent_dim: int) -> Model:
    """Return the model of the variant, with the network of its baseline.

    Args:
        variant: architecture and estimator.
        spec: shape and likelihood of the data, and hidden widths.
        latent_dim: D, the number of latents.

    Raises:
        ValueError: the likelihood or the posterior has the name of one of vaezoo's, but another definition; or the
            architecture ignores the prior of the spec; or the estimator is not defined for the family.
    """
    model = variant.architecture(spec, latent_dim)
    check_names(model)
    family, estimator = model.encoder.family, variant.estimator
    if spec.prior != DataSpec.prior and model.prior.name != family.priors[spec.prior](latent_dim).name:
        raise ValueError(
            f"{variant.name} has the prior {model.prior.name}, not a {spec.prior} one: its architecture has its own"
        )
    if estimator.kinds and family.kind not in estimator.kinds:
        raise ValueError(
            f"{variant.name}: the estimator {estimator.name} is for {' and '.join(estimator.kinds)} latents, not "
            f"{family.kind}; choose another estimator or architecture"
        )
    model.free_bits = spec.free_bits or model.free_bits
    model.baseline = estimator.make_network(math.prod(spec.shape), latent_dim)
    return model


def estimate_parts(
    variant: Variant, model: Model, x: Tensor, noise: Float[Tensor, "K B D"], average: Float[Tensor, ""]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Return the two parts of the objective: F(log w) with the gradient estimate, and A(x), [B] each, nats.

    Args:
        variant: objective and estimator.
        model: the model, with the network of the baseline.
        x: B examples.
        noise: noise of K draws per example.
        average: moving average of a baseline that predicts, before these draws, nats; 0 otherwise.
    """
    prediction = average + model.baseline(x.flatten(1)).squeeze(-1).to(x.dtype)
    return estimate_parts_at(variant, model, model.encoder(x), x, noise, prediction)


def estimate_parts_at(
    variant: Variant, model: Model, q: Posterior, x: Tensor, noise: Float[Tensor, "K B D"], prediction: Tensor
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Return the parts of `estimate_parts` for a given posterior q and a given prediction [B] of the baseline, nats."""
    objective = variant.objective

    def log_weight(z: Tensor, q: Posterior) -> Tensor:
        return objective.log_weight(model, x, z, q)

    reduction = weigh_path(objective.reduction, model.kl_weight if objective.weighs_kl else 1.0)
    arguments: tuple[Any, ...] = (log_weight, reduction, q, noise, prediction)
    if variant.estimator.control:
        arguments += (Control(model.baseline, partial(_frozen_log_weight, objective, model, x)),)
    return variant.estimator.estimate(*arguments), objective.exact(model, q)


def _frozen_log_weight(objective: Objective, model: Model, x: Tensor, z: Tensor, q: Posterior) -> Float[Tensor, "K B"]:
    def log_weight(model: Model, x: Tensor, z: Tensor) -> Tensor:
        return objective.log_weight(model, x, z, q)

    frozen = {name: value.detach() for name, value in model.named_parameters()}
    log_w: Tensor = functional_call(model, frozen, (log_weight, x, z))
    return log_w


def initial_average(variant: Variant, model: Model, x: Tensor, noise: Float[Tensor, "K B D"]) -> Float[Tensor, ""]:
    """Return the initial moving average of a baseline that predicts: the mean of F over x, nats; 0 for other variants.

    Use noise that is independent of that of the training steps.
    """
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    if not variant.estimator.averaging_rate:
        return zero
    with torch.no_grad():
        return estimate_parts(variant, model, x, noise, zero)[0].mean()


def estimate(
    variant: Variant, model: Model, x: Tensor, noise: Float[Tensor, "K B D"], average: Float[Tensor, ""]
) -> Float[Tensor, " B"]:
    """Return the objective L(x) of each example, nats, with the gradient estimate (see `estimate_parts`)."""
    stochastic, exact = estimate_parts(variant, model, x, noise, average)
    return stochastic + exact


@dataclass(frozen=True)
class FittedVariant:
    """A variant with the fitted and frozen state of its baseline.

    Args:
        variant: the variant.
        baseline: network that maps x [B, pixels] to the learned part of the prediction, [B, 1], nats.
        average: moving average of F, nats.
    """

    variant: Variant
    baseline: nn.Module = field(default_factory=ZeroPrediction)
    average: Float[Tensor, ""] = field(default_factory=lambda: torch.zeros(()))

    def attach_to(self, model: Model) -> Model:
        """Return a model that has this baseline and shares all other parts with `model`."""
        fitted = Model(model.encoder, model.decoder, model.prior, model.latent_dim)
        fitted.baseline, fitted.free_bits = self.baseline, model.free_bits
        return fitted

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
        """Return the baseline's prediction c of F for each example, nats."""
        prediction: Tensor = self.average + self.baseline(x.flatten(1)).squeeze(-1)
        return prediction


HINTON = "Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, Science 313"
KINGMA = "Kingma and Welling 2014, Auto-encoding variational Bayes, arXiv:1312.6114"
HIGGINS = "Higgins et al. 2017, beta-VAE, ICLR; Burgess et al. 2018, arXiv:1804.03599"
DOERSCH = "Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4 (left)"
REINFORCE = (
    "Williams 1992, REINFORCE, Machine Learning 8; for variational inference: Paisley et al. 2012, Variational "
    "Bayesian inference with stochastic search, arXiv:1206.6430"
)
NVIL = "Mnih and Gregor 2014, Neural variational inference and learning in belief networks (NVIL), arXiv:1402.0030"
EMA = f"{NVIL}, the constant c alone"
VIMCO = "Mnih and Rezende 2016, Variational inference for Monte Carlo objectives (VIMCO), arXiv:1602.06725"
RLOO = f"Kool et al. 2019, Buy 4 REINFORCE samples, get a baseline for free!, ICLR workshop; {VIMCO}"
BURDA = "Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519"
STL = "Roeder et al. 2017, Sticking the landing, arXiv:1703.09194"
DREG = "Tucker et al. 2019, Doubly reparameterized gradient estimators for Monte Carlo objectives, arXiv:1810.04152"
RAINFORTH = "Rainforth et al. 2018, Tighter variational bounds are not necessarily better, arXiv:1802.04537"

VARIANTS: tuple[Variant, ...] = (
    Variant("autoencoder", mlp_point, reconstruction, pathwise, source=HINTON),
    Variant("vae", mlp_normal, elbo, pathwise, source=f"{KINGMA}, equation 10"),
    Variant("vae-2", mlp_normal, elbo, pathwise, draws=2, source=f"{KINGMA}, equation 10 with L = 2"),
    Variant("beta-vae", mlp_normal, beta_elbo(4.0), pathwise, source=HIGGINS),
    Variant("vae-blocked", mlp_normal, elbo, blocked, unbiased=False, source=DOERSCH),
    Variant("vae-mc-kl", mlp_normal, elbo_mc, pathwise, source=f"{KINGMA}, equation 6"),
    Variant("vae-stl", mlp_normal, elbo_mc, sticking_the_landing, source=STL),
    Variant("reinforce-vae", mlp_normal, elbo, score_function(NO_BASELINE), source=REINFORCE),
    Variant("reinforce-vae-ema", mlp_normal, elbo, score_function(MOVING_AVERAGE), source=EMA),
    Variant("reinforce-vae-nvil", mlp_normal, elbo, score_function(LEARNED), source=NVIL),
    Variant("reinforce-vae-loo", mlp_normal, elbo, score_function(LEAVE_ONE_OUT), draws=2, source=RLOO),
    Variant("iwae", mlp_normal, iwae, pathwise, draws=5, source=BURDA),
    Variant("iwae-stl", mlp_normal, iwae, sticking_the_landing, draws=5, unbiased=False, source=f"{STL}; {DREG}"),
    Variant("iwae-dreg", mlp_normal, iwae, doubly_reparameterized, draws=5, source=DREG),
    Variant("iwae-vimco", mlp_normal, iwae, score_function(LEAVE_ONE_OUT), draws=5, source=VIMCO),
    Variant("ciwae-dreg", mlp_normal, ciwae(0.5), doubly_reparameterized, draws=5, source=f"{RAINFORTH}; {DREG}"),
)
