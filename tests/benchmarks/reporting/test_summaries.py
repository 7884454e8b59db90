"""Summaries over seeds, tables and headline."""

import csv
import math

import pandas as pd
import pytest

from benchmarks.common.atomic_files import SCHEMA_VERSION
from benchmarks.common.seed_statistics import Estimate, geometric_mean
from benchmarks.reporting import formats, summaries
from benchmarks.reporting.metrics import METRICS
from benchmarks.reporting.results_table import RESULT_COLUMNS


def row(variant, seed, epoch=0, **values):
    base = dict.fromkeys(RESULT_COLUMNS)
    base |= {"variant": variant, "dataset": "digits", "seed": seed, "epoch": epoch, "status": "ok", "draws": 1}
    return base | {"cell_id": f"{variant}-{seed}", "objective": "elbo", "estimator": "pathwise"} | values


def results(*rows):
    return pd.DataFrame(list(rows), columns=list(RESULT_COLUMNS)).astype({m.name: float for m in METRICS})


def test_each_variant_is_summarized_at_its_last_checkpoint():
    table = results(
        row("a", 0, 0, elbo=-9.0), row("a", 0, 5, elbo=-2.0), row("a", 1, 0, elbo=-9.0), row("a", 1, 5, elbo=-4.0)
    )
    (s,) = summaries.summarize(table)
    assert (s.epoch, s.ok, s.diverged, s.failed) == (5, 2, 0, 0)
    assert s.metrics["elbo"].mean == -3.0
    assert summaries.summarize(table, epoch=0)[0].metrics["elbo"].mean == -9.0


def test_the_headline_names_the_baseline_with_the_fewest_draws():
    rates = {name: Estimate(1, value, math.nan, math.nan) for name, value in (("none", 90), ("a", 7), ("b", 20))}
    assert "With the baseline a, 7.00 draws are enough." in summaries._describe_rates("digits", rates)


def test_a_diverged_seed_counts_as_the_worst_value_in_the_median():
    table = results(
        row("a", 0, 5, elbo=-2.0, reconstruction_error=1.0, kl=1.0),
        row("a", 1, 5, elbo=-4.0, reconstruction_error=3.0, kl=3.0),
        row("a", 2, 0, elbo=-9.0, reconstruction_error=9.0, kl=0.0),
        row("a", 2, 3, status="diverged"),
    )
    (s,) = summaries.summarize(table)
    assert (s.ok, s.diverged) == (2, 1)
    assert s.metrics["elbo"].median == -4.0
    assert s.metrics["reconstruction_error"].median == 3.0
    assert s.metrics["kl"].median == 2.0
    assert s.metrics["elbo"].mean == -3.0
    assert formats.format_seeds(s) == "2, 1 diverged"


def test_a_killed_seed_does_not_count_as_diverged():
    table = results(
        row("a", 0, 5, elbo=-2.0),
        row("a", 1, 5, elbo=-4.0),
        row("a", 2, 3, status="diverged"),
        row("a", 3, None, status="killed"),
        row("a", 4, None, status="killed"),
    )
    (s,) = summaries.summarize(table)
    assert (s.ok, s.diverged, s.failed) == (2, 1, 2)
    assert s.metrics["elbo"].median == -4.0


def test_if_every_seed_diverged_earlier_checkpoints_are_not_shown():
    table = results(*(row("a", seed, epoch, elbo=-9.0) for seed in (0, 1) for epoch in (0, 1)),
                    *(row("a", seed, 5, status="diverged") for seed in (0, 1)))  # fmt: skip
    (s,) = summaries.summarize(table)
    assert (s.epoch, s.ok, s.diverged, s.metrics["elbo"].n) == (5, 0, 2, 0)
    assert s.metrics["elbo"].median == -math.inf
    assert math.isnan(s.metrics["exact_log_likelihood"].median)
    assert "diverged" in formats.render_table([s], formats.choose_metrics(["elbo"]), "text")


def test_failed_cells_are_counted_and_not_averaged():
    (s,) = summaries.summarize(
        results(row("a", 0, 5, elbo=-2.0), row("a", 1, None, status="failed"), row("a", 2, None, status="killed"))
    )
    assert (s.ok, s.diverged, s.failed) == (1, 0, 2)
    assert s.metrics["elbo"].median == -2.0


def test_a_variant_without_results_has_a_line():
    table = results(row("a", 0, 5, elbo=-2.0), row("b", 0, None, status="failed", error="boom"))
    text = formats.render_table(summaries.summarize(table), formats.choose_metrics(["elbo"]), "text")
    assert text.splitlines()[-1].split() == ["b"]
    assert "1 failed" in " ".join(text.split())


def headline_rows(seeds=(0, 1)):
    for seed in seeds:
        yield row("plain", seed, gradient_variance=2.0)
        yield row("reinforce", seed, gradient_variance=2e6 * (1 + seed), estimator="score_function", baseline="none")
        yield row("better", seed, gradient_variance=20.0, estimator="score_function", baseline="leave_one_out", draws=2)


def test_exchange_rates_count_the_draws():
    rates = summaries.compute_exchange_rates(results(*headline_rows()), "digits")
    assert rates["none"].value == pytest.approx(1e6 * math.sqrt(2))
    assert rates["leave_one_out"].value == pytest.approx(20)


def test_exchange_rates_are_those_at_the_initial_weights():
    later = [row("reinforce", 0, 5, gradient_variance=9.0, estimator="score_function", baseline="none")]
    later += [row("plain", 0, 5, gradient_variance=1.0)]
    rates = summaries.compute_exchange_rates(results(*headline_rows(), *later), "digits")
    assert rates == summaries.compute_exchange_rates(results(*headline_rows()), "digits")


def test_exchange_rates_compare_models_with_the_same_posterior():
    """The gradient of a model with discrete latents is another quantity."""
    gaussian = [r | {"posterior": "diagonal_normal"} for r in headline_rows()]
    common = {"estimator": "score_function", "baseline": "leave_one_out", "posterior": "bernoulli", "draws": 2}
    discrete = [row("bernoulli", seed, gradient_variance=0.1, **common) for seed in (0, 1)]
    rates = summaries.compute_exchange_rates(results(*gaussian, *discrete), "digits")
    assert rates == summaries.compute_exchange_rates(results(*gaussian), "digits")
    texts = summaries.describe_draws_for_one(results(*discrete, *gaussian)).texts
    assert set(texts) == {"plain", "reinforce", "better"}


def test_exchange_rates_pair_the_seeds():
    rows = [row("plain", 3, gradient_variance=2.0), row("plain", 7, gradient_variance=4.0)]
    rows += [
        row("r", s, gradient_variance=v, estimator="score_function", baseline="none") for s, v in ((7, 40), (3, 20))
    ]
    rate = summaries.compute_exchange_rates(results(*rows), "digits")["none"]
    assert (rate.value, rate.low, rate.high) == pytest.approx((10, 10, 10))


def test_the_headline_has_both_rates_and_their_intervals():
    text = summaries.make_headline(results(*headline_rows()))
    assert "1,410,000 (95 % interval" in text
    assert "With the baseline leave_one_out, 20.0 (95 % interval 20.0 to 20.0) draws are enough" in text
    assert "2 seeds" in text
    assert "one seed, so no interval" in summaries.make_headline(results(*headline_rows([0])))


def test_there_is_no_headline_without_reinforce_and_pathwise():
    assert summaries.make_headline(results(row("plain", 0, gradient_variance=2.0))) == ""
    assert (
        summaries.make_headline(
            results(row("r", 0, gradient_variance=2.0, estimator="score_function", baseline="none"))
        )
        == ""
    )


def test_summary_csv_has_every_metric_and_its_spread(tmp_path):
    summaries.write_summary(tmp_path / "summary.csv", summaries.summarize(results(row("a", 0, 5, elbo=-1 / 3))))
    lines = list(csv.DictReader((tmp_path / "summary.csv").read_text().splitlines()))
    assert lines[0]["schema_version"] == str(SCHEMA_VERSION)
    assert float(lines[0]["elbo_mean"]) == -1 / 3
    assert lines[0]["elbo_half_width"] == ""
    assert {f"{m.name}_{part}" for m in METRICS for part in ("mean", "half_width", "median", "min", "max")} <= set(
        lines[0]
    )


def test_inconsistent_rows_are_listed():
    good = {
        "elbo": -10.0,
        "reconstruction_error": 8.0,
        "kl": 2.0,
        "log_likelihood": -9.0,
        "elbo_se": 0.1,
        "log_likelihood_se": 0.1,
    }
    table = results(row("a", 0, 5, **good), row("a", 1, 5, **(good | {"kl": 0.2})), row("a", 2, 5, status="diverged"))
    (inconsistency,) = summaries.list_inconsistencies(table)
    assert "a on digits, seed 1, epoch 5" in inconsistency
    density = row("a", 0, 5, support="binary", elbo=42.9, reconstruction_error=-50.9, kl=8.0)
    (inconsistency,) = summaries.list_inconsistencies(results(density))
    assert "reconstruction_error -50.9 is below 0" in inconsistency


def likelihood_rows(variant, likelihood, support, **values):
    return [row(variant, s, 0, likelihood=likelihood, support=support, binarization="static", **values) for s in (0, 1)]


def test_one_likelihood_is_not_mentioned(tmp_path):
    """Whether a table knows it, knows it in part, or is older than the column: the same text, figures and summary."""
    named = [*likelihood_rows("a", "bernoulli", "binary", elbo=-3.0), *likelihood_rows("b", None, None, elbo=-2.0)]
    blank = [r | {"likelihood": None, "support": None, "binarization": None} for r in named]
    tables = [summaries.summarize(results(*rows)) for rows in (named, blank)]
    for style in formats.TABLE_FORMATS:
        first, second = (formats.render_table(t, formats.choose_metrics([]), style) for t in tables)
        assert first == second
    for name, table in zip("xy", tables, strict=True):
        summaries.write_summary(tmp_path / name, table)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize(("support", "is_told"), [("binary", False), ("unit", True), ("real", True)])
def test_a_density_of_binary_data_is_told_also_if_it_is_alone(support, is_told):
    table = results(*likelihood_rows("a", "mine", support, elbo=42.9))
    text = formats.render_table(summaries.summarize(table), formats.choose_metrics(["elbo"]), "text")
    assert ("likelihood mine: log densities of binary data" in text) == is_told
    grey = formats.render_table(summaries.summarize(table.assign(binarization="none")), [], "text")
    assert "likelihood" not in grey


def test_the_headline_compares_within_a_likelihood():
    """A plug-in's pathwise variance, although it comes first, does not enter the rate of REINFORCE."""
    other = likelihood_rows("other", "mine", "real", gradient_variance=1e-9)
    rows = [*other, *(r | {"likelihood": "bernoulli"} for r in headline_rows())]
    assert summaries.make_headline(results(*rows)) == summaries.make_headline(results(*headline_rows())).replace(
        "On digits,", "On digits, likelihood bernoulli,"
    )


def test_an_interval_of_exploded_seeds_ends_at_the_limits_of_numbers():
    rate = geometric_mean([1e-200, 1e200])
    assert (rate.value, rate.low, rate.high) == (pytest.approx(1), 0, math.inf)
    texts = [summaries.format_three_digits(value) for value in (rate.value, rate.low, rate.high, 583_123, 27.06)]
    assert texts == ["1.00", "0", "more than 2e+308", "583,000", "27.1"]
