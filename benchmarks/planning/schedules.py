"""Schedules over training, and the optimizer: short texts that are settings, columns and part of a cell's identity."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, fields

from benchmarks.common.errors import shorten

CONSTANT = "constant"
PART = re.compile(r"([a-z-]+)(?:\(([^()]*)\))?")
SCHEDULES = (
    "constant, warm-up(EPOCHS), cosine, cosine(LAST), piecewise(EPOCH:FACTOR,...), or a product as warm-up(5)*cosine"
)
OPTIMIZERS = (
    "adam, adam(beta1=0.9,beta2=0.999,epsilon=1e-8,initial-square=0), rmsprop, rmsprop(decay=0.99,epsilon=1e-8), "
    "centred-rmsprop or centred-rmsprop(decay=0.99,epsilon=1e-8)"
)


@dataclass(frozen=True)
class OptimizerSettings:
    """The method, adam, rmsprop or centred-rmsprop, and its constants.

    beta2: decay of the mean square of all methods. initial_square: that mean square before the first step.
    """

    method: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    initial_square: float = 0.0


DEFAULTS = {
    "adam": OptimizerSettings(),
    "rmsprop": OptimizerSettings("rmsprop", beta1=0.0, beta2=0.99),
    "centred-rmsprop": OptimizerSettings("centred-rmsprop", beta1=0.0, beta2=0.99),
}
ARGUMENTS = {
    "adam": ("beta1", "beta2", "epsilon", "initial-square"),
    "rmsprop": ("decay", "epsilon"),
    "centred-rmsprop": ("decay", "epsilon"),
}
FIELDS = {"decay": "beta2", "initial-square": "initial_square"}  # of arguments with another name


def parse_optimizer(text: str) -> OptimizerSettings:
    """Return the settings of an optimizer; raise `ValueError` if the text is invalid."""
    refusal = ValueError(f"{shorten(repr(text), 60)} is no optimizer; use {OPTIMIZERS}")
    match = PART.fullmatch(text.replace(" ", ""))
    if not match or match[1] not in DEFAULTS:
        raise refusal
    constants = {}
    for argument in filter(None, (match[2] or "").split(",")):
        name, _, value = argument.partition("=")
        number = _parse_number(value)
        low = 0 if name != "epsilon" else sys.float_info.min
        high = math.inf if name == "initial-square" else 1
        if name not in ARGUMENTS[match[1]] or not low <= number < high:
            raise refusal
        constants[FIELDS.get(name, name)] = number
    default = DEFAULTS[match[1]]
    values = {field.name: getattr(default, field.name) for field in fields(default)}
    return OptimizerSettings(**values | constants)


def format_optimizer(settings: OptimizerSettings) -> str:
    """Return the text of an optimizer without the constants that have their default."""
    default = DEFAULTS[settings.method]
    constants = [
        f"{name}={value!r}"
        for name in ARGUMENTS[settings.method]
        if (value := getattr(settings, FIELDS.get(name, name))) != getattr(default, FIELDS.get(name, name))
    ]
    return settings.method + (f"({','.join(constants)})" if constants else "")


def compute_factor(schedule: str, epochs_done: float, epochs: int) -> float:
    """Return the factor of a schedule after this number of epochs, which may be fractional, of `epochs`.

    warm-up(E): rises from 0 to 1 in E epochs. cosine(F): falls from 1 to F along half a period. piecewise: the factor
    of the last epoch that has passed, 1 before the first. A product multiplies.

    Raises:
        ValueError: the schedule is invalid.
    """
    factor = 1.0
    for part in schedule.replace(" ", "").split("*"):
        match = PART.fullmatch(part)
        if not match:
            raise _refuse(schedule)
        factor *= _compute_part(schedule, match[1], match[2], epochs_done, epochs)
    return factor


def _compute_part(schedule: str, name: str, arguments: str | None, done: float, epochs: int) -> float:
    if name == CONSTANT and arguments is None:
        return 1.0
    if name == "warm-up" and (duration := _parse_number(arguments or "")) > 0:
        return min(1.0, done / duration)
    if name == "cosine" and 0 <= (last := 0.0 if arguments is None else _parse_number(arguments)) < math.inf:
        return last + (1 - last) * (1 + math.cos(math.pi * min(1.0, done / epochs))) / 2
    if name == "piecewise" and arguments:
        pairs = [tuple(map(_parse_number, pair.split(":"))) for pair in arguments.split(",")]
        starts = [pair[0] for pair in pairs]
        if all(len(pair) == 2 and pair[1] >= 0 and pair[0] >= 0 for pair in pairs) and starts == sorted({*starts}):
            return next((factor for start, factor in reversed(pairs) if done >= start), 1.0)
    raise _refuse(schedule)


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _refuse(schedule: str) -> ValueError:
    return ValueError(f"{shorten(repr(schedule), 60)} is no schedule; use {SCHEDULES}")
