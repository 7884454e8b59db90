"""Files of trained models: the weights, with all that is needed to build the model again.

The format is safetensors, which holds arrays and text only, so that loading a file can't run code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from vaezoo.models import ARCHITECTURES, Architecture, DataSpec
from vaezoo.registry import VARIANTS
from vaezoo.trained.trained_model import TrainedModel
from vaezoo.variants import Variant, build

T = TypeVar("T")
FORMAT = 1  # of the metadata
KEY = "vaezoo"  # of the metadata
CONSTANTS = ("maximum", "mean", "scale", "levels", "in_unit_interval")
HEADER_BYTES = 8  # the length of the header of a safetensors file


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
        **{name: getattr(trained, name) for name in CONSTANTS},
        "about": dict(trained.about),
    }
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in trained.model.state_dict().items()}
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
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced
            model = build(variant, spec, fields["latent_dim"])
        model.load_state_dict(tensors)
        constants: dict[str, Any] = {}
        for name in CONSTANTS:
            constants[name] = tuple(fields[name]) if isinstance(fields[name], list) else fields[name]
        return TrainedModel(model, fields["variant"], spec, **constants, about=fields["about"])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no model that this vaezoo can read: {reason}") from error


def _find(kind: str, name: str, known: Iterable[T]) -> T:
    for entry in known:
        if getattr(entry, "name", "") == name:
            return entry
    raise ValueError(f"vaezoo does not define its {kind} {name}; give the {kind} as an argument")
