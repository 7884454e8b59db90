"""The comparison of two runs: a verdict for each data set, variant and metric."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from benchmarks.comparison import speed
from benchmarks.comparison.run_groups import Group, Groups, Key, SeedRows, group_results
from benchmarks.comparison.two_sample import compare_samples, compute_fisher_p, count_far_off
from benchmarks.comparison.verdicts import SEEDS, MetricTest, Pending, SeedTest, Verdict, decide_verdicts
from benchmarks.reporting import summaries
from benchmarks.reporting.metrics import METRIC_BY_NAME, METRICS, Metric

SMALLEST_VALUE = 1e-300  # replaces 0 in logarithms
COMPARED_METRICS = tuple(metric for metric in METRICS if metric.tolerance > 0)
METRIC_NAMES = tuple(metric.name for metric in (*COMPARED_METRICS, *speed.SPEED_METRICS))
METRIC_ORDER = (SEEDS, *METRIC_NAMES)


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
    keys = list(dict.fromkeys([*base, *new]))
    pending: list[Pending] = []
    for key in keys:
        pending += _compare_group(key, base, new, faults.get(key), names)
    verdicts = decide_verdicts(pending, alpha)
    order = {key: i for i, key in enumerate(keys)}
    return sorted(verdicts, key=lambda v: (order[v.dataset, v.variant], METRIC_ORDER.index(v.metric)))


def _compare_group(
    key: Key, base_groups: Groups, new_groups: Groups, fault: str | None, names: Collection[str]
) -> list[Pending]:
    (dataset, variant), base, new = key, base_groups.get(key), new_groups.get(key)
    if fault:
        return [Verdict(dataset, variant, SEEDS, "failed", note=fault)]
    if base is None or new is None:
        return [_report_absent(dataset, variant, base_groups, new_groups)]
    if reason := _find_incomparable(base, new):
        return [Verdict(dataset, variant, SEEDS, "incomparable", note=reason)]
    tests = [
        _make_metric_test(dataset, variant, metric, base, new) for metric in COMPARED_METRICS if metric.name in names
    ]
    speed_tests = speed.make_speed_tests(dataset, variant, base.last, new.last, names)
    return [_make_seed_test(dataset, variant, base, new), *(test for test in tests if test is not None), *speed_tests]


def _find_faults(results: pd.DataFrame, side: str) -> dict[Key, str]:
    """Return the first inconsistent row of each data set and variant that has one."""
    faults: dict[Key, str] = {}
    for row, reason in summaries.find_contradictions(results):
        place = f"{side}, seed {row['seed']}, epoch {row['epoch']:.0f}"
        faults.setdefault((str(row["dataset"]), str(row["variant"])), f"{place}: {reason}")
    return faults


def _report_absent(dataset: str, variant: str, base: Groups, new: Groups) -> Verdict:
    base_datasets, new_datasets = ({data for data, name in groups if name == variant} for groups in (base, new))
    is_new = dataset in new_datasets
    side, datasets = ("base", base_datasets) if is_new else ("new", new_datasets)
    if base_datasets and new_datasets and not base_datasets & new_datasets:
        note = f"{side} has results on {', '.join(sorted(datasets))}, not on {dataset}"
        return Verdict(dataset, variant, SEEDS, "incomparable", note=note)
    return Verdict(dataset, variant, SEEDS, "new" if is_new else "missing", note=f"missing in {side}")


def _find_incomparable(base: Group, new: Group) -> str:
    """Return why the groups can't be compared; empty if they can."""
    for side, group in (("base", base), ("new", new)):
        if len(group.protocols) > 1:
            return f"{side} contains {len(group.protocols)} protocols; compare runs of one protocol each"
    if base.protocols != new.protocols:
        return _list_changes(base, new) or "equal settings, but another protocol_id: the variant was redefined"
    if len(base.last.seeds) and len(new.last.seeds) and base.settings["epochs"] != new.settings["epochs"]:
        return f"{_list_changes(base, new)}; the protocol is the same, so the last rows of one run are missing"
    if base.failed == base.cells:
        return f"no result in base: {base.failed} of {base.cells} cells failed; run them again"
    return ""


def _list_changes(base: Group, new: Group) -> str:
    return "; ".join(
        f"{name}: {base.settings[name]} in base, {value} in new"
        for name, value in new.settings.items()
        if value != base.settings[name] and value == value  # a NaN is a setting that older tables lack
    )


def _make_seed_test(dataset: str, variant: str, base: Group, new: Group) -> SeedTest:
    """Return the test of lost seeds: diverged seeds, failed cells of new, and far outliers of the ELBO."""
    elbo = METRIC_BY_NAME["elbo"]
    outliers = count_far_off(*(np.array(list(get_values(group, elbo).values())) for group in (base, new)))
    base_cells = base.cells - base.failed  # the outcome of a failed cell is unknown
    base_lost, new_lost = base.diverged + outliers[0], new.diverged + new.failed + outliers[1]
    lost = "lost or outlying" if any(outliers) else "lost"
    notes = []
    if new_lost or base_lost:
        notes.append(f"{lost} seeds: {base_lost} of {base_cells} in base, {new_lost} of {new.cells} in new")
    if new.failed:
        notes.append(f"{new.failed} of {new.cells} cells failed in new; run them again")
    if base.failed:
        notes.append(f"{base.failed} of {base.cells} cells failed in base")
    draft = Verdict(
        dataset, variant, SEEDS, "failed" if new.failed else "unchanged", base_cells - base_lost, new.cells - new_lost,
        test="Fisher", note="; ".join(notes),
    )  # fmt: skip
    return SeedTest(
        draft,
        p_worse=compute_fisher_p(base_lost, base_cells, new_lost, new.cells),
        p_better=compute_fisher_p(new_lost, new.cells, base_lost, base_cells),
        any_lost=bool(new_lost or base_lost),
        more_lost=new_lost * base_cells > base_lost * new.cells,
        all_lost=new_lost == new.cells and not base_lost,
    )


def _make_metric_test(
    dataset: str, variant: str, metric: Metric, base: Group, new: Group
) -> MetricTest | Verdict | None:
    """Return a test, or a verdict if no test is needed; None if there is nothing to compare."""
    base_values, new_values = get_values(base, metric), get_values(new, metric)
    advice = not is_gating(metric, base, new)
    if not base_values or not new_values:
        if not base_values and not new_values:
            return None
        if not (len(base.last.seeds) and len(new.last.seeds)):
            return None  # all seeds are lost: the verdict on seeds reports it
        note = f"no values in {'new' if base_values else 'base'}"
        return Verdict(dataset, variant, metric.name, "incomparable", advice=advice, note=note)
    medians = statistics.median(base_values.values()), statistics.median(new_values.values())
    if reason := _find_implausible(metric, base, new):
        return Verdict(dataset, variant, metric.name, "failed", *medians, advice=advice, note=reason)
    draft = Verdict(
        dataset, variant, metric.name, "unchanged", *medians, tolerance=metric.tolerance_on(dataset), advice=advice
    )
    shared = {seed: new_values[seed] for seed in base_values if seed in new_values}
    if shared in (base_values, new_values) and all(base_values[seed] == value for seed, value in shared.items()):
        median = statistics.median(shared.values())
        note = "" if base_values == new_values else f"compared on {len(shared)} shared seeds"
        return dataclasses.replace(draft, word="identical", base=median, new=median, note=note)
    return MetricTest(draft, compare_samples(get_scaled_values(base, metric), get_scaled_values(new, metric)), metric)


def _find_implausible(metric: Metric, base: Group, new: Group) -> str:
    """Return why the values can't be right; empty if they can."""
    base_values, new_values = get_values(base, metric), get_values(new, metric)
    for side, group, values in (("base", base, base_values), ("new", new, new_values)):
        cells = len(_select_checkpoint(group, metric).seeds)
        if len(values) < cells:
            return f"only {len(values)} of {cells} cells have a value in {side}"
    zeros = sum(value == 0 for value in new_values.values())
    if metric.scale == "log" and zeros and all(base_values.values()):
        return f"the value is 0 in {zeros} of {len(new_values)} seeds of new, in none of base; check the measurement"
    return ""


def _select_checkpoint(group: Group, metric: Metric) -> SeedRows:
    return group.first if metric.checkpoint == "first" else group.last


def is_gating(metric: Metric, *groups: Group) -> bool:
    """Return whether the metric affects the exit code. A substitute does if no group has the metric it replaces."""
    if metric.instead_of:
        return not any(get_values(group, METRIC_BY_NAME[metric.instead_of]) for group in groups)
    return metric.gates


def get_values(group: Group, metric: Metric) -> dict[int, float]:
    """Return the finite values by seed, at the checkpoint where the metric is compared."""
    rows = _select_checkpoint(group, metric)
    values = rows.numbers[metric.name]
    finite = np.isfinite(values)
    return dict(zip(rows.seeds[finite].tolist(), values[finite].tolist(), strict=True))


def get_scaled_values(group: Group, metric: Metric) -> dict[int, float]:
    """Return the values by seed; their natural logarithms if the metric's scale is "log"."""
    values = get_values(group, metric)
    if metric.scale == "log":
        return {seed: math.log(max(value, SMALLEST_VALUE)) for seed, value in values.items()}
    return values
