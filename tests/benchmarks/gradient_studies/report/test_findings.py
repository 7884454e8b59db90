"""Findings about exchange rates and pairs, from rows of gradients.csv."""

import pytest

from benchmarks.gradient_studies.columns import EXCHANGE_RATES, VARIANCE_RATIOS
from benchmarks.gradient_studies.report import findings, tables


def ratios(name, values, quantities=EXCHANGE_RATES, seed=None, error=0.01, **columns):
    """Return rows of one checkpoint; values: by cost."""
    common = {"study": "training", "dataset": "digits", "seed": seed, "checkpoint": "initial", "variant": name,
              "objective": "elbo", "estimator": "mine", "draws": 1}  # fmt: skip
    return [
        common | {"quantity": quantities[cost], "value": value, "low": value - error, "high": value + error} | columns
        for cost, value in values.items()
    ]


def test_a_finding_says_where_the_unit_decides():
    rows = ratios("a", {"draws": 0.5, "decoder passes": 1.5, "seconds": 1.0})
    rows += ratios("b", {"draws": 2.0, "decoder passes": 4.0, "seconds": 6.0})
    rows += ratios("exact", {"draws": 1.0, "decoder passes": 1.0}, estimator="pathwise")
    rows += ratios("a", {"draws": 0.25, "decoder passes": 1.2, "seconds": 1.0}, VARIANCE_RATIOS, against="b")
    rows += ratios("c", {"draws": 1 - 1e-6}, VARIANCE_RATIOS, error=1e-9, against="b")  # rounding
    assert findings.list_findings(tables.make_frame(rows)) == [
        "digits, a: for the variance of a pathwise gradient of elbo it needs 0.500 [0.490, 0.510] (initial) times the "
        "draws, 1.50 times the decoder passes and 1.00 times the seconds. So it is better by draws, worse by decoder "
        "passes, undecided by seconds.",
        "digits, b: for the variance of a pathwise gradient of elbo it needs 2.00 [1.99, 2.01] (initial) times the "
        "draws, 4.00 times the decoder passes and 6.00 times the seconds.",
        "digits, a against b: better by draws, worse by decoder passes, undecided by seconds.",
        "digits, c against b: undecided by draws.",
    ]


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [
        (0.5, 0.7, "better"),
        (1.5, 1.7, "worse"),
        (0.5, 1.0, "undecided"),
        (1.0, 1.5, "undecided"),
        (0.5, 1.5, "better at some checkpoints and worse at others"),
    ],
)
def test_a_verdict_needs_all_checkpoints(first, last, verdict):
    rows = ratios("a", {"draws": first}, VARIANCE_RATIOS, against="b")
    rows += ratios("a", {"draws": last}, VARIANCE_RATIOS, against="b", checkpoint="end")
    assert findings.list_findings(tables.make_frame(rows)) == [f"digits, a against b: {verdict} by draws."]


def test_findings_of_an_older_table_have_no_passes():
    rows = ratios("a", {"draws": 30.0, "seconds": 40.0})
    (sentence,) = findings.list_findings(tables.make_frame(rows))
    assert sentence.endswith("30.0 [30.0, 30.0] (initial) times the draws and 40.0 times the seconds.")


def test_a_variant_with_one_seed_is_in_the_findings_beside_means_over_seeds(tmp_path):
    rows = [row for seed, draws in ((0, 2.0), (1, 8.0)) for row in ratios("a", {"draws": draws}, seed=seed)]
    rows += ratios("b", {"draws": 3.0}, seed=0)
    tables.write_gradients(tmp_path, [{"rows": rows}])
    table = tables.read_gradients(tmp_path / "gradients.csv")
    rates = tables.select_over_seeds(table, "exchange_rate").set_index("variant")["value"]
    assert rates.to_dict() == pytest.approx({"a": 4.0, "b": 3.0})
    assert len(findings.list_findings(table)) == 2


def test_ratios_against_two_variants_are_separate_means(tmp_path):
    rows = []
    for against, values in (("b", (2.0, 8.0)), ("c", (3.0, 27.0))):
        for seed, value in enumerate(values):
            rows += ratios("a", {"draws": value}, VARIANCE_RATIOS, seed=seed, against=against)
    tables.write_gradients(tmp_path, [{"rows": rows}])
    table = tables.read_gradients(tmp_path / "gradients.csv")
    means = table[table["seed"].isna()].set_index("against")["value"]
    assert means.to_dict() == pytest.approx({"b": 4.0, "c": 9.0})
    assert len(table) == 6


def test_the_finding_on_bias_names_the_biased_variants():
    common = {"study": "training", "dataset": "digits", "quantity": "bias_z"}
    rows = [common | {"variant": name, "value": z} for name, z in (("right", 1.5), ("wrong", 9.0), ("right", 2.5))]
    biased, others = findings.list_findings(tables.make_frame(rows))
    assert ("wrong" in biased, "right" in biased, "9" in biased) == (True, False, True)
    assert "2.5" in others
