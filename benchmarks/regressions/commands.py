"""The commands that judge runs. Heavy imports wait for the command that needs them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UNFINISHED, UserError, unknown
from benchmarks.options import Out, Run

Alpha = Annotated[float, typer.Option(min=1e-9, max=0.5, help="Chance of a false alarm, for a whole comparison.")]


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="What was before: a run folder, or its results.csv.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What is now.")],
    metrics: Annotated[str, typer.Option(help="Metrics to compare, separated by commas.")] = "",
    variants: Annotated[
        str, typer.Option(help="Variants to compare, separated by commas; all where none is named.")
    ] = "",
    alpha: Alpha = 0.01,
    format_: Annotated[str, typer.Option("--format", help="text, markdown or json.")] = "text",
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="VARIANT", help="One that may be worse, gone or another; may be repeated."),
    ] = None,
    out: Out = Path("results"),
) -> int:
    """Say whether NEW is worse than BASE: one verdict for each data set, variant and metric.

    Both may be files, or folders of files, of pytest-benchmark's --benchmark-json as well. Exit code 1 where something
    regressed, 2 where something failed or is missing, 3 where it can't be compared.
    """
    from benchmarks import folders, report, store
    from benchmarks.regressions import comparison, micro, reports, verdicts

    allowed = allow or []
    timings = micro.files(base), micro.files(new)
    if all(timings):
        for option, value in (("--metrics", metrics), ("--variants", variants)):
            if value:
                raise UserError(f"{option} {value}: pytest-benchmark's files hold times alone; leave it out")
        found = micro.compare(*timings, alpha)
        _check_known(allowed, {v.variant for v in found})
        code = verdicts.exit_code(found, allowed)
        print(reports.render(found, format_, allowed, code, whole=True))
        return code
    names, chosen = (_listed(text) for text in (metrics, variants))
    for name in names:
        if name not in comparison.NAMES:
            raise unknown("metric", name, comparison.NAMES)
    paths = [folders.find_results(run, out) for run in (base, new)]
    old, own = (store.read_results(path) for path in paths)
    known = {*old["variant"], *own["variant"]}
    _check_known([*allowed, *chosen], known)
    before, now = (results[results["variant"].isin(chosen or known)] for results in (old, own))
    found = comparison.compare(before, now, names or comparison.NAMES, alpha)
    missing = [report.shortfall(path, results) for path, results in zip(paths, (old, own), strict=True)]
    code = max(verdicts.exit_code(found, allowed), UNFINISHED if any(missing) else 0)
    sides = [reports.side(path, results) for path, results in zip(paths, (old, own), strict=True)]
    print(reports.render(found, format_, allowed, code, bool(names), sides))
    for line in filter(None, dict.fromkeys(missing)):
        print(line, file=sys.stderr)
    return code


def _check_known(names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown("variant", name, sorted(known))


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def baseline(
    run: Run,
    anew: Annotated[
        bool, typer.Option("--anew", help="Also one that lacks variants, or is of another protocol.")
    ] = False,
    out: Out = Path("results"),
) -> None:
    """Make a run the baseline, in results/baseline, and print what changed against the old one.

    It has to be made by committed code, with 20 seeds a variant or more and no failed cell.
    """
    from benchmarks import folders
    from benchmarks.regressions import baseline as baselines

    print(baselines.install(folders.find_results(run, out), out, anew))
    print(f"\n{out / 'baseline'} is the baseline; commit it, and {out / 'history.csv'}")


def doctor(
    run: Run,
    worse: Annotated[
        str | None, typer.Argument(metavar="[WORSE]", help="A run of code that is worse on purpose, with other seeds.")
    ] = None,
    alpha: Alpha = 0.01,
    out: Out = Path("results"),
) -> None:
    """Say how far 'compare' can be believed: false alarms and power, from a run of many seeds (100 or so).

    With WORSE, say how often the comparison of some of its seeds with some of RUN calls it worse.
    """
    from benchmarks import folders, store
    from benchmarks.regressions import doctor as doctors
    from benchmarks.regressions import findings
    from benchmarks.regressions.resampling import Effort

    results, effort = store.read_results(folders.find_results(run, out)), Effort()
    if worse is None:
        print(findings.of_equals(doctors.examine(results, alpha, effort), alpha, effort))
    else:
        others = store.read_results(folders.find_results(worse, out))
        print(findings.of_a_change(doctors.detected(results, others, alpha, effort), alpha, effort))


def history(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs, or folders of runs; by default the accepted baselines."),
    ] = None,
    metrics: Annotated[str, typer.Option(help="Metrics to show, separated by commas.")] = "",
    out: Out = Path("results"),
) -> None:
    """Show each metric over runs, oldest first, as a table and a figure: what changes slowly shows."""
    from benchmarks import folders, plots, report, store
    from benchmarks.regressions import history as histories
    from benchmarks.regressions import history_figure

    known = [metric.name for metric in histories.SHOWN]
    names = _listed(metrics)
    for name in names:
        if name not in known:
            raise unknown("metric", name, known)
    if runs:
        paths = list(dict.fromkeys(path for run in runs for path in folders.find_several(run, out)))
        tables = {path: store.read_results(path) for path in paths}
        for path, results in tables.items():
            for line in report.doubts(path, results):
                print(line, file=sys.stderr)
        table = histories.of_runs(list(tables.values()))
    elif (out / histories.FILE).is_file():
        table = histories.read(out / histories.FILE)
    else:
        raise UserError(f"{out / histories.FILE} is not there: no baseline was accepted yet; name runs, or make one")
    names = names or list(histories.USUAL)
    found = histories.comparable(table)
    if not found["metric"].isin(names).any():
        raise UserError(f"nothing to show: no run has {' or '.join(names)}; --metrics names others")
    print(histories.render(found, names))
    if len(found) < len(table):
        print(
            f"\n{len(table) - len(found)} rows of earlier protocols are left out: no history of these", file=sys.stderr
        )
    (out / "figures").mkdir(parents=True, exist_ok=True)
    print(f"\n{plots.save(history_figure.draw(found, names), out / 'figures' / 'history')}")
