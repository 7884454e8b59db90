"""Small models on which the properties of a variant are tested, in float64 with fixed seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.distributions.families import Family
from vaezoo.distributions.likelihoods import Bernoulli, Gaussian
from vaezoo.models import DataSpec, Decoder, Encoder, Model, initialise
from vaezoo.variants import Variant, build, estimate

SMALL, LARGE = DataSpec((8, 8), "bernoulli", (6,)), DataSpec((28, 28), "bernoulli", (6,))
EXAMPLES, PIXELS = 5, 3
MAX_DRAWS, MAX_DIMENSIONS = 5, 6  # for the product rule over the noise of all draws and latents
AVERAGE = -3.0  # moving average of a baseline that predicts, nats; the properties hold for any value
PARAMETER_SCALE = 0.4  # so that the log weights vary little, and quadrature of their logarithm is accurate
DISCRETE_SCALE = 3.0  # of the decoder: no linear or quadratic log weights, for which some estimators are exact
MAX_CHOICES = 120_000  # of the states of all draws
MANY_LATENTS = 2520  # a multiple of all widths of a latent up to 10
LOW_LOG_WEIGHT = -500.0  # nats, as of a 28 x 28 image


def normal(*shape: int, seed: int) -> Tensor:
    """Return standard normal numbers from a seed, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(frozen=True)
class Problem:
    """A variant, a model and examples. name: draws and latents, for findings."""

    name: str
    variant: Variant
    model: Model
    x: Float[Tensor, "B ..."]

    def estimate(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "K B D"]) -> Float[Tensor, " B"]:
        """Return the estimate of the variant for these examples, nats."""
        return estimate(self.variant, self.model, x, noise, x.new_tensor(self.average))

    @property
    def average(self) -> float:
        """The moving average of the variant's baseline, nats; 0 if it has none."""
        return AVERAGE if self.variant.estimator.averaging_rate else 0.0

    def noise(self, repeats: int = 1, seed: int = 5) -> Float[Tensor, "R K B D"]:
        """Return noise that is wider than standard normal, because properties of single values hold for any noise."""
        noise = normal(repeats, self.variant.draws, len(self.x), self.model.latent_dim, seed=seed)
        return 2 * noise

    @property
    def is_discrete(self) -> bool:
        """Whether the latents have finitely many values, so that means over draws are sums."""
        return self.model.encoder.family.is_discrete


def architecture_problems(variant: Variant) -> list[Problem]:
    """Return problems with the variant's architecture: its draws, other draws and latents, low log weights."""
    few, width = other_draws(variant), find_family(variant).width
    problems = []
    for draws, latents, spec in ((variant.draws, 2, SMALL), (few, 3, SMALL), (variant.draws, 2, LARGE)):
        reduced = replace(variant, draws=draws)
        model = build(reduced, spec, latents * width).double()
        source = torch.Generator().manual_seed(3)
        initialise(model, lambda name, source=source: source)  # type: ignore[misc]
        x = (normal(EXAMPLES, *spec.shape, seed=4) > 0).double()
        problems.append(Problem(describe(draws, latents, spec.shape), reduced, model, x))
    return problems


def find_family(variant: Variant) -> Family:
    """Return the family of the variant's posterior."""
    return variant.architecture(SMALL, variant.latent_dim or MANY_LATENTS).encoder.family


def describe(draws: int, latents: int, shape: tuple[int, ...]) -> str:
    """Return the name of a problem."""
    return f"K = {draws}, D = {latents}, {' x '.join(map(str, shape))} pixels"


def other_draws(variant: Variant) -> int:
    """Return a number of draws other than the variant's, as small as its estimator allows."""
    least, most = max(2, variant.estimator.min_draws), variant.estimator.most_draws
    return min(least if variant.draws != least else least + 1, most or least + 1)


class _Shifted(nn.Module):
    """A likelihood plus a constant, as if pixels that no latent explains were added."""

    def __init__(self, base: Gaussian | Bernoulli, constant: float) -> None:
        super().__init__()
        self.base, self.constant, self.support = base, constant, base.support

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        return self.base.log_prob(x, output) + self.constant

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


def linear_gaussian_model(template: Model, pixels: int, constant: float = 0.0) -> Model:
    """Return a model with linear encoder and decoder; latents, prior and posterior as in `template`.

    The likelihood is Gaussian with unit noise; that of discrete latents is Bernoulli, so that log p(x|z) is no
    quadratic function of z.

    constant: is added to log p(x|z), nats.
    """
    likelihood = Bernoulli() if template.encoder.family.is_discrete else Gaussian()
    model = Model(
        Encoder(nn.Identity(), pixels, template.latent_dim, template.encoder.family),
        Decoder(nn.Linear(template.latent_dim, pixels), _Shifted(likelihood, constant) if constant else likelihood),
        template.prior,
        template.latent_dim,
    ).double()
    source = torch.Generator().manual_seed(1)
    initialise(model, lambda name: source)
    return model


def linear_problems(variant: Variant) -> list[Problem]:
    """Return linear problems, small enough for quadrature over all draws and latents, or for the sum over states."""
    least, family = variant.estimator.min_draws, find_family(variant)
    declared = max(least, min(variant.draws, MAX_DRAWS))
    few = min(max(2, least), variant.estimator.most_draws or MAX_DRAWS)
    settings = dict.fromkeys(
        (draws, latents, constant)
        for draws, latents, constant in ((declared, 1, 0.0), (few, 2, 0.0), (least, 3, 0.0), (few, 1, LOW_LOG_WEIGHT))
        if latents == 1 or draws * latents <= MAX_DIMENSIONS
        if not family.is_discrete or max(2, family.width) ** (draws * latents) <= MAX_CHOICES
    )
    problems = []
    for draws, latents, constant in settings:
        reduced = replace(variant, draws=draws)
        model = linear_gaussian_model(build(reduced, SMALL, latents * family.width), PIXELS, constant)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.0 if family.is_discrete else PARAMETER_SCALE)
            if family.is_discrete:
                model.decoder.network.weight.mul_(DISCRETE_SCALE * model.latent_dim**0.5)  # type: ignore[operator]
        model.baseline = reduced.estimator.make_network(PIXELS, model.latent_dim).double()
        initialise(model.baseline, lambda name: torch.Generator().manual_seed(7))
        name = f"K = {draws}, D = {latents}" + (f", log weights near {constant:g}" if constant else "")
        x = 0.7 * normal(2, PIXELS, seed=6)
        problems.append(Problem(name, reduced, model, (x > 0).double() if family.is_discrete else x))
    return problems
