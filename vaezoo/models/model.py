"""Models: an encoder that returns the approximate posterior, a decoder with a likelihood, and a prior."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.baselines import ZeroPrediction
from vaezoo.distributions.families import FAMILIES, Family
from vaezoo.distributions.likelihoods import LIKELIHOODS, Likelihood, likelihood_name
from vaezoo.distributions.posteriors import Posterior
from vaezoo.distributions.priors import Prior
from vaezoo.equality import same_content


class Encoder(nn.Module):
    """Maps x [B, ...] to q(z|x): a trunk, then one linear head for each parameter of the posterior.

    The posterior is in float64, because (z - mean) / scale loses all digits in float32 if q is narrow. A diverged seed
    of REINFORCE reached |mean| / scale = 5e8.
    """

    def __init__(self, trunk: nn.Module, width: int, latent_dim: int, family: Family) -> None:
        super().__init__()
        if latent_dim % family.width:
            raise ValueError(
                f"{latent_dim} latent dimensions are no multiple of {family.width}, the coordinates of a latent of "
                f"the family {family.name}; use {family.width * max(1, round(latent_dim / family.width))}"
            )
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
    training_share: the share of training that is done, a tensor [] from 0 to 1, for objectives that change during
    training; 1 outside of training steps. kl_weight: the weight of the KL in the objective, a tensor [] in a training
    step with a schedule of the KL, else the number 1. free_bits: smallest term of the KL for each latent in the
    objective, nats; 0 for the KL itself.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, prior: Prior, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.latent_dim = latent_dim
        self.baseline: nn.Module = ZeroPrediction()
        self.training_share: Tensor = torch.ones(())
        self.kl_weight: Tensor | float = 1.0
        self.free_bits = 0.0

    @property
    def stochastic(self) -> bool:
        """Whether the latents are random; those of an autoencoder are not."""
        return self.encoder.family.stochastic

    def forward(self, function: Callable[[Model, Tensor, Tensor], Tensor], x: Tensor, noise: Tensor) -> Tensor:
        """Return function(model, x, noise), so that `torch.func.functional_call` can evaluate any such function."""
        return function(self, x, noise)


def check_names(model: Model) -> None:
    """Check that no other likelihood or posterior family has the name of one of vaezoo's.

    Args:
        model: the model.

    Raises:
        ValueError: a name of vaezoo's has another definition.
    """
    likelihood, family = model.decoder.likelihood, model.encoder.family
    name = likelihood_name(likelihood)
    same_likelihood = name not in LIKELIHOODS or type(likelihood) is type(LIKELIHOODS[name](1))
    known = FAMILIES.get(family.name, family)
    same_family = all(same_content(getattr(known, n), getattr(family, n)) for n in ("heads", "build", "stochastic"))
    for kind, taken, same in (("likelihood", name, same_likelihood), ("posterior family", family.name, same_family)):
        if not same:
            raise ValueError(
                f"{kind} '{taken}' has another definition than vaezoo's; give it another name, or use vaezoo's"
            )
