"""Gradients of many estimators for some examples and all repeats, from one pass of the decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.jacobians import fields
from vaezoo.models import Model
from vaezoo.posteriors import Posterior
from vaezoo.replay import AtPosterior, DecoderPass, Subject, replayed

DRAWS_AT_ONCE = 2_000  # rows of the decoder: their activations stay in the processor's cache


def linear_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """By name."""
    return {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}


def _repeated(q: Posterior, repeats: int) -> Posterior:
    rows = {name: value.repeat(repeats, *[1] * (value.ndim - 1)) for name, value in fields(q).items()}
    return dataclasses.replace(q, **rows)  # type: ignore[type-var]


def _joined(parts: list[Float[Tensor, "K N I"]], examples: int) -> Float[Tensor, "K R B I"]:
    """One part alone is not copied."""
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    return whole.view(len(whole), -1, examples, whole.shape[-1])


@dataclass(frozen=True)
class Chunk:
    """Some examples, all repeats: gradients at the posterior, what the decoder's are multiplied with, its layers."""

    q: Posterior
    posterior: dict[str, Float[Tensor, "R B S"]]
    decoder: dict[str, Float[Tensor, "K R B"]]
    layers: dict[str, tuple[Float[Tensor, "K R B I"], Float[Tensor, "K R B O"]]]


def chunk_of(
    model: Model,
    subjects: Mapping[str, Subject],
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
    layers: dict[str, nn.Linear],
) -> Chunk:
    """The gradients of all subjects for some examples; `layers`: those of the decoder that are wanted."""
    examples, draws = len(x), noise.shape[1]
    with torch.no_grad():
        q = model.encoder(x)
    found: dict[str, list[AtPosterior]] = {name: [] for name in subjects}
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    for part in noise.split(max(1, DRAWS_AT_ONCE // (draws * examples))):
        rows = part.transpose(0, 1).reshape(draws, -1, part.shape[-1])
        many = _repeated(q, len(part))
        decoded = DecoderPass(model.decoder, x, many.sample(rows), layers)
        for name, subject in subjects.items():
            found[name].append(replayed(subject, model, many, rows, decoded))
        for name, pair in decoded.layers.items() if layers else ():
            seen[name].append(pair)
    return Chunk(
        q,
        {name: torch.cat([a.posterior.unflatten(0, (-1, examples)) for a in own]) for name, own in found.items()},
        {name: torch.cat([a.decoder.unflatten(1, (-1, examples)) for a in own], 1) for name, own in found.items()},
        {
            name: (_joined([a for a, _ in pairs], examples), _joined([d for _, d in pairs], examples))
            for name, pairs in seen.items()
        },
    )
