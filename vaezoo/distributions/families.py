"""Families of approximate posteriors, each with the priors of its latents."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from vaezoo.distributions.discrete import FactorizedBernoulli, FactorizedCategorical
from vaezoo.distributions.posteriors import DiagonalNormal, PointMass, Posterior
from vaezoo.distributions.priors import STANDARD_NORMAL, DiscretePrior, LearnedNormal, Prior

PriorChoice = Literal["fixed", "learned"]


def _standard_normal(latent_dim: int) -> Prior:
    return STANDARD_NORMAL


# functions that can be pickled, as the models that have them
NORMAL_PRIORS: dict[PriorChoice, Callable[[int], Prior]] = {"fixed": _standard_normal, "learned": LearnedNormal}


@dataclass(frozen=True)
class Family:
    """A family of posteriors.

    Args:
        name: identifier in results.
        heads: names of the parameters; the encoder has a linear head [B, D] for each.
        build: the outputs of the heads, in order -> the posterior.
        stochastic: whether its draws are random.
        kind: "gaussian" (a point mass is one without noise), "bernoulli", "categorical" or another word, by which
            estimators name the families for which they are defined, and users select variants.
        priors: "fixed" and "learned" -> (D -> the prior).
        is_discrete: whether z has finitely many values; the posterior is then a `DiscretePosterior`.
        width: number of coordinates of z that one latent has; D is a multiple of it.
    """

    name: str
    heads: tuple[str, ...]
    build: Callable[..., Posterior]
    stochastic: bool = True
    kind: str = "other"
    priors: Mapping[PriorChoice, Callable[[int], Prior]] = field(default_factory=lambda: NORMAL_PRIORS)
    is_discrete: bool = False
    width: int = 1


def _make_discrete(kind: str, build: Callable[[Tensor], Posterior], width: int = 1) -> Family:
    priors: dict[PriorChoice, Callable[[int], Prior]] = {
        "fixed": partial(DiscretePrior, "uniform", build, False),
        "learned": partial(DiscretePrior, f"learned-{kind}", build, True),
    }
    name = kind if width == 1 else f"{kind}({width})"
    return Family(name, ("logits",), build, kind=kind, priors=priors, is_discrete=True, width=width)


def _split_classes(classes: int, logits: Float[Tensor, "B D"]) -> FactorizedCategorical:
    return FactorizedCategorical(logits.unflatten(-1, (-1, classes)))


@functools.cache
def categorical(classes: int) -> Family:
    """Return the family of categorical latents with a number of classes.

    Args:
        classes: C, the number of values of a latent, 2 or more.
    """
    if classes < 2:
        raise ValueError(f"a categorical latent has 2 classes or more, not {classes}")
    return _make_discrete("categorical", partial(_split_classes, classes), classes)


DIAGONAL_NORMAL = Family("diagonal_normal", ("mean", "log_scale"), DiagonalNormal, kind="gaussian")
POINT_MASS = Family("point_mass", ("mean",), PointMass, stochastic=False, kind="gaussian")
BERNOULLI = _make_discrete("bernoulli", FactorizedBernoulli)
CATEGORICAL = categorical(10)
FAMILIES = {family.name: family for family in (DIAGONAL_NORMAL, POINT_MASS, BERNOULLI, CATEGORICAL)}
