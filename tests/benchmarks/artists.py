"""What a figure shows, as numbers: lines, bands, error bars, texts and colours of matplotlib's artists."""

import re

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.legend import Legend
from matplotlib.text import Text


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


def read_texts(figure):
    """Return the texts that a figure draws, without those that are hidden, empty or outside the limits of an axis."""
    texts = []

    def record(text, renderer):
        if text.get_visible() and text.get_text().strip():
            texts.append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.draw_without_rendering()
    return texts


def read_box(artist):
    """Return left, bottom, right and top of a text or legend in pixels; of a text without its arrow."""
    get_extent = (Text if isinstance(artist, Text) else Legend).get_window_extent  # not that of Annotation
    return get_extent(artist).extents


def read_colours(figure, texts, variants):
    """Return (variant, colour) of each line, bar and label of a variant."""
    pairs = []
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if isinstance(handle, BarContainer):
                pairs.append((label, handle.patches[0].get_facecolor()))
            else:
                line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
                pairs.append((label, line.get_color() if hasattr(line, "get_color") else "none"))
    pairs += [(re.match(r"[\w-]*", text.get_text()).group(), text.get_color()) for text in texts]
    return {(name, to_hex(colour)) for name, colour in pairs if name in variants}
