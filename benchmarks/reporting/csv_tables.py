"""CSV files with declared columns: numbers are written with all digits and checked when they are read."""

from __future__ import annotations

import codecs
import io
import math
import re
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
EXPORT = "export it as CSV in UTF-8, separated by commas"
UNPACK = "unpack it first"
OTHER_FORMATS = {  # by the first bytes of a file: what it is, and what to do
    b"PK\x03\x04": f"it is an Excel file or another ZIP archive; {EXPORT}",
    b"\xd0\xcf\x11\xe0": f"it is an Excel file; {EXPORT}",
    b"PAR1": f"it is a Parquet file; {EXPORT}",
    b"\x1f\x8b": f"it is compressed by gzip; {UNPACK}, with 'gunzip'",
    b"BZh": f"it is compressed by bzip2; {UNPACK}, with 'bunzip2'",
    b"\xfd7zXZ": f"it is compressed by xz; {UNPACK}, with 'unxz'",
    b"\x28\xb5\x2f\xfd": f"it is compressed by Zstandard; {UNPACK}, with 'unzstd'",
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file with 'git lfs pull'",
    codecs.BOM_UTF32_LE: f"it is in UTF-32; {EXPORT}",
    codecs.BOM_UTF16_LE: f"it is in UTF-16; {EXPORT}",
    codecs.BOM_UTF16_BE: f"it is in UTF-16; {EXPORT}",
}
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
TOO_MANY_FIELDS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # pandas' words
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


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
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode(errors="backslashreplace"))


def read_table(path: Path, kinds: Mapping[str, Kind], added: Mapping[str, int]) -> pd.DataFrame:
    """Read a table that `write_table` wrote. Raises `UserError` if the file is damaged or has invalid numbers.

    kinds: the kind of each required column, by name. added: the schema version that introduced a column, by name.
    A column that is missing because the file is older is NaN.
    """
    advice = "give a table that was written by this project"
    content = _read_text(path)
    text = {name: str for name, kind in kinds.items() if kind in TEXT_KINDS}
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=[""])
    except ValueError as error:  # pandas' parser errors are ValueErrors
        if counts := TOO_MANY_FIELDS.search(str(error)):
            expected, line, actual = counts.groups()
            raise UserError(
                f"{path}, line {line} has {actual} fields, but the header has {expected}, as with decimal commas; "
                f"{advice}"
            ) from error
        raise UserError(
            f"can't read {path}: {' '.join(str(error).split())}; check that the file is complete"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas uses the extra fields of a long first row as the index
        raise UserError(f"{path} has rows that are longer than its header, as with decimal commas; {advice}")
    version = _read_version(table, path)
    missing = [name for name in kinds if name not in table.columns]
    required = [name for name in missing if added.get(name, 1) <= version]
    if required:
        raise UserError(f"{path} lacks the columns {', '.join(required[:5])}{' ...' if required[5:] else ''}; {advice}")
    return _convert_numbers(table.assign(**dict.fromkeys(missing, math.nan)), kinds, path)


def _read_text(path: Path) -> bytes:
    """Return a table's content without a byte order mark; raises `UserError` if it is no table with commas."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror or error}; give a file that you can read") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    if fault := _describe_other_format(content):
        raise UserError(f"can't read {path}: {fault}")
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    if not content.endswith(b"\n"):
        raise UserError(f"{path} is cut off in its last line; {_suggest_repair(path)}")
    return content


def _describe_other_format(content: bytes) -> str:
    """Return what a file is that is no text in UTF-8 with commas, and what to do; empty if it may be a table."""
    if not content:
        return "it is empty; get the complete file"
    for start, fault in OTHER_FORMATS.items():
        if content.startswith(start):
            return fault
    if content[:4:2] == b"\0\0" or content[1:4:2] == b"\0\0":  # letters in UTF-16 without a byte order mark
        return OTHER_FORMATS[codecs.BOM_UTF16_LE]
    if content.lstrip().startswith(b"<"):
        return "it is a page in HTML or XML, perhaps a server's error message; get the file itself"
    if content.lstrip().startswith((b"{", b"[")):
        return "it is a JSON file, not a table; give the results.csv of a run"
    try:
        header = content.decode().lstrip().partition("\n")[0].strip("\r")
    except UnicodeDecodeError as error:
        return f"its byte {error.start + 1} is not UTF-8; {EXPORT}, or get the undamaged file"
    if header.lower().startswith("sep="):
        return f"its first line is {header[:9]!r}, not the header; delete that line"
    for separator, name in SEPARATORS.items():
        if header.count(separator) > header.count(","):
            return f"it is separated by {name}; export it with commas, and with points in decimal numbers"
    return ""


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
            field = str(table[name][line])
            hint = "; export it with points in decimal numbers" if DECIMAL_COMMA.fullmatch(field) else ""
            raise UserError(f"{path}, line {line + 2}: {name} is {field}, which is not a number{hint}")
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
