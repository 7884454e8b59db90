"""The comparison of two runs: a verdict for each data set, variant and metric."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from benchmarks.comparison import speed
from benchmarks.comparison.conditions import QUALITY_CONDITIONS, SPEED_CONDITIONS, explain
from benchmarks.comparison.run_groups import Group, Groups, Key, group_results
from benchmarks.comparison.two_sample import compute_fisher_p, count_far_off
from benchmarks.comparison.verdicts import SEEDS, Pending, Test, Verdict, VerdictWord, decide_verdicts, make_metric_test
from benchmarks.reporting import results_table
from benchmarks.reporting.metrics import METRIC_BY_NAME, METRICS, Metric

SMALLEST_VALUE = 1e-300  # replaces 0 in logarithms
COMPARED_METRICS = tuple(metric for metric in METRICS if metric.tolerance > 0)
SPEED_NAMES = tuple(metric.name for metric in speed.SPEED_METRICS)
METRIC_NAMES = (*(metric.name for metric in COMPARED_METRICS), *SPEED_NAMES)


def compare_runs(
    base: pd.DataFrame, new: pd.DataFrame, names: Collection[str] = METRIC_NAMES, alpha: float = 0.01
) -> list[Verdict]:
    """Return a verdict for each data set, variant and metric of either run."""
    faults = _find_faults(base, "base") | _find_faults(new, "new")
    return compare_groups(group_results(base), group_results(new), faults, names, alpha)


def compare_groups(
    base: Groups, new: Groups, faults: Mapping[Key, str], names: Collection[str], alpha: float
) -> list[Verdict]:
    """Return the verdicts on two grouped runs. faults: groups with an inconsistent row, and the reason."""
    pending: list[Pending] = []
    for key in dict.fromkeys([*base, *new]):
        if key in faults:
            pending.append(Verdict(*key, SEEDS, "failed", note=faults[key]))
        elif key not in base or key not in new:
            pending.append(_report_absent(key, base, new))
        elif reason := _find_incomparable(base[key], new[key]):
            pending.append(Verdict(*key, SEEDS, "incomparable", note=reason))
        else:
            pending += _make_tests(key, base[key], new[key], names)
    return [_explain(verdict, base, new) for verdict in decide_verdicts(pending, alpha)]


def _explain(verdict: Verdict, base: Groups, new: Groups) -> Verdict:
    key = verdict.dataset, verdict.variant
    if key not in base or key not in new:
        return verdict
    names = SPEED_CONDITIONS if verdict.metric in SPEED_NAMES else QUALITY_CONDITIONS
    return explain(verdict, base[key].conditions, new[key].conditions, names)


def _find_faults(results: pd.DataFrame, side: str) -> dict[Key, str]:
    """Return the first inconsistent row of each data set and variant that has one."""
    faults: dict[Key, str] = {}
    for row, reason in results_table.find_contradictions(results):
        place = f"{side}, seed {row['seed']}, epoch {row['epoch']:.0f}"
        faults.setdefault((str(row["dataset"]), str(row["variant"])), f"{place}: {reason}")
    return faults


def _report_absent(key: Key, base: Groups, new: Groups) -> Verdict:
    base_datasets, new_datasets = ({data for data, variant in groups if variant == key[1]} for groups in (base, new))
    side, datasets = ("base", base_datasets) if key in new else ("new", new_datasets)
    if base_datasets and new_datasets and not base_datasets & new_datasets:
        note = f"{side} has results on {', '.join(sorted(datasets))}, not on {key[0]}"
        return Verdict(*key, SEEDS, "incomparable", note=note)
    return Verdict(*key, SEEDS, "new" if key in new else "missing", note=f"missing in {side}")


def _find_incomparable(base: Group, new: Group) -> str:
    """Return why the groups can't be compared; empty if they can."""
    for side, group in (("base", base), ("new", new)):
        if len(group.protocols) > 1:
            return f"{side} contains {len(group.protocols)} protocols; compare runs of one protocol each"
    changed = {
        name: f"{name}: {base.settings[name]} in base, {value} in new"
        for name, value in new.settings.items()
        if value != base.settings[name] and value == value and base.settings[name] == base.settings[name]
    }  # a NaN is a setting that older tables lack, or the likelihood of a model that was never built
    changes = "; ".join(changed.values())
    if base.protocols != new.protocols or {"likelihood", "support"} & changed.keys():
        return changes or "equal settings, but another protocol_id: the variant was redefined"
    if _have_rows(base, new) and base.settings["epochs"] != new.settings["epochs"]:
        return f"{changes}; the protocol is the same, so the last rows of one run are missing"
    if base.failed == base.cells:
        return f"no result in base: {base.failed} of {base.cells} cells failed; run them again"
    return ""


def _have_rows(*groups: Group) -> bool:
    return all(len(group.rows["last"]["seed"]) for group in groups)


def _make_tests(key: Key, base: Group, new: Group, names: Collection[str]) -> Iterator[Pending]:
    yield _make_seed_test(key, base, new)
    for metric in COMPARED_METRICS:
        if metric.name in names and (test := _make_metric_test(key, metric, base, new)):
            yield test
    yield from speed.make_speed_tests(key, base.rows["last"], new.rows["last"], names)


def _make_seed_test(key: Key, base: Group, new: Group) -> Pending:
    """Return the test of lost seeds: diverged seeds, failed cells of new, and far outliers of the ELBO."""
    elbo = METRIC_BY_NAME["elbo"]
    outliers = count_far_off(*(np.array(list(get_values(group, elbo).values())) for group in (base, new)))
    base_cells = base.cells - base.failed  # the outcome of a failed cell is unknown
    base_lost, new_lost = base.diverged + outliers[0], new.diverged + new.failed + outliers[1]
    lost = "lost or outlying" if any(outliers) else "lost"
    notes = []
    if new.sources - {""} and new.sources != base.sources:
        notes.append("another source of the plug-in")
    if new_lost or base_lost:
        notes.append(f"{lost} seeds: {base_lost} of {base_cells} in base, {new_lost} of {new.cells} in new")
    if new.failed:
        notes.append(f"{new.failed} of {new.cells} cells failed in new; run them again")
    if base.failed:
        notes.append(f"{base.failed} of {base.cells} cells failed in base")
    word: VerdictWord = "unchanged"
    if new.failed:
        word = "failed"
    elif new_lost == new.cells and not base_lost:
        word = "regressed"
    elif new_lost * base_cells > base_lost * new.cells:
        word = "inconclusive"
    left = base_cells - base_lost, new.cells - new_lost
    draft = Verdict(*key, SEEDS, word, *left, p=1.0, test="Fisher", note="; ".join(notes))
    if not (new_lost or base_lost):
        return draft  # there is nothing to test
    p_worse = compute_fisher_p(base_lost, base_cells, new_lost, new.cells)
    return Test(draft, p_worse, p_better=compute_fisher_p(new_lost, new.cells, base_lost, base_cells))


def _make_metric_test(key: Key, metric: Metric, base: Group, new: Group) -> Pending | None:
    """Return a test, or a verdict if no test is needed; None if there is nothing to compare."""
    base_values, new_values = get_values(base, metric), get_values(new, metric)
    advice = not is_gating(metric, base, new)
    if not base_values or not new_values:
        if not (base_values or new_values) or not _have_rows(base, new):
            return None  # if a run has no rows, all seeds are lost: the verdict on seeds reports it
        note = f"no values in {'new' if base_values else 'base'}"
        return Verdict(*key, metric.name, "incomparable", advice=advice, note=note)
    medians = statistics.median(base_values.values()), statistics.median(new_values.values())
    if reason := _find_implausible(metric, base, new):
        return Verdict(*key, metric.name, "failed", *medians, advice=advice, note=reason)
    tolerance = base.tolerance(metric, key[0])
    draft = Verdict(*key, metric.name, "unchanged", *medians, tolerance=tolerance, advice=advice)
    shared = {seed: new_values[seed] for seed in base_values if seed in new_values}
    if shared in (base_values, new_values) and all(base_values[seed] == value for seed, value in shared.items()):
        median = statistics.median(shared.values())
        note = "" if base_values == new_values else f"compared on {len(shared)} shared seeds"
        return dataclasses.replace(draft, word="identical", base=median, new=median, note=note)
    return make_metric_test(draft, metric.direction, get_scaled_values(base, metric), get_scaled_values(new, metric))


def _find_implausible(metric: Metric, base: Group, new: Group) -> str:
    """Return why the values can't be right; empty if they can."""
    base_values, new_values = get_values(base, metric), get_values(new, metric)
    for side, group, values in (("base", base, base_values), ("new", new, new_values)):
        cells = len(group.rows[metric.checkpoint]["seed"])
        if len(values) < cells:
            return f"only {len(values)} of {cells} cells have a value in {side}"
    zeros = sum(value == 0 for value in new_values.values())
    if metric.scale == "log" and zeros and all(base_values.values()):
        return f"the value is 0 in {zeros} of {len(new_values)} seeds of new, in none of base; check the measurement"
    return ""


def is_gating(metric: Metric, *groups: Group) -> bool:
    """Return whether the metric affects the exit code. A substitute does if no group has the metric it replaces."""
    if metric.instead_of:
        return not any(get_values(group, METRIC_BY_NAME[metric.instead_of]) for group in groups)
    return metric.gates


def get_values(group: Group, metric: Metric) -> dict[int, float]:
    """Return the finite values by seed, at the checkpoint where the metric is compared."""
    rows = group.rows[metric.checkpoint]
    finite = np.isfinite(rows[metric.name])
    return dict(zip(rows["seed"][finite].tolist(), rows[metric.name][finite].tolist(), strict=True))


def get_scaled_values(group: Group, metric: Metric) -> dict[int, float]:
    """Return the values by seed; their natural logarithms if the metric's scale is "log"."""
    values = get_values(group, metric)
    if metric.scale == "log":
        return {seed: math.log(max(value, SMALLEST_VALUE)) for seed, value in values.items()}
    return values
