"""`list` and `check`: list variants, data sets, presets and metrics; test a variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.cli import options
from benchmarks.common.errors import ExitCode, unknown
from benchmarks.reporting.metrics import METRICS, Metric

if TYPE_CHECKING:  # imports torch, which most lists do not need
    from vaezoo import Variant

LISTS = ("variants", "datasets", "architectures", "presets", "metrics")
SUMMARY_HEADER = ("variant", "what it does", "source")
VARIANT_HEADER = ("variant", "objective", "estimator", "baseline", "draws", "decoder passes", "unbiased", "source")
Row = Sequence[str]


def list_(
    what: Annotated[str, options.argument("|".join(LISTS), "Which list to print.")] = LISTS[0],
    long: Annotated[bool, options.option("Show all fields and the full sources of variants.", "no")] = False,
    plugin: options.Plugin = None,
) -> None:
    """List variants, data sets, architectures, presets or metrics."""
    from benchmarks.reporting.formats import text_table

    if what not in LISTS:
        raise unknown("list", what, LISTS)
    lists: dict[str, Callable[[], Iterator[Row]]] = {
        "variants": lambda: _list_variants(plugin or [], long),
        "datasets": lambda: _list_datasets(plugin or []),
        "architectures": lambda: _list_architectures(plugin or []),
        "presets": _list_presets,
        "metrics": _list_metrics,
    }
    header, *body = lists[what]()
    print(text_table(header, body))


def check(
    variant: options.Variant,
    thorough: Annotated[
        bool, options.option("Look for a smaller bias, with up to 20 times the work: minutes instead of seconds.", "no")
    ] = False,
    architecture: Annotated[str, options.option("Test the variant with these networks; see 'run'.")] = "mlp",
    plugin: options.Plugin = None,
) -> int:
    """Test a variant: shapes, value, gradient, declared bias. Exit code 1 if a test fails."""
    from benchmarks.planning import registry
    from benchmarks.planning.plugins import read_plugins
    from vaezoo.testing import check as find_findings

    plugins = read_plugins(plugin or [])
    v = registry.find_variant(variant, None, plugins).variant
    networks = registry.find_architecture(architecture, plugins).architecture
    estimator = f"{v.estimator.name} {v.estimator.baseline_name}".strip()
    print(f"{v.name}: {v.objective.name}, {estimator}, {v.draws} draw{'s' if v.draws > 1 else ''}", flush=True)
    failures = []
    for finding in find_findings(v, thorough, networks):
        print(f"{'pass' if finding.holds else 'FAIL'}  {finding.property}: {finding.figure}", flush=True)
        failures += [] if finding.holds else [finding.property]
    print(f"{len(failures)} properties do not hold: {'; '.join(failures)}" if failures else "all properties hold")
    return ExitCode.VERDICT if failures else ExitCode.OK


def _list_variants(files: Sequence[Path], long: bool) -> Iterator[Row]:
    from benchmarks.planning import registry
    from benchmarks.planning.plugins import read_plugins

    registry.print_faults()
    yield VARIANT_HEADER if long else SUMMARY_HEADER
    for entry in registry.load_registry(read_plugins(files)).values():
        yield _make_variant_row(entry.variant) if long else _make_summary_row(entry.variant)


def _make_summary_row(v: Variant) -> Row:
    from benchmarks.reporting.descriptions import describe_variant, shorten_source

    description = describe_variant(v.objective.name, v.estimator.name, v.estimator.baseline_name, v.draws)
    return v.name, description, shorten_source(v.source)


def _make_variant_row(v: Variant) -> Row:
    from vaezoo.testing import count_decoder_passes

    try:
        passes = str(count_decoder_passes(v))
    except Exception:  # list a failing variant of a plug-in too; check prints its error
        passes = "fails"
    names = (v.name, v.objective.name, v.estimator.name, v.estimator.baseline_name)
    return (*names, str(v.draws), passes, "yes" if v.unbiased else "no", v.source)


def variants_markdown() -> str:
    """Return the table of the project's own variants, for the documentation."""
    from benchmarks.reporting.formats import markdown_table
    from vaezoo import VARIANTS

    rows = [[f"`{name}`", *fields] for name, *fields, _ in map(_make_variant_row, VARIANTS)]
    return markdown_table(VARIANT_HEADER[:-1], rows)


def sources_markdown() -> str:
    """Return the source of each of the project's own variants, for the documentation."""
    from vaezoo import VARIANTS

    return "\n".join(f"- `{variant.name}`: {variant.source}" for variant in VARIANTS)


def _list_datasets(files: Sequence[Path]) -> Iterator[Row]:
    from benchmarks.planning import registry
    from benchmarks.planning.data.catalogue import DATASETS
    from benchmarks.planning.plugins import read_plugins

    yield ("data set", "shape", "likelihood", "binarization", "latents", "contents")
    for name, d in DATASETS.items():
        yield (name, " x ".join(map(str, d.shape)), d.likelihood, d.binarization, str(d.latent_dim), d.summary)
    for name, entry in registry.load_datasets(read_plugins(files)).items():
        yield (name, "", "", "", "", entry.dataset.summary or entry.label)


def _list_architectures(files: Sequence[Path]) -> Iterator[Row]:
    from benchmarks.planning import registry
    from benchmarks.planning.cases import format_widths
    from benchmarks.planning.plugins import read_plugins

    yield ("architecture", "hidden", "contents")
    for name, entry in registry.load_architectures(read_plugins(files)).items():
        hidden = entry.architecture.hidden
        widths = "the data set's" if hidden is None else format_widths(hidden)
        yield (name, widths, entry.architecture.summary)


def _list_presets() -> Iterator[Row]:
    from benchmarks.planning import settings

    yield ("preset", "data set", "epochs", "seeds", "purpose")
    for name in settings.list_presets():
        preset = settings.load_settings(name, {})
        comment = settings.read_preset(name)[1].splitlines()[0].removeprefix("# ")
        yield (name, preset.dataset, str(preset.epochs), str(len(preset.seeds)), comment)


def _list_metrics() -> Iterator[Row]:
    directions = {"higher": "higher is better", "lower": "lower is better", "none": ""}
    yield ("metric", "unit", "", "tolerance of compare", "meaning")
    for m in METRICS:
        yield (m.name, m.unit, directions[m.direction], _describe_tolerance(m), m.meaning)


def _describe_tolerance(metric: Metric) -> str:
    if not metric.tolerance:
        return ""
    logarithm = " of the logarithm" if metric.scale == "log" else ""
    decides = ", decides" if metric.gates else f", decides without {metric.instead_of}" if metric.instead_of else ""
    return f"{metric.tolerance:g}{logarithm}{decides}"
