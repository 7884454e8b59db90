"""Settings: read from a preset, a TOML file; options of the command line replace them."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmarks.common.errors import UserError, shorten, unknown
from benchmarks.planning.schedules import CONSTANT, compute_factor, format_optimizer, parse_optimizer

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
CountAboveOne = Annotated[int, Field(ge=2, le=1_000_000, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
PRESETS = Path(__file__).parents[1] / "presets"
MAX_SEEDS = 100_000


def _parse_seeds(value: object) -> object:
    """Return a tuple of seeds: N means 0 to N - 1. Strings come from the command line, where 5-9 means 5 to 9."""
    if isinstance(value, str) and (bounds := re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", value.strip())):
        first, last = int(bounds[1]), int(bounds[2])
        if not first <= last < first + MAX_SEEDS:
            raise ValueError(
                f"{shorten(repr(value), 40)} is not a range of 1 to {MAX_SEEDS} seeds; give a range such as 5-9"
            )
        return tuple(range(first, last + 1))
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(re.fullmatch(r"[+-]?[0-9]{1,18}", part) for part in parts):
            raise ValueError(f"{shorten(repr(value), 40)} is neither a number of seeds nor a list such as 0,1,2 or 5-9")
        numbers = [int(part) for part in parts]
        value = numbers if len(parts) > 1 else numbers[0]
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(
                f"the number of seeds is {value}, but must be at least 1; give a number, or a list such as 0,1,2"
            )
        if value > MAX_SEEDS:
            raise ValueError(
                f"a run can have at most {MAX_SEEDS} seeds, got {value}; give fewer, or a list such as 0,1,2"
            )
        return tuple(range(value))
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shorten(repr(value), 40)} is neither a number of seeds nor a list such as [0, 1, 2]")
    return tuple(value)


def _check_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("the list of seeds is empty; give a number, or a list such as [0, 1, 2]")
    if min(seeds) < 0:
        raise ValueError(f"seed {min(seeds)} is negative; give seeds of 0 or more")
    repeated = [seed for seed, count in Counter(seeds).items() if count > 1]
    if repeated:
        raise ValueError(f"seed {min(repeated)} is repeated, which would repeat its cells; give each seed once")
    return seeds


def _parse_widths(value: object) -> object:
    """Return widths as text, 400,200; none means no hidden layer. A preset can have a list."""
    parts = [str(part) for part in value] if isinstance(value, list) else str(value).replace(" ", "").split(",")
    if not all(re.fullmatch(r"[1-9][0-9]{0,6}", part) for part in parts) and parts != ["none"]:
        raise ValueError(f"{shorten(repr(value), 40)} is no list of widths such as 400,200; give numbers, or none")
    return ",".join(parts) or "none"


def _check_schedule(text: str) -> str:
    compute_factor(text, 0.0, 1)  # raises `ValueError`
    return text.replace(" ", "")


class Integrand(BaseModel):
    """f(z), the sum or mean over D latents of (z_d - t_d)², and the mean or logit of each latent.

    targets: t_d, or one for all latents.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Literal["squares", "mean-squares"] = "squares"
    targets: Annotated[tuple[Finite, ...], Field(min_length=1)]
    parameter: Finite = 0.0
    latents: Count = 1


class StudySettings(BaseModel):
    """Settings of the gradient studies, in addition to the settings that they share with runs.

    checkpoints: epochs at which the reference model is in the stages initial, early and middle; the end is its last.
    repeats: gradient estimates per variance. fewer_seeds: number of seeds in studies at one checkpoint.
    learning_rates: those of the runs that the study learning-rate compares, each with `fewer_seeds` seeds.
    integrand: f of the study of that name, which needs it.
    examples: number of examples for the minibatch variance. pairs: pairs of minibatches in the study batch-size.
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
    integrand: Integrand | None = None
    integrand_draws: Annotated[int, Field(ge=1000, le=100_000_000, strict=True)] = 100_000
    learning_rates: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)], ...] = (3e-4, 1e-3, 3e-3)
    examples: CountAboveOne = 1000
    pairs: CountAboveOne = 100


class Settings(BaseModel):
    """Settings that a user can set. None means the default of the data set; for draws, the default of the variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    seeds: Annotated[
        tuple[Annotated[int, Field(strict=True)], ...], BeforeValidator(_parse_seeds), AfterValidator(_check_seeds)
    ]
    epochs: Count
    batch_size: Count = 100
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] = 1e-3
    checkpoints: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = (0,)
    binarization: Literal["dynamic", "static", "none"] | None = None
    preprocessing: Literal["none", "standardised", "dequantised"] | None = None
    held_out: Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)] = 0
    order: Literal["shuffled", "fixed"] = "shuffled"
    likelihood: str | None = None
    latent_dim: Count | None = None
    architecture: str = "mlp"
    hidden: Annotated[str, BeforeValidator(_parse_widths)] = ""
    activation: Literal["relu", "leaky-relu", "tanh", "elu", "silu", "softplus"] = "relu"
    initialisation: Literal["uniform", "glorot"] = "uniform"
    output_bias: Literal["drawn", "data"] = "drawn"
    optimizer: Annotated[str, AfterValidator(lambda text: format_optimizer(parse_optimizer(text)))] = "adam"
    schedule: Annotated[str, AfterValidator(_check_schedule)] = CONSTANT
    kl_schedule: Annotated[str, AfterValidator(_check_schedule)] = CONSTANT
    prior: Literal["fixed", "learned"] = "fixed"
    free_bits: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False, strict=True)] = 0.0
    draws: Count | None = None
    evaluation_draws: CountAboveOne = 16
    log_likelihood_draws: CountAboveOne = 100
    gradient_repeats: CountAboveOne = 200
    threads: Annotated[int, Field(ge=1, le=256, strict=True)] = 1
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    gradients: StudySettings = StudySettings()


def list_presets() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def read_preset(preset: str) -> tuple[str, str]:
    """Return file name and text of a preset: a name from `list_presets`, or the path of a TOML file."""
    if preset in list_presets():
        return f"{preset}.toml", (PRESETS / f"{preset}.toml").read_text(encoding="utf-8")
    if not preset.endswith(".toml"):
        raise unknown("preset", preset, list_presets())
    try:
        return preset, Path(preset).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(
            f"can't read the preset {preset}: {reason}; name a readable TOML file or one of {', '.join(list_presets())}"
        ) from error


def load_settings(preset: str, overrides: Mapping[str, Any], repeats: int | None = None) -> Settings:
    """Load a preset; replace its settings, and the repeats of its gradient studies, by the values that are not None."""
    source, text = read_preset(preset)
    replacements = {key: value for key, value in overrides.items() if value is not None}
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: {error}; write it as TOML, for example: epochs = 40") from error
    studies = table.setdefault("gradients", {})
    if isinstance(studies, dict) and isinstance(replacements.get("gradients", {}), Mapping):
        studies |= replacements.pop("gradients", {}) | ({} if repeats is None else {"repeats": repeats})
    try:
        return Settings(**(table | replacements))
    except ValidationError as error:
        options = [*replacements, *([] if repeats is None else ["repeats"])]
        raise UserError(_explain(error, options, source, text)) from error


def _explain(error: ValidationError, options: Collection[str], source: str, text: str) -> str:
    fault = min(error.errors(), key=lambda e: e["type"] == "missing")  # missing keys are reported last
    key = str(fault["loc"][1 if len(fault["loc"]) > 1 and fault["loc"][0] == "gradients" else 0])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        known = Settings.model_fields if len(fault["loc"]) == 1 else StudySettings.model_fields
        message = f"unknown setting; known: {', '.join(sorted(known))}"
    elif fault["type"] == "missing":
        message = "missing; every preset needs it"
    elif fault["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:].replace('tuple', 'list')}, got {shorten(repr(fault['input']), 40)}"
    if key in options:
        return f"--{key.replace('_', '-')}: {message}"
    definition = re.compile(rf"\s*['\"]?{re.escape(key)}['\"]?\s*=")
    numbers = [i for i, line in enumerate(text.splitlines(), 1) if definition.match(line)]
    line = f", line {numbers[0]}" if numbers else ""
    return f"{source}{line}, key {key}: {message}"
