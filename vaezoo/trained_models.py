"""Trained models: a file of weights with all that is needed to build the model again, and their use on a user's arrays.

The file is in the safetensors format, which holds arrays and text only, so that loading a file can't run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vaezoo.distributions.likelihoods import SUPPORTS
from vaezoo.evaluation import log_likelihood_bounds
from vaezoo.models import ARCHITECTURES, Architecture, DataSpec, Model
from vaezoo.variants import VARIANTS, Variant, build

T = TypeVar("T")
FORMAT = 1  # of the metadata
KEY = "vaezoo"  # of the metadata
HEADER_BYTES = 8  # the length of the header of a safetensors file


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with the units of its data.

    Args:
        model: encoder, decoder and prior.
        variant: name of the variant.
        spec: shape of an example, likelihood and architecture.
        maximum: white in arrays of whole numbers; they are divided by it.
        mean, scale: constants [P] by which the training data were standardised; empty if they were not.
        about: origin of the model, such as data set, seed and epoch.
    """

    model: Model
    variant: str
    spec: DataSpec
    maximum: float = 255.0
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def encode(self, x: Any) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
        """Return mean and standard deviation of q(z|x), [N, D] each.

        Args:
            x: N examples in the units of the training data, [N, *shape] or [N, P]: an array or a tensor. Whole numbers
                are divided by `maximum`; booleans are 0 and 1, and other pixels are from 0 to 1.

        Raises:
            ValueError: the shape is another one, or a number is outside of [0, 1].
        """
        q = self.model.encoder(self._prepare(x))
        return q.mean, q.scale

    @torch.no_grad()
    def decode(self, z: Any) -> Float[Tensor, "N ..."]:
        """Return E[x|z], [N, *shape], in the units of the training data; pixels are from 0 to 1.

        Args:
            z: N latents, [N, D].

        Raises:
            ValueError: the shape is another one.
        """
        z = torch.as_tensor(z)
        if z.ndim != 2 or z.shape[1] != self.model.latent_dim:
            raise ValueError(f"z has the shape {list(z.shape)}; latents of this model are [N, {self.model.latent_dim}]")
        x = self.model.decoder.mean(z[None].to(self._device))[0].double()
        if self.scale:
            x = x * self._constant(self.scale) + self._constant(self.mean)
        return x.float().view(-1, *self.spec.shape)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "N ..."]:
        """Return E[x|z] of `count` draws z of the prior, [count, *shape], as `decode` does.

        Args:
            count: number of examples.
            seed: of the draws.
        """
        noise = torch.randn(count, self.model.latent_dim, generator=torch.Generator().manual_seed(seed))
        return self.decode(self.model.prior.sample(noise.to(self._device)))

    @torch.no_grad()
    def log_likelihood(self, x: Any, draws: int = 100, seed: int = 0) -> Float[Tensor, " N"]:
        """Return log (1/K) sum_k w_k for each example, a lower bound of log p(x), nats, in the units of the data.

        Args:
            x: N examples, as for `encode`; binary pixels, if the likelihood is for them.
            draws: K, importance samples of each example.
            seed: of the draws.

        Raises:
            ValueError: an example is outside of the likelihood's support, or the model has no density.

        Source: Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519, equation 8.
        """
        if not self.model.stochastic:
            raise ValueError(
                f"{self.variant} has a point as its posterior, so it has no likelihood; use another variant"
            )
        values, support = self._prepare(x), self.model.decoder.likelihood.support
        outside = values[~SUPPORTS[support](values)]
        if len(outside):
            raise ValueError(
                f"x has the number {outside[0].item():.3g}, but the likelihood is for {support} data; "
                "round the pixels, for example with x > 0.5, or train with another likelihood"
            )
        generator = torch.Generator().manual_seed(seed)
        bounds = log_likelihood_bounds(self.model, values, self.model.encoder(values), draws, generator)
        return bounds - sum(math.log(scale) for scale in self.scale)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _constant(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)

    def _prepare(self, x: Any) -> Float[Tensor, "N P"]:
        """Return the numbers that the encoder reads, float32."""
        values, shape = torch.as_tensor(x), self.spec.shape
        pixels = math.prod(shape)
        if tuple(values.shape[1:]) not in (shape, (pixels,)):
            hint = "; add a dimension with x[None]" if tuple(values.shape) == shape else ""
            raise ValueError(f"x has the shape {list(values.shape)}; examples of this model are [N, *{shape}]{hint}")
        is_whole = not values.is_floating_point() and values.dtype != torch.bool
        is_real = self.model.decoder.likelihood.support == "real"
        values = values.to(self._device).flatten(1).double()
        if self.scale:
            values = (values - self._constant(self.mean)) / self._constant(self.scale)
        elif is_whole:
            values = (values.float() / self.maximum).double()
        limits = values.aminmax() if values.numel() and not is_real else None
        if limits is not None and not (limits.min >= 0 and limits.max <= 1):
            raise ValueError(
                f"x has numbers from {limits.min:.3g} to {limits.max:.3g}; give pixels from 0 to 1, or whole numbers "
                f"from 0 to {self.maximum:g}"
            )
        return values.float()


def serialize_model(trained: TrainedModel) -> bytes:
    """Return the content of a file of this model: its weights and, as JSON, all other fields.

    Args:
        trained: the model.
    """
    spec = trained.spec
    fields = {
        "format": FORMAT,
        "variant": trained.variant,
        "latent_dim": trained.model.latent_dim,
        "spec": {
            "shape": spec.shape,
            "likelihood": spec.likelihood,
            "hidden": spec.hidden,
            "architecture": spec.architecture.name,
            "activation": spec.activation,
            "prior": spec.prior,
            "free_bits": spec.free_bits,
        },
        **{name: getattr(trained, name) for name in ("maximum", "mean", "scale")},
        "about": dict(trained.about),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in trained.model.state_dict().items()}
    return save(tensors, {KEY: json.dumps(fields)})


def load_model(
    path: str | Path, variant: Variant | None = None, architecture: Architecture | None = None
) -> TrainedModel:
    """Return the model of a file that `benchmarks run --keep-models` or `serialize_model` wrote.

    Args:
        path: the file.
        variant: the model's variant, if vaezoo does not define it.
        architecture: the model's networks, if vaezoo does not define them.

    Raises:
        ValueError: the file is no such file, or is damaged, or its variant or architecture is missing.
        OSError: the file can't be read.
    """
    content = Path(path).read_bytes()
    try:
        tensors = load(content)
        size = int.from_bytes(content[:HEADER_BYTES], "little")
        fields = json.loads(json.loads(content[HEADER_BYTES : HEADER_BYTES + size])["__metadata__"][KEY])
        if fields["format"] != FORMAT:
            raise ValueError(f"it has the format {fields['format']}, and this vaezoo reads {FORMAT}; update vaezoo")
        settings = fields["spec"]
        variant = variant or _find("variant", fields["variant"], VARIANTS)
        architecture = architecture or _find("architecture", settings["architecture"], ARCHITECTURES)
        spec = DataSpec(
            tuple(settings["shape"]),
            settings["likelihood"],
            tuple(settings["hidden"]),
            architecture,
            settings["activation"],
            settings["prior"],
            settings["free_bits"],
        )
        model = build(variant, spec, fields["latent_dim"])
        model.load_state_dict(tensors)
        constants = (float(fields["maximum"]), tuple(fields["mean"]), tuple(fields["scale"]))
        return TrainedModel(model, fields["variant"], spec, *constants, fields["about"])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no model that this vaezoo can read: {reason}") from error


def _find(kind: str, name: str, known: Iterable[T]) -> T:
    for entry in known:
        if getattr(entry, "name", "") == name:
            return entry
    raise ValueError(f"vaezoo does not define its {kind} {name}; give the {kind} as an argument")
