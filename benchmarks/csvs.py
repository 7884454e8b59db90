"""Tables as CSV: numbers in full, a schema version in the last column. Needs no torch."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.errors import DamageError, UserError
from benchmarks.files import SCHEMA_VERSION, Record, check_version, write

VERSION = "schema_version"


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Record]) -> None:
    """Rows as CSV; what is absent, or not a number, is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, VERSION])
    writer.writerows([*(_cell(row.get(name)) for name in columns), SCHEMA_VERSION] for row in rows)
    write(path, text.getvalue().encode())


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return "" if value is None else value


def read_table(path: Path, columns: Sequence[str], added: Mapping[str, int], words: Sequence[str]) -> pd.DataFrame:
    """The table as `write_table` wrote it, or a `UserError` where the file is none.

    added: columns and the schema that they came with; they are empty in what is older. words: columns of text.
    """
    what = "a table of this project as it was written"
    try:
        if not _ends_with_a_line(path):
            raise UserError(f"{path} is cut off in its last line; {_mend(path)}")
        table = pd.read_csv(path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"can't read {path}: {' '.join(str(error).split())}; is it whole?") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what a first row has too much for its index
        raise UserError(f"{path} has rows that are longer than its header; give {what}")
    version = _version(table, path)
    missing = [name for name in columns if name not in table.columns]
    lost = [name for name in missing if added.get(name, 1) <= version]
    if lost:
        raise UserError(f"{path} lacks the columns {', '.join(lost[:5])}{' ...' if lost[5:] else ''}; give {what}")
    return table.assign(**dict.fromkeys(missing, math.nan))


def numbers(words: pd.Series) -> pd.Series:
    """As numbers; NaN for what is none."""
    try:
        return pd.to_numeric(words, errors="coerce")
    except OverflowError:  # integers of hundreds of digits
        return words.map(_float)


def _float(word: object) -> float:
    try:
        return float(str(word))
    except ValueError:
        return math.nan


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            raise ValueError("it is empty")
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _mend(path: Path) -> str:
    if (path.parent / "cells").is_dir():
        return f"make it from its cells with 'python -m benchmarks rebuild {path.parent}'"
    return "get the whole file"


def _version(table: pd.DataFrame, path: Path) -> int:
    """1 where the table says nothing of it."""
    if VERSION not in table.columns or table.empty:
        return 1
    found: Any = numbers(table[VERSION]).max()
    try:
        check_version(int(found) if found == found else None, path)
    except (DamageError, OverflowError) as damage:
        raise UserError(f"{path}: {damage}; {_mend(path)}") from damage
    return int(found)
