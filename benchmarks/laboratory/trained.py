"""Studies of trained models: what a gradient's variance costs in the end. From rows of results.csv; needs no torch.

`learning-rate` compares the rates at which each variant was trained, and chooses one by the validation split; `budget`
follows each variant's test ELBO at that rate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks import store
from benchmarks.errors import UserError
from benchmarks.laboratory.columns import BEST, BEST_AT_EDGE, DIVERGED, UNITS, Row
from benchmarks.statistics import interval

TRAINED = ("learning-rate", "budget")
SHARED = ("dataset", "binarization", "likelihood", "latent_dim", "batch_size", "evaluation_draws")
WORDS = ("variant", "objective", "estimator", "baseline", "dataset")
COUNTS = ("draws", "batch_size", "latent_dim")


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """The runs' rows together, those of models with latent noise, or a `UserError` where they can't be compared."""
    parts = [store.read_results(path) for path in paths]
    for column in SHARED:
        seen = {str(value): path for path, part in zip(paths, parts, strict=True) for value in part[column].unique()}
        if len(seen) > 1:
            (one, here), (other, there) = list(seen.items())[:2]
            raise UserError(
                f"--run: {column} is {one} in {here} and {other} in {there}; compare runs that differ in nothing but "
                "their learning rates"
            )
    whole = pd.concat(parts, ignore_index=True).drop_duplicates(["cell_id", "epoch"])
    twice = whole[whole.duplicated(["variant", "learning_rate", "seed", "epoch"])]
    if len(twice):
        raise UserError(
            f"--run: {twice['variant'].iloc[0]} with learning rate {twice['learning_rate'].iloc[0]:g} and seed "
            f"{twice['seed'].iloc[0]:.0f} is there more than once, by different code or settings; leave out one run"
        )
    if whole["validation_elbo"].notna().sum() == 0:
        raise UserError(
            f"--run: {', '.join(map(str, paths))} has no ELBO on a validation split, by which learning rates are "
            "chosen; use a data set that has one, such as mnist5k or digits"
        )
    noisy = whole.groupby("variant")["elbo"].transform("count") > 0
    return whole[noisy]


def rows(results: pd.DataFrame, passes: Mapping[str, int], studies: Sequence[str]) -> Iterator[Row]:
    """Rows of gradients.csv; passes: decoder passes per example and gradient of each variant that is wanted."""
    results = _common_seeds(results[results["variant"].isin(list(passes))])
    for name, own in results.groupby("variant", sort=False):
        best = _best(own)
        if "learning-rate" in studies:
            yield from _learning_rate(own, passes[str(name)], best)
        if "budget" in studies:
            yield from _budget(own[own["learning_rate"] == best], passes[str(name)])


def _common_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """The seeds that every variant has at every one of its rates."""
    cells = results.groupby(["variant", "learning_rate"])["seed"].agg(set)
    common = set.intersection(*cells) if len(cells) else set()
    if not common:
        raise UserError("--run: no seed is there for every variant and learning rate; give runs that share seeds")
    return results[results["seed"].isin(common)]


def _final(own: pd.DataFrame, metric: str) -> tuple[dict[float, float], int]:
    """By seed, at the last epoch of the cells that got there; and how many diverged."""
    status = own.groupby("seed")["status"].last()
    last = own[(own["status"] == "ok") & own["seed"].isin(status.index[status == "ok"])]
    last = last[last["epoch"] == own["epoch"].max()]
    found = dict(zip(last["seed"].tolist(), last[metric].tolist(), strict=True))
    return found, int((status == "diverged").sum())


def _best(own: pd.DataFrame) -> float:
    """The rate of the highest median over seeds on the validation split; a diverged seed counts as the worst."""

    def score(rate: float) -> float:
        found, lost = _final(own[own["learning_rate"] == rate], "validation_elbo")
        middle = interval(list(found.values()), lost, -math.inf).median
        return -math.inf if math.isnan(middle) else middle

    return float(max(sorted(own["learning_rate"].unique()), key=score))


def _who(own: pd.DataFrame) -> Row:
    first = own.iloc[0]
    who: Row = {name: "" if pd.isna(first[name]) else str(first[name]) for name in WORDS}
    who |= {name: int(first[name]) for name in COUNTS}
    return who | {"parameters": "", "layer": "", "quantity": "elbo", "unit": UNITS["elbo"]}


def _learning_rate(own: pd.DataFrame, passes: int, best: float) -> Iterator[Row]:
    rates = sorted(map(float, own["learning_rate"].unique()))
    for rate in rates:
        at = own[own["learning_rate"] == rate]
        epoch = f"epoch {at['epoch'].max():.0f}"
        common = _who(own) | {"study": "learning-rate", "setting": "learning_rate", "setting_value": rate}
        common |= {"checkpoint": epoch, "passes": passes, "seed": None}
        for part, metric in (("validation", "validation_elbo"), ("test", "elbo")):
            found, lost = _final(at, metric)
            for seed, value in found.items():
                yield common | {"seed": seed, "part": part, "value": value}
            if not found:
                yield common | {"part": part, "flag": DIVERGED}
                continue
            middle, values = statistics.median(found.values()), found.values()
            chosen = "" if rate != best else BEST_AT_EDGE if len(rates) > 1 and rate in (rates[0], rates[-1]) else BEST
            flag = DIVERGED if lost else chosen
            yield common | {"part": part, "value": middle, "low": min(values), "high": max(values), "flag": flag}


def _budget(own: pd.DataFrame, passes: int) -> Iterator[Row]:
    """The test ELBO at every checkpoint, against what training has cost until then."""
    measured = own[(own["status"] == "ok") & (own["epoch"] > 0) & own["elbo"].notna()]
    for row in measured.itertuples():
        common = _who(own) | {"study": "budget", "seed": row.seed, "checkpoint": f"epoch {row.epoch:.0f}"}
        common |= {"part": "test", "value": row.elbo, "passes": passes}
        yield common | {"setting": "decoder_passes", "setting_value": row.step * row.batch_size * passes}
        yield common | {"setting": "seconds", "setting_value": row.train_seconds}
