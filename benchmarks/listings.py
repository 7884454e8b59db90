"""What `list` prints."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import settings
from benchmarks.metrics import METRICS


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under a header row."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def render(what: str) -> str:
    """The table of variants, datasets, presets or metrics."""
    return {"variants": _variants, "datasets": _datasets, "presets": _presets, "metrics": _metrics}[what]()


def _variants() -> str:
    from vaezoo import VARIANTS  # imports torch, which the other lists can do without

    head = ["variant", "objective", "estimator", "baseline", "draws", "unbiased", "source"]
    rows = [
        [
            v.name,
            v.objective.name,
            v.estimator.name,
            v.estimator.baseline.name,
            str(v.draws),
            "yes" if v.unbiased else "no",
            v.source,
        ]
        for v in VARIANTS
    ]
    return columns([head, *rows])


def _datasets() -> str:
    from benchmarks.data import DATASETS  # imports torch, which the other lists can do without

    head = ["data set", "shape", "likelihood", "binarization", "latents", "what it is"]
    rows = [
        [name, " x ".join(map(str, d.shape)), d.likelihood, d.binarization, str(d.latent_dim), d.summary]
        for name, d in DATASETS.items()
    ]
    return columns([head, *rows])


def _presets() -> str:
    rows = []
    for name in settings.names():
        chosen = settings.load(name, {})
        comment = settings.read(name)[1].splitlines()[0].removeprefix("# ")
        rows.append([name, chosen.dataset, str(chosen.epochs), str(len(chosen.seeds)), comment])
    return columns([["preset", "data set", "epochs", "seeds", "what it is for"], *rows])


def _metrics() -> str:
    words = {"higher": "higher is better", "lower": "lower is better", "none": ""}
    return columns(
        [["metric", "unit", "", "meaning"], *([m.name, m.unit, words[m.direction], m.meaning] for m in METRICS)]
    )
