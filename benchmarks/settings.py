"""Settings: a preset is a small TOML file of them; the command line puts others in their place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from benchmarks.errors import UserError, unknown

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Several = Annotated[int, Field(ge=2, le=1_000_000, strict=True)]
MOST_SEEDS = 100_000
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
Binarization = Literal["dynamic", "static", "none"]


def _seeds(value: object) -> object:
    """A number N means the seeds 0 to N - 1; strings come from the command line, where 5-9 means 5 to 9."""
    if isinstance(value, str) and (ends := RANGE.fullmatch(value.strip())):
        first, last = int(ends[1]), int(ends[2])
        if not first <= last < first + MOST_SEEDS:
            raise ValueError(f"{_short(value)} is no range of 1 to {MOST_SEEDS} seeds; give one such as 5-9")
        return tuple(range(first, last + 1))
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(INTEGER.fullmatch(part) for part in parts):
            raise ValueError(f"{_short(value)} is neither a number of seeds nor a list such as 0,1,2 or 5-9")
        numbers = [int(part) for part in parts]
        value = numbers if len(parts) > 1 else numbers[0]
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"{value} seeds leave nothing to run; give 1 or more, or a list such as 0,1,2")
        if value > MOST_SEEDS:
            raise ValueError(
                f"{value} seeds are more than the {MOST_SEEDS} that a run may have; give fewer, or a list such as 0,1,2"
            )
        return tuple(range(value))
    if not isinstance(value, list | tuple):
        raise ValueError(f"{_short(value)} is neither a number of seeds nor a list such as [0, 1, 2]")
    return tuple(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


class Laboratory(BaseModel):
    """What the gradient laboratory measures where, beside the settings that it shares with a run.

    checkpoints: epochs of the reference model that are called initial, early and middle; the last one is the end.
    repeats: estimates behind each variance. fewer_seeds: how many of the seeds the studies at one checkpoint use.
    learning_rates: of the trained models that are compared, with as many seeds.
    examples: behind the minibatch's part of the variance. pairs: of fresh minibatches in the study of batch sizes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoints: tuple[Annotated[int, Field(ge=0, strict=True)], Count, Count] = (0, 1, 10)
    repeats: Annotated[int, Field(ge=20, le=1_000_000, strict=True)] = 1000
    fewer_seeds: Count = 3
    latent_dims: tuple[Count, ...] = (2, 10, 20, 50, 200)
    draws: tuple[Count, ...] = (1, 2, 4, 8, 16, 32, 64)
    batch_sizes: tuple[Count, ...] = (10, 30, 100, 300, 1000)
    posterior_scales: tuple[Annotated[float, Field(gt=0, le=1, strict=True)], ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
    frequencies: tuple[Annotated[float, Field(gt=0, le=1000, strict=True)], ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    integrand_draws: Annotated[int, Field(ge=1000, le=100_000_000, strict=True)] = 100_000
    learning_rates: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)], ...] = (3e-4, 1e-3, 3e-3)
    examples: Several = 1000
    pairs: Several = 100


class Settings(BaseModel):
    """What a user may set. None means: as the data set declares it (draws: as the variant does)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    seeds: Annotated[tuple[Annotated[int, Field(strict=True)], ...], BeforeValidator(_seeds)]
    epochs: Count
    batch_size: Count = 100
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] = 1e-3
    checkpoints: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = (0,)
    binarization: Binarization | None = None
    likelihood: str | None = None
    latent_dim: Count | None = None
    draws: Count | None = None
    evaluation_draws: Several = 16
    log_likelihood_draws: Several = 100
    gradient_repeats: Several = 200
    threads: Annotated[int, Field(ge=1, le=256, strict=True)] = 1
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    gradients: Laboratory = Laboratory()

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("an empty list of seeds leaves nothing to run; give a number, or a list such as [0, 1, 2]")
        if any(seed < 0 for seed in seeds):
            raise ValueError(f"{min(seeds)} is negative; seeds are 0 or more")
        repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if repeated:
            raise ValueError(f"{repeated[0]} is repeated, and equal seeds give equal cells; name each seed once")
        return seeds


def names() -> list[str]:
    """The presets that come with the project."""
    folder = resources.files("benchmarks") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read(preset: str) -> tuple[str, str]:
    """Where a preset lies and its text; `preset` is a name from `names()` or the path of a TOML file."""
    if preset in names():
        source = resources.files("benchmarks") / "presets" / f"{preset}.toml"
        return f"{preset}.toml", source.read_text(encoding="utf-8")
    if not preset.endswith(".toml"):
        raise unknown("preset", preset, names())
    try:
        return preset, Path(preset).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(
            f"can't read the preset {preset}: {reason}; name a readable TOML file or one of {', '.join(names())}"
        ) from error


def load(preset: str, overrides: Mapping[str, Any], repeats: int | None = None) -> Settings:
    """The settings of a preset, with `overrides` (by the names of `Settings`) in their place.

    repeats: those of the laboratory.
    """
    where, text = read(preset)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: {error}; write it as TOML, for example: epochs = 40") from error
    try:
        measured = table.get("gradients", {})
        if repeats is not None and isinstance(measured, dict):
            measured, overrides = {**measured, "repeats": repeats}, {**overrides, "repeats": repeats}
        return Settings(**{**table, **{k: v for k, v in overrides.items() if k != "repeats"}, "gradients": measured})
    except ValidationError as error:
        raise UserError(_explain(error, overrides, where, text)) from error


def _explain(error: ValidationError, overrides: Mapping[str, Any], where: str, text: str) -> str:
    first = min(error.errors(), key=lambda e: e["type"] == "missing")  # what is there is named before what is not
    key = str(first["loc"][1 if len(first["loc"]) > 1 and first["loc"][0] == "gradients" else 0])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = Settings.model_fields if len(first["loc"]) == 1 else Laboratory.model_fields
        message = f"no such setting; known: {', '.join(sorted(known))}"
    elif first["type"] == "missing":
        message = "it is missing; every preset needs it"
    elif first["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:].replace('tuple', 'list')}, got {_short(first['input'])}"
    if key in overrides:
        return f"--{key.replace('_', '-')}: {message}"
    numbers = [
        i for i, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*['\"]?{re.escape(key)}['\"]?\s*=", line)
    ]
    line = f", line {numbers[0]}" if numbers else ""
    return f"{where}{line}, key {key}: {message}"
