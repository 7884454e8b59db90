"""Data files of a user: .npz with arrays, .csv with a table of numbers, and folders of images."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from benchmarks.common.errors import UserError, printable, shorten
from benchmarks.planning.data.user.arrays import UserArrays, make_name
from benchmarks.planning.data.user.image_folders import read_folder

KINDS = (".npz", ".csv")


def is_path(name: str) -> bool:
    """Return whether this value of --dataset is a path, not the name of a data set."""
    return name.lower().endswith(KINDS) or os.sep in name or Path(name).is_dir()


def read_path(name: str) -> UserArrays:
    """Read a file or a folder; raise `UserError` if it can't be read or has other contents."""
    path, label = Path(name), f"--dataset {printable(name)}"
    try:
        if path.is_dir():
            return UserArrays(label, make_name(path.resolve().name), read_folder(path, label))
        if name.lower().endswith(".npz"):
            return UserArrays(label, make_name(path.name), _read_npz(path, label))
        if name.lower().endswith(".csv"):
            table = _read_csv(path, label)
            return UserArrays(label, make_name(path.name), {"train": table.to_numpy()}, tuple(table.columns))
    except OSError as error:
        raise UserError(f"{label}: {error.strerror or error}; name a file that can be read") from error
    if not path.exists():
        raise UserError(f"{label}: there is no such file or folder; name an .npz, a .csv or a folder of images")
    raise UserError(f"{label}: the name does not end with .npz or .csv; convert the file, and name it so")


def _read_npz(path: Path, label: str) -> dict[str, NDArray[Any]]:
    """Read the arrays, after a look at their headers: a header can promise more than the file contains."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            for name, size in sizes.items():
                _check_header(archive, name, size, label)
        _check_memory(sum(sizes.values()), label)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except UserError:
        raise
    except OSError:
        raise
    except Exception as error:  # a damaged archive raises one of many types
        reason = shorten(" ".join(str(error).split()), 200) or type(error).__name__
        raise UserError(f"{label}: it is no .npz file that can be read ({reason}); save it by numpy.savez") from error


def _check_header(archive: zipfile.ZipFile, name: str, size: int, label: str) -> None:
    with archive.open(name) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        promised, actual = int(np.prod(shape, dtype=object)) * dtype.itemsize, size - file.tell()
    if dtype.hasobject:
        raise UserError(f"{label}: {name} contains Python objects, which can run code; store numbers")
    if promised != actual:
        raise UserError(
            f"{label}: {name} is damaged: its header promises {promised:,} bytes, and it has {actual:,}; save it again"
        )


def _check_memory(size: int, label: str) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        raise UserError(
            f"{label}: its arrays have {size / 2**30:.1f} GiB, more than half of the memory here "
            f"({memory / 2**30:.1f} GiB); use fewer examples"
        )


def _read_csv(path: Path, label: str) -> pd.DataFrame:
    """Read a table of numbers with a header."""
    _check_memory(path.stat().st_size, label)
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        reason = shorten(" ".join(str(error).split()), 200)
        raise UserError(f"{label}: it is no table with commas ({reason}); export it as CSV in UTF-8") from error
    names = [str(name) for name in table.columns]
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{label}: its rows have more values than its header; export decimals with points")
    if unnamed := [i for i, name in enumerate(names, 1) if name.startswith("Unnamed: ")]:
        raise UserError(f"{label}: column {unnamed[0]} has no name; name it, or export the table without row numbers")
    if len(names) == 1 and ";" in names[0]:
        raise UserError(f"{label}: its columns are separated by semicolons; export it with commas")
    if any(_is_number(name) for name in names):
        raise UserError(f"{label}: its first line has numbers; add a header with the names of the columns")
    for name in table.columns:
        column = pd.to_numeric(table[name], errors="coerce").to_numpy(float)
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            value = table[name].iloc[row]
            fault = (
                "no value" if pd.isna(value) else f"{printable(shorten(str(value), 40))!r}, which is no finite number"
            )
            where = f"line {row + 2}, column {shorten(str(name), 40)}"
            raise UserError(f"{label}, {where} has {fault}; remove the row or the column")
        if len(column) and (column == column[0]).all():
            raise UserError(
                f"{label}: column {shorten(str(name), 40)} has the value {column[0]:g} in all rows; remove the column"
            )
    if len(table) < 3:
        raise UserError(f"{label}: it has {len(table)} rows; a table for training and test needs at least 3")
    return table.astype(float)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
