"""What `list` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import settings
from benchmarks.metrics import METRICS, Metric

if TYPE_CHECKING:  # these import torch, which most lists can do without
    from benchmarks.plugins import Entry
    from vaezoo import Variant

VARIANT_COLUMNS = ("variant", "objective", "estimator", "baseline", "draws", "decoder passes", "unbiased", "source")


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under a header row."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def render(what: str, plugins: Sequence[Path]) -> str:
    """The table of variants (with those of plug-in files), datasets, presets or metrics."""
    others = {"datasets": _datasets, "presets": _presets, "metrics": _metrics}
    return others[what]() if what in others else columns(_variants(plugins))


def _variants(files: Sequence[Path]) -> list[Sequence[str]]:
    from benchmarks import plugins

    return [VARIANT_COLUMNS, *(_row(entry) for entry in plugins.registry(plugins.read(files)).values())]


def _row(entry: Entry) -> list[str]:
    from vaezoo.testing import decoder_passes

    v = entry.variant
    names = [v.name, v.objective.name, v.estimator.name, v.estimator.baseline.name]
    try:
        passes = str(decoder_passes(v))
    except Exception:  # a variant of the user's own that fails is listed all the same; check says what is wrong
        passes = "fails"
    return [*names, str(v.draws), passes, "yes" if v.unbiased else "no", v.source]


def markdown() -> str:
    """The table of the project's own variants, as the documentation shows it."""
    from benchmarks.plugins import Entry
    from vaezoo import VARIANTS

    head, *rows = [VARIANT_COLUMNS, *(_row(Entry(v)) for v in VARIANTS)]
    lines = [head, ["---"] * len(head), *([f"`{row[0]}`", *row[1:]] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def check(variant: Variant) -> int:
    """Print each property of the variant as it is measured; 1 if one doesn't hold, else 0."""
    from vaezoo.testing import check as findings

    estimator = f"{variant.estimator.name} {variant.estimator.baseline.name}".strip()
    draws = f"{variant.draws} draw{'s' if variant.draws > 1 else ''}"
    print(f"{variant.name}: {variant.objective.name}, {estimator}, {draws}", flush=True)
    failed = []
    for finding in findings(variant):
        print(f"{'pass' if finding.holds else 'FAIL'}  {finding.property}: {finding.figure}", flush=True)
        failed += [] if finding.holds else [finding.property]
    print("every property holds" if not failed else f"{len(failed)} do not hold: {'; '.join(failed)}")
    return 1 if failed else 0


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
    head = ["metric", "unit", "", "tolerance of compare", "meaning"]
    return columns([head, *([m.name, m.unit, words[m.direction], _tolerance(m), m.meaning] for m in METRICS)])


def _tolerance(metric: Metric) -> str:
    """What is compared, with which tolerance, and whether it decides."""
    if not metric.tolerance:
        return ""
    logarithm = " of the logarithm" if metric.scale == "log" else ""
    decides = ", decides" if metric.gates else f", decides without {metric.instead_of}" if metric.instead_of else ""
    return f"{metric.tolerance:g}{logarithm}{decides}"
