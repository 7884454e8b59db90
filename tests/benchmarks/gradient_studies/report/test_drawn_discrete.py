"""The figures and the table of discrete latents show the numbers of gradients.csv."""

import numpy as np
import pytest

from benchmarks.gradient_studies.report import findings, tables
from benchmarks.gradient_studies.report.discrete import figures, selections
from benchmarks.reporting.figures.looks import assign_looks
from docs import laboratory_tables

COMMON = {"study": "discrete", "dataset": "digits", "checkpoint": "end", "objective": "elbo", "parameters": "encoder",
          "layer": "", "part": "latent", "batch_size": 50, "setting": "latent_dim"}  # fmt: skip
NUMBERS = {  # passes, squared bias and variance, each with its error, z-score of the bias, cosine
    "bernoulli-st": (1, (4.0, 0.5), (2.0, 0.1), 30.0, 0.4),
    "bernoulli-loo": (2, (0.1, 0.2), (9.0, 0.3), 1.0, 0.3),
    "bernoulli-disarm": (2, (-0.1, 0.2), (7.0, 0.3), -0.5, 0.35),
}
COSTS = {"bernoulli-st": 0.05, "bernoulli-loo": 1.0, "bernoulli-disarm": 0.8}
LOOKS = assign_looks(list(NUMBERS))


def make_rows():
    rows = []
    for seed in (0, 1):
        for variant, (passes, bias, variance, z, cosine) in NUMBERS.items():
            common = COMMON | {"variant": variant, "seed": seed, "passes": passes}
            small = {"latent_dim": 10, "setting_value": 10}
            error = (bias[0] + variance[0], np.hypot(bias[1], variance[1]))
            for quantity, (value, se) in {
                "squared_bias": bias, "variance": variance, "mean_squared_error": error, "cosine": (cosine, 0.01),
                "bias_z": (z, np.nan), "exchange_rate_passes": (3.0, 0.1),
            }.items():  # fmt: skip
                rows.append(common | small | {"quantity": quantity, "value": value, "se": se})
            large = {"latent_dim": 200, "setting_value": 200}
            rows.append(common | large | {"quantity": "variance", "value": 5.0, "se": 0.1})
            cost = COSTS[variant] * (1 + seed)  # their geometric mean is COSTS times the root of 2
            rows.append(common | large | {"quantity": "exchange_rate_passes", "value": cost, "se": 0.1})
    for variant, value in COSTS.items():
        over_seeds = {"quantity": "exchange_rate_passes", "value": value, "low": value / 2, "high": value * 2}
        for latents, factor in ((10, 3.0), (200, 1.0)):
            columns = {"latent_dim": latents, "setting_value": latents, "variant": variant, "seed": None}
            scaled = {k: v * factor for k, v in over_seeds.items() if k != "quantity"}
            rows.append(COMMON | columns | over_seeds | scaled)
    return tables.make_frame(rows)


def test_errors_are_means_over_seeds_and_sorted():
    errors = selections.summarize_errors(selections.select_trained(make_rows()))
    assert errors["variant"].tolist() == ["bernoulli-st", "bernoulli-disarm", "bernoulli-loo"]
    assert errors["mean_squared_error"].tolist() == pytest.approx([6.0, 6.9, 9.1])
    assert errors["squared_bias_se"].iloc[0] == pytest.approx(0.5 / 2**0.5)
    assert errors["is_biased"].tolist() == [True, False, False]


def test_a_bias_that_is_not_seen_is_an_upper_limit():
    figure = figures.draw_discrete(make_rows(), LOOKS)["discrete"]
    left = figure.axes[0]
    values = [line.get_xdata()[0] for line in left.lines if line.get_marker() in ("D", 8)]
    limits = [0.1 + 1.96 * 0.2 / 2**0.5, -0.1 + 1.96 * 0.2 / 2**0.5]
    assert sorted(values) == pytest.approx(sorted([4.0, *limits]))
    assert [text.get_text() for text in left.get_yticklabels()] == [
        "bernoulli-st (1)", "bernoulli-disarm (2)", "bernoulli-loo (2)"
    ]  # fmt: skip
    assert "bernoulli-st has the smallest error, bernoulli-disarm the smallest without bias" in (
        figure.get_suptitle().replace("\n", " ")
    )


def test_costs_are_those_of_the_large_model():
    costs = selections.select_costs(selections.select_trained(make_rows())).set_index("variant")
    assert costs["value"].to_dict() == COSTS
    right = figures.draw_discrete(make_rows(), LOOKS)["discrete"].axes[1]
    points = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    assert points == sorted(COSTS.values())


def test_table_and_finding():
    table = laboratory_tables.discrete_markdown(make_rows())
    assert (
        "| `bernoulli-st` | 1 | 4.00 ± 0.693 | 2.00 ± 0.139 | 6.00 ± 0.707 | 0.400 | 0.0500 [0.0250, 0.100] |" in table
    )
    assert "| `bernoulli-disarm` | 2 | < 0.177 | 7.00 ± 0.416 |" in table
    (sentence,) = [text for text in findings.list_findings(make_rows()) if "mean squared error" in text]
    assert "bernoulli-st 6.00 (biased), bernoulli-disarm 6.90, bernoulli-loo 9.10." in sentence
