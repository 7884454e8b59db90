"""False-alarm rate and power of `compare`, from many comparisons of disjoint random seeds of a base and a new run."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.common.errors import UserError
from benchmarks.comparison.power.detectable_effect import DetectableEffect, measure_effects
from benchmarks.comparison.power.resampling import (
    BASE_SEEDS,
    GATING_METRICS,
    NEW_SEEDS,
    Effort,
    Outcome,
    Rate,
    Split,
    compare_split,
    draw_splits,
    estimate_rates,
)
from benchmarks.comparison.run_comparison import COMPARED_METRICS, get_scaled_values
from benchmarks.comparison.run_groups import Groups, group_results
from benchmarks.comparison.two_sample import compare_samples
from benchmarks.comparison.verdicts import SEEDS, Verdict, choose_exit_code
from benchmarks.reporting.metrics import Metric

EXIT_CODE_ONE = "exit code 1"


@dataclass(frozen=True)
class ErrorRates:
    """Rates in comparisons of equal code.

    seeds: size of the pool. alarms: how often the exit code is 1, and how often by each metric. reached: share of
    comparisons in which no verdict was "identical". culprits: number of false alarms by variant and metric, in all
    comparisons. proposed: by data set and metric, the present tolerance, and one that 99 of 100 differences do not
    exceed.
    """

    seeds: int
    alarms: Mapping[str, Rate]
    reached: float
    culprits: Mapping[tuple[str, str], int]
    effects: Sequence[DetectableEffect]
    proposed: Mapping[tuple[str, str], tuple[float, float]]


def measure_error_rates(results: pd.DataFrame, alpha: float, effort: Effort) -> ErrorRates:
    """Compare random splits of these results; raise `UserError` if they have too few seeds."""
    pool = group_results(results)
    seeds = _find_complete_seeds(pool, 2 * (BASE_SEEDS + NEW_SEEDS))
    _check_comparable(pool, pool, (seeds, seeds), alpha)
    source = np.random.default_rng(0)
    reached, culprits = list[bool](), Counter[tuple[str, str]]()

    def find_outcome(split: Split) -> Outcome:
        verdicts = compare_split(pool, pool, split, alpha)
        reached.append(all(v.word != "identical" for v in verdicts))
        culprits.update((v.variant, v.metric) for v in verdicts if v.word == "regressed" and not v.advice)
        return _describe_outcome(verdicts)

    alarms = estimate_rates(find_outcome, seeds, seeds, source, effort)
    effects = measure_effects(pool, seeds, alpha, source)
    tolerances = _propose_tolerances(pool, seeds, source)
    return ErrorRates(len(seeds), alarms, float(np.mean(reached)), culprits, effects, tolerances)


def measure_power(results: pd.DataFrame, worse: pd.DataFrame, alpha: float, effort: Effort) -> dict[str, Rate]:
    """Return how often a new run of the second code, compared with the first, regresses; also by metric."""
    base, new = group_results(results), group_results(worse)
    base_seeds = _find_complete_seeds(base, 2 * BASE_SEEDS, " of RUN")
    new_seeds = _find_complete_seeds(new, 2 * NEW_SEEDS, " of WORSE that RUN lacks", base_seeds)
    _check_comparable(base, new, (base_seeds, new_seeds), alpha)

    def find_outcome(split: Split) -> Outcome:
        return _describe_outcome(compare_split(base, new, split, alpha))

    return estimate_rates(find_outcome, base_seeds, new_seeds, np.random.default_rng(0), effort)


def _check_comparable(base: Groups, new: Groups, split: Split, alpha: float) -> None:
    verdicts = compare_split(base, new, split, alpha)
    for v in verdicts:
        if v.word in ("incomparable", "missing", "new", "failed"):
            raise UserError(
                f"{v.variant} on {v.dataset}: {v.word} ({v.note}); use runs with the same settings and variants"
            )
    if not any(not v.advice and v.metric != SEEDS for v in verdicts):
        raise UserError("no variant has elbo, reconstruction_error or gradient_variance; add variants that have them")


def _find_complete_seeds(groups: Groups, needed: int, owner: str = "", excluded: Sequence[int] = ()) -> list[int]:
    """Return the seeds that all variants completed; raise `UserError` if there are too few."""
    complete = set.intersection(*({*group.rows["last"]["seed"].tolist()} for group in groups.values()))
    seeds = sorted(complete - {*excluded})
    if len(seeds) < needed:
        raise UserError(
            f"{len(seeds)} seeds{owner} are complete in all variants, but random splits need {needed} or more; "
            "run with more --seeds"
        )
    return seeds


def _describe_outcome(verdicts: Sequence[Verdict]) -> dict[str, bool]:
    regressed = {v.metric for v in verdicts if v.word == "regressed" and not v.advice}
    return {
        EXIT_CODE_ONE: choose_exit_code(verdicts) == 1,
        **{metric.name: metric.name in regressed for metric in GATING_METRICS},
    }


def _propose_tolerances(
    pool: Groups, seeds: Sequence[int], source: np.random.Generator
) -> dict[tuple[str, str], tuple[float, float]]:
    present: dict[tuple[str, str], float] = {}
    distances: dict[tuple[str, str], list[float]] = defaultdict(list)
    for base, new in draw_splits(seeds, seeds, 200, source):
        for (dataset, _), group in pool.items():
            for metric in COMPARED_METRICS:
                present[dataset, metric.name] = group.tolerance(metric, dataset)
                values = get_scaled_values(group, metric)
                if values:
                    difference = compare_samples({s: values[s] for s in base}, {s: values[s] for s in new})
                    if difference.test != "ranks":  # outliers would dominate
                        distances[dataset, metric.name].append(abs(difference.value))
    return {key: (present[key], float(np.quantile(sizes, 0.99))) for key, sizes in distances.items()}


def describe_error_rates(rates: ErrorRates, alpha: float, effort: Effort) -> str:
    """Return the report: false alarms, detectable drops, and tolerances."""
    lines = [
        f"{rates.seeds} seeds of one code; {effort.splits:,} comparisons of {BASE_SEEDS} with {NEW_SEEDS} of them, "
        f"alpha {alpha:g}",
        f"every gating metric was tested in {100 * rates.reached:.4g} % of the comparisons",
        "",
        "false alarms, with 95 % interval over resampled seeds:",
        *_format_rates(rates.alarms),
    ]
    if rates.culprits:
        total = effort.splits + effort.pools * effort.splits_a_pool
        lines += ["", f"false alarms by variant and metric, in {total:,} comparisons (with those of resampled seeds):"]
        lines += [f"  {variant:20} {metric:22} {n}" for (variant, metric), n in sorted(rates.culprits.items())]
    lines += ["", "smallest drop detected in 95 of 100 cases, by number of new seeds (gradient_variance: as a ratio);"]
    lines += [f"in the last column, how often {NEW_SEEDS} new seeds detect a drop of twice the tolerance:"]
    for effect in rates.effects:
        drops = [f"{n_new}: {_format_drop(effect.metric, drop):8}" for n_new, drop in effect.smallest.items()]
        dataset, variant = effect.key
        lines.append(
            f"  {dataset:10} {variant:20} {effect.metric.name:22} {' '.join(drops)} {_format_rate(effect.twice)}"
        )
    lines += ["", "tolerances: the present one, and the one that 99 of 100 differences of equal code do not exceed:"]
    lines += [
        f"  {dataset:16} {name:26} {present:<8g} {value:.3g}"
        for (dataset, name), (present, value) in rates.proposed.items()
    ]
    return "\n".join(lines)


def describe_power(rates: Mapping[str, Rate], alpha: float, effort: Effort) -> str:
    """Return the report: how often the worse code is detected, and by which metric."""
    head = (
        f"{effort.splits:,} comparisons of {BASE_SEEDS} seeds of RUN with {NEW_SEEDS} seeds of WORSE, alpha {alpha:g}\n"
        "regressed, with 95 % interval over resampled seeds:"
    )
    return "\n".join([head, *_format_rates(rates)])


def _format_rates(rates: Mapping[str, Rate]) -> list[str]:
    return [
        f"  {name if name == EXIT_CODE_ONE else f'by {name}':26} {_format_rate(rate)}" for name, rate in rates.items()
    ]


def _format_rate(rate: Rate) -> str:
    return f"{100 * rate.share:.3g} % ({100 * rate.low:.3g} to {100 * rate.high:.3g} %)"


def _format_drop(metric: Metric, drop: float) -> str:
    if not math.isfinite(drop):
        return "none"
    return f"x {math.exp(drop):.2f}" if metric.scale == "log" else f"{drop:.2f}"
