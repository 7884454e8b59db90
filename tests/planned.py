"""Protocols and data sets for tests that need no run."""

from benchmarks.planning.data.cache import prepare_dataset
from benchmarks.planning.data.catalogue import find_dataset
from benchmarks.planning.data.facts import Facts, PreparedDataset
from benchmarks.planning.protocols import resolution

PREPARED = PreparedDataset("folder", "checksum", Facts("digits", (8, 8), "unit", 16.0, (100,)))


def prepare(name, root=None):
    """Return the data set of that name or path, decoded."""
    return prepare_dataset(find_dataset(name), root)


def resolve(settings):
    """Return the protocol of the settings."""
    return resolution.resolve_protocol(settings, find_dataset(settings.dataset))
