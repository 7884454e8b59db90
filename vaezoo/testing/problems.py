"""Small models on which the properties of a variant are tested, in float64 with fixed seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.distributions.likelihoods import Gaussian
from vaezoo.models import DataSpec, Decoder, Encoder, Model, initialise
from vaezoo.variants import Variant, build, estimate

SMALL, LARGE = DataSpec((8, 8), "bernoulli", (6,)), DataSpec((28, 28), "bernoulli", (6,))
EXAMPLES, PIXELS = 5, 3
MAX_DRAWS, MAX_DIMENSIONS = 5, 6  # for the product rule over the noise of all draws and latents
AVERAGE = -3.0  # moving average of a baseline that predicts, nats; the properties hold for any value
PARAMETER_SCALE = 0.4  # so that the log weights vary little, and quadrature of their logarithm is accurate
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


def architecture_problems(variant: Variant) -> list[Problem]:
    """Return problems with the variant's architecture: its draws, other draws and latents, low log weights."""
    few = other_draws(variant)
    problems = []
    for draws, latents, spec in ((variant.draws, 2, SMALL), (few, 3, SMALL), (variant.draws, 2, LARGE)):
        reduced = replace(variant, draws=draws)
        model = build(reduced, spec, latents).double()
        source = torch.Generator().manual_seed(3)
        initialise(model, lambda name, source=source: source)  # type: ignore[misc]
        x = (normal(EXAMPLES, *spec.shape, seed=4) > 0).double()
        problems.append(Problem(describe(draws, latents, spec.shape), reduced, model, x))
    return problems


def describe(draws: int, latents: int, shape: tuple[int, ...]) -> str:
    """Return the name of a problem."""
    return f"K = {draws}, D = {latents}, {' x '.join(map(str, shape))} pixels"


def other_draws(variant: Variant) -> int:
    """Return a number of draws other than the variant's, as small as its estimator allows."""
    least = max(2, variant.estimator.min_draws)
    return least if variant.draws != least else least + 1


class _Shifted(nn.Module):
    """The Gaussian likelihood plus a constant, as if pixels that no latent explains were added."""

    support = "real"

    def __init__(self, constant: float) -> None:
        super().__init__()
        self.base, self.constant = Gaussian(), constant

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        return self.base.log_prob(x, output) + self.constant

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


def linear_gaussian_model(template: Model, pixels: int, constant: float = 0.0) -> Model:
    """Return a model with linear encoder and decoder and unit noise; latents, prior and posterior as in `template`.

    constant: is added to log p(x|z), nats.
    """
    model = Model(
        Encoder(nn.Identity(), pixels, template.latent_dim, template.encoder.family),
        Decoder(nn.Linear(template.latent_dim, pixels), _Shifted(constant) if constant else Gaussian()),
        template.prior,
        template.latent_dim,
    ).double()
    source = torch.Generator().manual_seed(1)
    initialise(model, lambda name: source)
    return model


def linear_problems(variant: Variant) -> list[Problem]:
    """Return linear-Gaussian problems, small enough for quadrature over the noise of all draws and latents."""
    least = variant.estimator.min_draws
    declared, few = max(least, min(variant.draws, MAX_DRAWS)), max(2, least)
    settings = dict.fromkeys(
        (draws, latents, constant)
        for draws, latents, constant in (
            (declared, 1, 0.0),
            (few, 2, 0.0),
            (least, 3, 0.0),
            (few, 1, LOW_LOG_WEIGHT),
        )
        if latents == 1 or draws * latents <= MAX_DIMENSIONS
    )
    problems = []
    for draws, latents, constant in settings:
        reduced = replace(variant, draws=draws)
        model = linear_gaussian_model(build(reduced, SMALL, latents), PIXELS, constant)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(PARAMETER_SCALE)
        model.baseline = reduced.estimator.make_network(PIXELS).double()
        initialise(model.baseline, lambda name: torch.Generator().manual_seed(7))
        name = f"K = {draws}, D = {latents}" + (f", log weights near {constant:g}" if constant else "")
        problems.append(Problem(name, reduced, model, 0.7 * normal(2, PIXELS, seed=6)))
    return problems
