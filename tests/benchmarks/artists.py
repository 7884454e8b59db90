"""What a figure shows, as numbers: lines, bands and error bars of matplotlib's axes."""

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer


def read_lines(axes):
    """Return (x, y) of each labelled line, by label."""
    return {line.get_label(): line.get_xydata() for line in axes.get_lines() if line.get_label()[0] != "_"}


def read_unlabelled_lines(axes, linestyle):
    """Return (x, y) of the lines without a label that have this style, in the order in which they were drawn."""
    lines = [line for line in axes.get_lines() if line.get_label()[0] == "_" and line.get_linestyle() == linestyle]
    return [line.get_xydata() for line in lines]


def read_bands(axes):
    """Return (x, low, high) of each band, in the order in which they were drawn."""
    bands = []
    for collection in axes.collections:
        if isinstance(collection, PolyCollection):
            vertices = collection.get_paths()[0].vertices
            rows = [(x, vertices[vertices[:, 0] == x, 1]) for x in np.unique(vertices[:, 0])]
            bands.append(np.array([(x, y.min(), y.max()) for x, y in rows]))
    return bands


def read_error_bars(axes):
    """Return (x, y, low, high) of the points of each line with error bars, by label."""
    points = {}
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            line, _, (bars,) = container.lines
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            points[container.get_label()] = np.c_[line.get_xydata(), ends.min(1), ends.max(1)]
    return points
