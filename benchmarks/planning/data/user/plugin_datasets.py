"""Data sets that plug-ins and installed packages register in a list DATASETS."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.common.atomic_files import NAME_PATTERN
from benchmarks.common.errors import UserError, printable, shorten
from benchmarks.planning.data.user.arrays import UserArrays
from benchmarks.planning.imports.records import PluginModule
from vaezoo import Dataset

EXAMPLE = 'DATASETS = [Dataset("mine", load)]'


@dataclass(frozen=True)
class PluginDataset:
    """A data set and the name of its plug-in in errors."""

    dataset: Dataset
    label: str

    def read(self) -> UserArrays:
        """Load the arrays; raise `UserError` if the plug-in's function fails or returns something else."""
        label = f"{self.label}, data set {self.dataset.name}"
        try:
            arrays = {str(name): np.asarray(array) for name, array in self.dataset.load().items()}
        except (Exception, SystemExit) as error:  # a user's code can raise anything
            reason = shorten(printable(str(error)), 200)
            raise UserError(f"{label}: load() fails with {type(error).__name__}: {reason}; fix the function") from error
        return UserArrays(label, self.dataset.name, arrays)


def add_datasets(
    entries: Mapping[str, PluginDataset], module: PluginModule, reserved: Container[str]
) -> dict[str, PluginDataset]:
    """Return the entries with those of a plug-in; raise `UserError` if a name is invalid, in use or reserved."""
    datasets = getattr(module.module, "DATASETS", ())
    if not isinstance(datasets, list | tuple) or not all(type(d) is Dataset for d in datasets):
        raise UserError(f"{module.label}: DATASETS is no list of Dataset; for example: {EXAMPLE}")
    added = dict(entries)
    for dataset in datasets:
        if not NAME_PATTERN.fullmatch(dataset.name):
            raise UserError(f"'{dataset.name[:60]}' can't be the name of a data set; use letters, digits and . _ + -")
        if dataset.name in added or dataset.name in reserved:
            raise UserError(
                f"{module.label} defines a data set '{dataset.name}', but that name is in use; give it another name"
            )
        added[dataset.name] = PluginDataset(dataset, module.label)
    return added
