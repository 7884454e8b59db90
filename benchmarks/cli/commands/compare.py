"""`compare`, `baseline`, `power` and `history`: regressions between runs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

from benchmarks.cli.options import Out, Run, argument, option, split_names
from benchmarks.common.errors import ExitCode, UserError, unknown

Alpha = Annotated[
    float, option("Limit the probability of a false alarm in a comparison, over all its tests.", min=1e-9, max=0.5)
]


def compare(
    base: Annotated[str, argument("BASE", "Reference run: its folder, its results.csv, or its name in --out.")],
    new: Annotated[str, argument("NEW", "Run to judge: its folder, its results.csv, its name in --out, or 'latest'.")],
    metrics: Annotated[str, option("Compare these metrics, separated by commas.", "all")] = "",
    variants: Annotated[str, option("Compare these variants, separated by commas.", "all")] = "",
    alpha: Alpha = 0.01,
    format_: Annotated[
        str, option("Print the verdicts as text, markdown, json or html (one page).", "text", "--format")
    ] = "text",
    allow: Annotated[
        list[str] | None,
        option("Accept that VARIANT is worse, removed or redefined. Repeatable.", "none", metavar="VARIANT"),
    ] = None,
    out: Out = Path("results"),
) -> int:
    """Judge whether NEW is worse than BASE, for each data set, variant and metric.

    BASE and NEW can also be JSON files of pytest-benchmark, or folders of them.

    Exit code: 1 if a metric regressed, 2 if a training run failed or is missing, 3 if the runs can't be compared.
    """
    from benchmarks.comparison import microbenchmarks, run_comparison, verdict_tables, verdicts
    from benchmarks.reporting import results_table
    from benchmarks.reporting.page import contents, document
    from benchmarks.runs import folders, manifests

    allow = allow or []
    timings = microbenchmarks.find_benchmark_files(base), microbenchmarks.find_benchmark_files(new)
    if all(timings):
        if format_ == "html":
            raise UserError("--format html: files of pytest-benchmark have no page; use text, markdown or json")
        for flag, value in (("--metrics", metrics), ("--variants", variants)):
            if value:
                raise UserError(f"{flag} {value}: files of pytest-benchmark contain only times; remove the option")
        comparisons = microbenchmarks.compare_benchmarks(*timings, alpha)
        _check_known("variant", allow, {comparison.variant for comparison in comparisons})
        code = verdicts.choose_exit_code(comparisons, allow)
        print(verdict_tables.render_verdicts(comparisons, format_, allow, code, show_all=True))
        return code
    metric_names, variant_names = split_names(metrics), split_names(variants)
    _check_known("metric", metric_names, run_comparison.METRIC_NAMES)
    paths = [folders.find_results(run, out) for run in (base, new)]
    tables = {path: results_table.read_results(path) for path in paths}
    known = {name for results in tables.values() for name in results["variant"]}
    _check_known("variant", [*allow, *variant_names], known)
    for path in paths:
        if absent := results_table.list_absent(tables[path], metric_names):
            raise UserError(f"--metrics: {path} has no values of {', '.join(absent)}; choose others")
    before, after = (tables[path][tables[path]["variant"].isin(variant_names or known)] for path in paths)
    comparisons = run_comparison.compare_runs(before, after, metric_names or run_comparison.METRIC_NAMES, alpha)
    shortfalls = [manifests.describe_shortfall(path, tables[path]) for path in paths]
    code = max(verdicts.choose_exit_code(comparisons, allow), ExitCode.INCOMPLETE if any(shortfalls) else ExitCode.OK)
    headers = verdict_tables.describe_sides(paths, (before, after))
    if format_ == "html":
        extras = contents.Extras(verdicts=verdict_tables.describe_for_page(comparisons, headers, allow, code))
        print(document.render_page(after, paths[1], extras), end="")
    else:
        print(verdict_tables.render_verdicts(comparisons, format_, allow, code, bool(metric_names), headers))
    for line in filter(None, dict.fromkeys(shortfalls)):
        print(line, file=sys.stderr)
    return code


def _check_known(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)


def baseline(
    run: Run,
    replace: Annotated[
        bool,
        option("Replace the reference run even if variants are missing or settings changed.", "no", "--replace"),
    ] = False,
    out: Out = Path("results"),
) -> None:
    """Make RUN the reference run in the folder baseline in --out, and print the changes since the last one.

    The code of RUN must be committed, each variant needs at least 20 seeds, and no training run may have failed.
    """
    from benchmarks.comparison.history.reference_run import install_reference
    from benchmarks.runs import folders

    print(install_reference(folders.find_results(run, out), out, replace))
    print(f"\n{out / 'baseline'} is now the reference run; commit it and {out / 'history.csv'}")


def power(
    run: Run,
    worse: Annotated[
        str | None,
        argument(
            "WORSE", "Optional: run of deliberately worse code with other seeds, to measure how often it is detected."
        ),
    ] = None,
    alpha: Alpha = 0.01,
    out: Out = Path("results"),
) -> None:
    """Estimate the false-alarm rate and the power of 'compare', from a run of about 100 seeds.

    With WORSE: estimate how often 'compare' calls it worse, for random subsets of the seeds of both runs.
    """
    from benchmarks.comparison.power import error_rates
    from benchmarks.comparison.power.resampling import Effort
    from benchmarks.reporting import results_table
    from benchmarks.runs import folders

    results, effort = results_table.read_results(folders.find_results(run, out)), Effort()
    if worse is None:
        rates = error_rates.measure_error_rates(results, alpha, effort)
        print(error_rates.describe_error_rates(rates, alpha, effort))
    else:
        others = results_table.read_results(folders.find_results(worse, out))
        detected = error_rates.measure_power(results, others, alpha, effort)
        print(error_rates.describe_power(detected, alpha, effort))


def history(
    runs: Annotated[
        list[str] | None, argument("RUN", "Runs, or folders that contain runs.", "all reference runs so far")
    ] = None,
    metrics: Annotated[
        str, option("Show these metrics, separated by commas.", "elbo,gradient_variance,processor_throughput")
    ] = "",
    out: Out = Path("results"),
) -> None:
    """Show metrics over successive runs, oldest first, to find slow changes; print tables and draw a figure."""
    from benchmarks.comparison.history import history_table
    from benchmarks.reporting import results_table
    from benchmarks.reporting.report import attempt
    from benchmarks.runs import folders, manifests

    names = split_names(metrics)
    _check_known("metric", names, [metric.name for metric in history_table.HISTORY_METRICS])
    if runs:
        paths = list(dict.fromkeys(path for run in runs for path in folders.find_all_results(run, out)))
        tables = {path: results_table.read_results(path) for path in paths}
        for path, results in tables.items():
            for line in manifests.list_problems(path, results):
                print(line, file=sys.stderr)
        table = history_table.build_history(list(tables.values()))
    elif (out / history_table.HISTORY_FILE).is_file():
        table = history_table.read_history(out / history_table.HISTORY_FILE)
    else:
        raise UserError(
            f"{out / history_table.HISTORY_FILE} does not exist, because there is no reference run yet; name runs, or "
            "make one with 'python -m benchmarks baseline'"
        )
    names = names or list(history_table.DEFAULT_METRICS)
    comparable = history_table.keep_latest_protocol(table)
    if not comparable["metric"].isin(names).any():
        raise UserError(f"nothing to show: no run has {' or '.join(names)}; choose others with --metrics")
    print(history_table.render_history(comparable, names))
    if len(comparable) < len(table):
        print(f"\n{len(table) - len(comparable)} rows of earlier protocols are left out", file=sys.stderr)

    def draw() -> None:
        from benchmarks.reporting.figures import backend

        backend.import_matplotlib()
        from benchmarks.comparison.history import history_figure
        from benchmarks.reporting.figures import style

        (out / "figures").mkdir(parents=True, exist_ok=True)
        print(f"\n{style.save_figure(history_figure.draw_history(comparable, names), out / 'figures' / 'history')}")

    attempt("history", draw)
