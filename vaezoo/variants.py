"""Variants: an architecture, an objective, an estimator and a number of draws."""

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

from vaezoo.baselines import ZeroPrediction
from vaezoo.distributions.posteriors import Posterior
from vaezoo.estimators import Estimator
from vaezoo.models import DataSpec, Model, check_names
from vaezoo.objectives import Objective
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
    reduction = weigh_path(objective.reduction, model.kl_weight if objective.weighs_kl else 1.0)
    log_weight = partial(objective.log_weight, model, x)
    arguments: tuple[Any, ...] = (log_weight, reduction, q, noise, prediction)
    if variant.estimator.control:
        arguments += (model.baseline, partial(_frozen_log_weight, objective, model, x))
    return variant.estimator.estimate(*arguments), objective.exact(model, q)


def _frozen_log_weight(objective: Objective, model: Model, x: Tensor, z: Tensor, q: Posterior) -> Float[Tensor, "K B"]:
    frozen = {name: value.detach() for name, value in model.named_parameters()}
    log_w: Tensor = functional_call(model, frozen, (lambda model, x, z: objective.log_weight(model, x, z, q), x, z))
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
