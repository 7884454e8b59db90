"""Arrays of a user: checks, the missing test split, and defaults that follow from types and values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import UserError, printable, shorten
from benchmarks.planning.cases import hash_identity
from benchmarks.planning.data.facts import ARRAY_NAMES, SPLITS, Arrays, RawDataset, Values, compute_checksum
from benchmarks.planning.data.info import DatasetInfo

Array = NDArray[Any]
TEST_SHARE = 0.2
REASONS = {
    "binary": "all values are 0 or 1",
    "unit": "all values are grey levels",
    "real": "the values are real numbers",
}
SIZES = ((400, 20, (400,)), (64, 10, (100,)), (1, 2, (100,)))  # dimensions from which on: latents, hidden widths


@dataclass(frozen=True)
class UserArrays:
    """Arrays as a user has them. label: what errors call their source. name: of the data set, in results.

    arrays: train, and optionally validation, test [N, ...] and test_labels [N]. columns: of a table, which is
    standardised.
    """

    label: str
    name: str
    arrays: Mapping[str, Array]
    columns: tuple[str, ...] = ()


def describe_arrays(data: UserArrays) -> DatasetInfo:
    """Return the data set with defaults for its values; raise `UserError` if the arrays are unsuitable."""
    _check(data)
    arrays = {name: data.arrays[name] for name in SPLITS if name in data.arrays}
    splits, made = _split(arrays if data.columns else {name: _simplify(array) for name, array in arrays.items()})
    values = "real" if data.columns else _classify(splits.values())
    shape = splits["train"].shape[1:]
    labels = data.arrays.get("test_labels")
    flat: Arrays = {name: np.ascontiguousarray(x.reshape(len(x), math.prod(shape))) for name, x in splits.items()}
    flat["test_labels"] = np.zeros(len(flat["test"]), np.uint8) if labels is None else np.asarray(labels)
    size = math.prod(shape)
    is_constant = (splits["train"] == splits["train"][0]).reshape(len(splits["train"]), -1).all(0)
    for column, has_one_value in zip(data.columns, is_constant, strict=False):
        if has_one_value:
            raise _refuse(data, f"column {shorten(column, 40)} has one value in all training rows; remove the column")
    latents, hidden = next((latents, hidden) for least, latents, hidden in SIZES if size >= least)
    is_colour = values == "unit" and len(shape) == 3 and shape[-1] > 1
    info = DatasetInfo(
        data.name,
        data.label,
        decode=lambda root: RawDataset(flat, columns=data.columns),
        shape=shape,
        values=values,
        likelihood=_choose_likelihood(values, is_colour, bool(data.columns)),
        latent_dim=latents,
        hidden=hidden,
        maximum=255.0 if values == "unit" and flat["train"].dtype == np.uint8 else 1.0,
        preprocessing="standardised" if data.columns else "none",
        fingerprint=lambda root: hash_identity(
            {"data": compute_checksum(flat), "shape": shape, "columns": data.columns}
        ),
    )
    return replace(info, note=_describe(info, flat, made))


def _choose_likelihood(values: Values, is_colour: bool, is_table: bool) -> str:
    if values == "real":
        return "gaussian-diagonal" if is_table else "gaussian-learned"
    return "continuous-bernoulli" if is_colour else "bernoulli"


def _describe(info: DatasetInfo, arrays: Arrays, made: bool) -> str:
    counts = ", ".join(f"{len(arrays[name]):,} {name}" for name in SPLITS)
    chosen = [f"likelihood {info.likelihood}", f"binarization {info.binarization}"]
    chosen += ["standardised columns"] if info.preprocessing == "standardised" else []
    sentence = (
        f"data set {info.name}: {counts} examples of {' x '.join(map(str, info.shape))}; "
        f"defaults: {', '.join(chosen)}, because {REASONS[info.values]}"
    )
    return f"{sentence}; the test split was drawn from train by a fixed seed, {TEST_SHARE:.0%}" if made else sentence


def _check(data: UserArrays) -> None:
    """Raise `UserError` if an array is missing, has no numbers, is empty, or does not fit the others."""
    if unknown := [name for name in data.arrays if name not in ARRAY_NAMES]:
        names = ", ".join(shorten(name, 40) for name in unknown[:5])
        raise _refuse(data, f"it has the arrays {names}; rename them to train, validation, test or test_labels")
    if "train" not in data.arrays:
        raise _refuse(data, "it has no array train; add one with the training examples, [N, ...]")
    shape = np.shape(data.arrays["train"])[1:]
    for name, array in data.arrays.items():
        if array.dtype.kind not in "biuf":
            raise _refuse(data, f"{name} has the type {array.dtype}; store numbers, as uint8 or float32")
        if name == "test_labels":
            continue
        if array.ndim < 2 or math.prod(array.shape[1:]) == 0:
            raise _refuse(data, f"{name} has the shape {array.shape}; store one example per row, [N, ...]")
        if array.shape[1:] != shape:
            shapes = f"{shape} in train and {array.shape[1:]} in {name}"
            raise _refuse(data, f"examples have the shape {shapes}; give all examples one shape")
        if len(array) < (2 if name == "train" else 1):
            raise _refuse(data, f"{name} has {len(array)} examples; store at least 2 for training and 1 for test")
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array.reshape(len(array), -1)).all(1))[0, 0])
            raise _refuse(data, f"{name} has a value that is not finite in row {row}; remove or replace it")
    _check_labels(data)


def _check_labels(data: UserArrays) -> None:
    labels, test = data.arrays.get("test_labels"), data.arrays.get("test")
    if labels is None:
        return
    if test is None:
        raise _refuse(data, "it has test_labels but no array test; add test, or remove the labels")
    if labels.shape != (len(test),) or labels.dtype.kind not in "iu":
        shape = f"the shape {labels.shape} and the type {labels.dtype}"
        raise _refuse(data, f"test_labels has {shape}; store one whole number for each of the {len(test)} examples")


def _refuse(data: UserArrays, reason: str) -> UserError:
    return UserError(f"{data.label}: {printable(reason)}")


def _simplify(array: Array) -> Array:
    """Return bytes for bytes, truth values and small whole numbers, and float32 for all others."""
    if array.dtype.kind in "biu" and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    return array.astype(np.float32)


def _split(splits: dict[str, Array]) -> tuple[dict[str, Array], bool]:
    """Return all splits in one type, and whether the test split was made from the training split."""
    kinds = {array.dtype for array in splits.values()}
    splits = splits if len(kinds) == 1 else {name: array.astype(np.float32) for name, array in splits.items()}
    train = splits["train"]
    made = "test" not in splits
    if made:
        order = np.random.RandomState(0).permutation(len(train))  # same numbers in all numpy versions
        count = max(1, round(TEST_SHARE * len(train)))
        splits |= {"train": train[np.sort(order[count:])], "test": train[np.sort(order[:count])]}
    return {"validation": splits["train"][:0]} | splits, made


def _classify(arrays: Any) -> Values:
    parts = [array for array in arrays if array.size]
    if all(((array == 0) | (array == 1)).all() for array in parts):
        return "binary"
    is_grey = all(array.dtype == np.uint8 or (array.min() >= 0 and array.max() <= 1) for array in parts)
    return "unit" if is_grey else "real"


def make_name(stem: str) -> str:
    """Return a name that results allow: other characters become _."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", stem).lstrip("._-+")[:100] or "data"
