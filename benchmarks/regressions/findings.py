"""What the doctor found, as a person reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.metrics import BY_NAME, Metric
from benchmarks.regressions.doctor import CODE, Report
from benchmarks.regressions.resampling import BASE, NEW, Effort, Rate


def of_equals(found: Report, alpha: float, effort: Effort) -> str:
    """False alarms, what is seen, and tolerances."""
    lines = [
        f"{found.seeds} seeds of one code; {effort.splits:,} comparisons of {BASE} with {NEW} of them, alpha {alpha:g}",
        f"every gating metric reached a test in {100 * found.reached:.4g} % of them",
        "",
        "false alarms, with 95 % limits over resampled seeds:",
        *_rates(found.alarms),
    ]
    total = effort.splits + effort.pools * effort.splits_a_pool
    lines += (
        ["", f"raised by, in {total:,} comparisons, those of resampled seeds among them:"] if found.culprits else []
    )
    lines += [f"  {variant:20} {metric:22} {n}" for (variant, metric), n in sorted(found.culprits.items())]
    lines += ["", "the smallest loss seen in 95 of 100 cases, by new seeds (of gradient_variance: the ratio),"]
    lines += [f"and how often {NEW} new seeds see one of twice the tolerance:"]
    for effect in found.effects:
        texts = [f"{new}: {_size(effect.metric, value):8}" for new, value in effect.smallest.items()]
        lines.append(
            f"  {effect.key[0]:10} {effect.key[1]:20} {effect.metric.name:22} {' '.join(texts)} {_share(effect.twice)}"
        )
    lines += ["", "tolerances: present, and within which 99 of 100 differences of equals lie"]
    lines += [
        f"  {dataset:16} {name:26} {BY_NAME[name].tolerance_on(dataset):<8g} {value:.3g}"
        for (dataset, name), value in found.proposed.items()
    ]
    return "\n".join(lines)


def of_a_change(found: Mapping[str, Rate], alpha: float, effort: Effort) -> str:
    """How often it is seen."""
    head = f"{effort.splits:,} comparisons of {BASE} seeds of the first with {NEW} of the second, alpha {alpha:g}"
    return "\n".join([f"{head}; called worse, with 95 % limits over resampled seeds:", *_rates(found)])


def _rates(found: Mapping[str, Rate]) -> list[str]:
    return [f"  {name if name == CODE else f'by {name}':26} {_share(rate)}" for name, rate in found.items()]


def _share(rate: Rate) -> str:
    return f"{100 * rate.share:.3g} % ({100 * rate.low:.3g} to {100 * rate.high:.3g} %)"


def _size(metric: Metric, value: float) -> str:
    if not math.isfinite(value):
        return "none"
    return f"x {math.exp(value):.2f}" if metric.scale == "log" else f"{value:.2f}"
