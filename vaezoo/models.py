"""Models: an encoder that returns the approximate posterior, a decoder with a likelihood, and a prior."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.baselines import ZeroPrediction
from vaezoo.distributions.likelihoods import LIKELIHOODS, Likelihood, likelihood_name
from vaezoo.distributions.posteriors import DIAGONAL_NORMAL, FAMILIES, POINT_MASS, Family, Posterior
from vaezoo.distributions.priors import STANDARD_NORMAL, Prior


@dataclass(frozen=True)
class DataSpec:
    """The properties of the data from which an architecture builds a model.

    Args:
        shape: shape of one example, such as (28, 28).
        likelihood: a name in `vaezoo.distributions.likelihoods.LIKELIHOODS`.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse order.
    """

    shape: tuple[int, ...]
    likelihood: str
    hidden: tuple[int, ...] = (400,)


class Encoder(nn.Module):
    """Maps x [B, ...] to q(z|x): a trunk, then one linear head for each parameter of the posterior.

    The posterior is in float64, because (z - mean) / scale loses all digits in float32 if q is narrow. A diverged seed
    of REINFORCE reached |mean| / scale = 5e8.
    """

    def __init__(self, trunk: nn.Module, width: int, latent_dim: int, family: Family) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: nn.Linear(width, latent_dim) for name in family.heads})
        self.family = family

    def forward(self, x: Float[Tensor, "B ..."]) -> Posterior:
        features = self.trunk(x.flatten(1))
        return self.family.build(*(head(features).double() for head in self.heads.values()))


class Decoder(nn.Module):
    """Maps z [K, B, D] to p(x|z): a network, whose output is the parameter of the likelihood, and the likelihood."""

    def __init__(self, network: nn.Module, likelihood: Likelihood) -> None:
        super().__init__()
        self.network = network
        self.likelihood = likelihood

    def forward(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B P"]:
        dtype = next(self.parameters()).dtype
        output: Tensor = self.network(z.to(dtype)).to(dtype)  # under autocast the network returns a lower precision
        return output

    def log_prob(self, x: Float[Tensor, "B ..."], z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        """Return log p(x|z), nats per draw and example."""
        return self.likelihood.log_prob(x.flatten(1), self(z))

    def mean(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B P"]:
        """Return E[x|z] for each pixel."""
        return self.likelihood.mean(self(z))


class Model(nn.Module):
    """A latent-variable model: q(z|x), p(x|z) and p(z), with D = latent_dim latents.

    baseline: the network of a baseline that predicts; it belongs neither to the encoder nor to the decoder.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, prior: Prior, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.latent_dim = latent_dim
        self.baseline: nn.Module = ZeroPrediction()

    @property
    def stochastic(self) -> bool:
        """Whether the latents are random; those of an autoencoder are not."""
        return self.encoder.family.stochastic

    def forward(self, function: Callable[[Model, Tensor, Tensor], Tensor], x: Tensor, noise: Tensor) -> Tensor:
        """Return function(model, x, noise), so that `torch.func.functional_call` can evaluate any such function."""
        return function(self, x, noise)


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers from the first width to the last, each followed by ReLU; identity for a single width."""
    layers = [(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain.from_iterable(layers))


def _mlp(spec: DataSpec, latent_dim: int, family: Family) -> Model:
    pixels = math.prod(spec.shape)
    encoder_widths, decoder_widths = (pixels, *spec.hidden), (latent_dim, *reversed(spec.hidden))
    encoder = Encoder(mlp(encoder_widths), encoder_widths[-1], latent_dim, family)
    network = nn.Sequential(*mlp(decoder_widths), nn.Linear(decoder_widths[-1], pixels))
    return Model(encoder, Decoder(network, LIKELIHOODS[spec.likelihood]()), STANDARD_NORMAL, latent_dim)


def mlp_normal(spec: DataSpec, latent_dim: int) -> Model:
    """Return a VAE of two perceptrons, with a diagonal normal posterior and a standard normal prior.

    Args:
        spec: shape, likelihood and hidden widths.
        latent_dim: D, the number of latents.

    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix C.
    """
    return _mlp(spec, latent_dim, DIAGONAL_NORMAL)


def mlp_point(spec: DataSpec, latent_dim: int) -> Model:
    """Return an autoencoder: the networks of `mlp_normal` without the head for the scale, with a point mass as q."""
    return _mlp(spec, latent_dim, POINT_MASS)


def check_names(model: Model) -> None:
    """Check that no other likelihood or posterior family has the name of one of vaezoo's.

    Args:
        model: the model.

    Raises:
        ValueError: a name of vaezoo's has another definition.
    """
    likelihood, family = model.decoder.likelihood, model.encoder.family
    name = likelihood_name(likelihood)
    same_likelihood = name not in LIKELIHOODS or type(likelihood) is type(LIKELIHOODS[name]())
    same_family = FAMILIES.get(family.name, family) == family
    for kind, taken, same in (("likelihood", name, same_likelihood), ("posterior family", family.name, same_family)):
        if not same:
            raise ValueError(
                f"{kind} '{taken}' has another definition than vaezoo's; give it another name, or use vaezoo's"
            )


@torch.no_grad()
def initialise(module: nn.Module, generator: Callable[[str], torch.Generator]) -> None:
    """Draw every weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch for linear layers.

    Parameters that two models share by name start equal if the generators do. Parameters of a module without a weight
    keep their value.

    Args:
        module: the model, changed in place.
        generator: name of a parameter -> the generator from which it is drawn.
    """
    for path, layer in module.named_modules():
        parameters = dict(layer.named_parameters(recurse=False))
        if "weight" not in parameters:
            continue
        bound = parameters["weight"][0].numel() ** -0.5
        for name, parameter in parameters.items():
            draw = torch.rand(parameter.shape, generator=generator(f"{path}.{name}"), dtype=parameter.dtype)
            parameter.copy_((2 * draw - 1) * bound)
