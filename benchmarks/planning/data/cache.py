"""The cache of decoded data sets: decoded once per machine, with a checksum, and memory-mapped by every worker."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

import numpy as np

from benchmarks.common import cache_paths
from benchmarks.common.errors import UserError
from benchmarks.planning.data.facts import (
    ARRAY_NAMES,
    FACTS_FILE,
    Facts,
    PreparedDataset,
    RawDataset,
    compute_checksum,
    read_facts,
    write_facts,
)
from benchmarks.planning.data.info import DatasetInfo

FORMAT = 2  # of the files in the cache


def prepare_dataset(info: DatasetInfo, root: Path | None = None) -> PreparedDataset:
    """Decode the data set into the cache if it is missing there; raise `UserError` if the cached data are corrupt.

    root: folder of torchvision data; None for that in the cache.
    """
    root = root or cache_paths.data_root()
    folder = cache_paths.cache_root() / f"{info.name}-{FORMAT}-{info.fingerprint(root)}"
    if not (folder / FACTS_FILE).is_file():
        _cache_decoded(info, root, folder)
    facts, expected = read_facts(folder)
    try:
        checksum = compute_checksum({key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in ARRAY_NAMES})
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"the cached data in {folder} are corrupt ({error}); delete it and run again") from error
    if checksum != expected:
        raise UserError(
            f"the cached data in {folder} are corrupt: their SHA-256 is {checksum[:16]}, but was "
            f"{expected[:16]} when they were decoded; delete that folder and run again"
        )
    return PreparedDataset(str(folder), checksum, facts)


def _cache_decoded(info: DatasetInfo, root: Path, folder: Path) -> None:
    raw = info.decode(root)
    checksum = compute_checksum(raw.arrays)
    if info.sha256 and checksum != info.sha256:
        raise UserError(
            f"the data set {info.name} is corrupt: its SHA-256 is {checksum[:16]}, but must be {info.sha256[:16]}; "
            f"{raw.remedy}"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".{info.name}-{os.getpid()}-{secrets.token_hex(4)}")
        temporary.mkdir()  # the umask decides who can read it
        for key, array in raw.arrays.items():
            np.save(temporary / f"{key}.npy", array)
        write_facts(temporary, _describe(info, raw), checksum)
        _move_into_place(temporary, folder)
    except OSError as error:
        raise UserError(
            f"can't write decoded data to {folder.parent} ({error.strerror}); set VAEZOO_CACHE to a writable folder"
        ) from error


def _describe(info: DatasetInfo, raw: RawDataset) -> Facts:
    train = raw.arrays["train"].astype(np.float64) if info.values == "real" else np.zeros((1, 0))
    return Facts(
        info.name,
        info.shape,
        info.values,
        info.maximum,
        info.hidden,
        raw.exact_log_likelihood,
        raw.columns,
        tuple(train.mean(0).tolist()),
        tuple(train.std(0).tolist()),
    )


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename the folder, unless another process has finished the same folder first: its readers must not lose files."""
    with contextlib.suppress(OSError):
        temporary.rename(folder)  # fails if the folder exists and is not empty
    if not (folder / FACTS_FILE).is_file():  # an incomplete folder of an older version
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    shutil.rmtree(temporary, ignore_errors=True)
