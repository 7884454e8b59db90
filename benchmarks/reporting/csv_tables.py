"""CSV files with declared columns: numbers are written with all digits and checked when they are read."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmarks.common.atomic_files import SCHEMA_VERSION, Record, check_version, write_bytes
from benchmarks.common.errors import DamageError, UserError

VERSION_COLUMN = "schema_version"
Kind = Literal["name", "word", "label", "text", "number", "unbounded"]
TEXT_KINDS = ("name", "word", "label", "text")


@dataclass(frozen=True)
class Column:
    """Describe one column of a table.

    kind: "name" (valid as a file name), "word" (text without markup), "label" (printable text), "text", "number"
    (finite) or "unbounded" (a number that may be infinite). A field of any kind may be empty.
    """

    name: str
    unit: str
    meaning: str
    kind: Kind = "text"


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Record]) -> None:
    """Write rows as CSV with the schema version in the last column; a missing value or NaN is an empty field."""
    table = pd.DataFrame(list(rows), columns=list(columns), dtype=object).assign(**{VERSION_COLUMN: SCHEMA_VERSION})
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: Path, kinds: Mapping[str, Kind], added: Mapping[str, int]) -> pd.DataFrame:
    """Read a table that `write_table` wrote. Raises `UserError` if the file is damaged or has invalid numbers.

    kinds: the kind of each required column, by name. added: the schema version that introduced a column, by name.
    A column that is missing because the file is older is NaN.
    """
    advice = "give a table that was written by this project"
    try:
        content = path.read_bytes()
        if not content:
            raise ValueError("it is empty")
        if not content.endswith(b"\n"):
            raise UserError(f"{path} is cut off in its last line; {_suggest_repair(path)}")
        text = {name: str for name, kind in kinds.items() if kind in TEXT_KINDS}
        table = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(
            f"can't read {path}: {' '.join(str(error).split())}; check that the file is complete"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas uses the extra fields of a long first row as the index
        raise UserError(f"{path} has rows that are longer than its header; {advice}")
    version = _read_version(table, path)
    missing = [name for name in kinds if name not in table.columns]
    required = [name for name in missing if added.get(name, 1) <= version]
    if required:
        raise UserError(f"{path} lacks the columns {', '.join(required[:5])}{' ...' if required[5:] else ''}; {advice}")
    return _convert_numbers(table.assign(**dict.fromkeys(missing, math.nan)), kinds, path)


def _convert_numbers(table: pd.DataFrame, kinds: Mapping[str, Kind], path: Path) -> pd.DataFrame:
    for name, kind in kinds.items():
        if kind in TEXT_KINDS:
            continue
        values = parse_numbers(table[name])
        invalid = values.isna() & table[name].notna()
        if kind == "number":
            invalid |= np.isinf(values)
        if invalid.any():
            line = int(invalid.to_numpy().argmax())
            raise UserError(f"{path}, line {line + 2}: {name} is {table[name][line]}, which is not a number")
        table[name] = values
    return table


def parse_numbers(column: pd.Series) -> pd.Series:
    """Return the column as numbers; NaN for text that is not a number."""
    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:  # integers with hundreds of digits
        return column.map(_parse_float)


def _parse_float(field: object) -> float:
    try:
        return float(str(field))
    except ValueError:
        return math.nan


def _suggest_repair(path: Path) -> str:
    if (path.parent / "cells").is_dir():
        return f"make it from its cells with 'python -m benchmarks rebuild {path.parent}'"
    return "get the complete file"


def _read_version(table: pd.DataFrame, path: Path) -> int:
    """Return the schema version of the table; 1 if it has no such column."""
    if VERSION_COLUMN not in table.columns or table.empty:
        return 1
    version: Any = parse_numbers(table[VERSION_COLUMN]).max()
    try:
        check_version(int(version) if version == version else None, path)
    except (DamageError, OverflowError) as damage:
        raise UserError(f"{path}: {damage}; {_suggest_repair(path)}") from damage
    return int(version)
