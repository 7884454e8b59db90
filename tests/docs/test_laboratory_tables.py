"""The tables and sentences of the gradient studies say what the pages say of them, from a table with known values."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from benchmarks.gradient_studies.columns import CHECKPOINTS
from benchmarks.gradient_studies.report import findings, tables
from benchmarks.gradient_studies.report.one_dimension import find_lower_score
from docs import laboratory_tables
from tests.benchmarks.gradient_studies.report.test_drawn_studies import make_row

VARIANCES, MINIBATCH = (2.0, 8.0, 32.0), (100.0, 400.0, 1600.0)  # geometric means 8 and 400
RATES = (10.0, 20.0, 40.0)


def make_rows():
    for seed in range(3):
        for checkpoint in CHECKPOINTS:
            columns = {"seed": seed, "checkpoint": checkpoint}
            for name, factor in (("vae", 1), ("reinforce", 10), ("reinforce-2", 0)):
                yield make_row("training", name, "variance", factor * VARIANCES[seed], **columns)
                yield make_row("training", name, "variance", 1e9, **columns, layer="trunk.0")
            yield make_row("training", "vae", "variance", MINIBATCH[seed], **columns, part="minibatch")
            for name, snr in (("vae", 0.5 + seed), ("reinforce", -0.01)):
                yield make_row("training", name, "snr", snr, **columns)
                yield make_row("training", name, "snr_floor", 0.12, **columns)
            yield make_row("training", "vae", "cosine", 0.2 * seed, **columns)
            yield make_row("training", "vae", "variance_x_passes", 3 * VARIANCES[seed], **columns)
            flag = "kurtosis" if (checkpoint, seed) == ("middle", 1) else ""
            rate = RATES[seed] * (1 + CHECKPOINTS.index(checkpoint))
            yield make_row("training", "reinforce", "exchange_rate", rate, **columns, flag=flag)
            yield make_row("training", "reinforce-2", "exchange_rate", 1e6, **columns)
        for name, z in (("vae", 4.0 + seed / 10), ("iwae", 5.5), ("better", -80.0)):
            yield make_row("training", name, "bias_z", z, seed)
        for k, values in ((0.5, (1.0, 2.0)), (1.0, (3.0, 2.5)), (4.0, (9.0, 0.5))):
            for estimator, value in zip(("pathwise", "score_function"), values, strict=True):
                columns = {"estimator": estimator, "setting_value": k}
                yield make_row("counter-example", "closed form", "variance", value, seed, **columns)
        for scale in (1.0, 10.0):
            yield make_row("posterior-scale", "vae", "variance", scale ** (1 + seed / 10), seed, setting_value=scale)
            yield make_row("draws", "vae", "snr", scale**0.5, seed, setting_value=scale)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    tables.write_gradients(folder, [{"rows": list(make_rows())}])
    return tables.read_gradients(folder / "gradients.csv")


def read_cells(text):
    """The cells of a Markdown table, by the first cell of their row (or the first two) and by column."""
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return {(*(row[: 2 if header[1] == "checkpoint" else 1]), name): cell
            for row in rows for name, cell in zip(header, row, strict=True)}  # fmt: skip


def test_exchange_rates_have_t_intervals_and_a_mark_for_heavy_tails(table):
    cells = read_cells(laboratory_tables.exchange_markdown(table))
    interval = np.exp(stats.t.interval(0.95, 2, np.mean(np.log(RATES)), stats.sem(np.log(RATES))))
    for i, checkpoint in enumerate(CHECKPOINTS, 1):
        cell = cells["`reinforce`", checkpoint]
        numbers = [float(word.replace(",", "")) for word in re.findall(r"\d[\d,]*\.?\d*", cell)]
        assert numbers == pytest.approx([i * 20, *(i * interval)], rel=0.005)
        assert cell.endswith("†") == (checkpoint == "middle")


def test_parts_are_geometric_means_and_a_ratio_below_the_limit_is_not_given(table):
    cells = read_cells(laboratory_tables.parts_markdown(table))
    assert {key[1] for key in cells} == {"initial", "end"}
    vae, reinforce, silent = (
        [cells[f"`{name}`", "end", column] for column in ("latent noise", "minibatch", "signal-to-noise", "cosine")]
        for name in ("vae", "reinforce", "reinforce-2")
    )
    assert vae == ["8.00", "400", "1.50", "0.200"]
    assert reinforce == ["80.0", "", "< 0.12", ""]
    assert silent == ["0", "", "", ""]
    assert cells["`vae`", "initial", "variance x passes"] == "24.0"


def test_slopes_have_a_column_for_each_study_and_a_t_interval(table):
    cells = read_cells(laboratory_tables.slopes_markdown(table))
    low, high = stats.t.interval(0.95, 2, 1.1, stats.sem([1.0, 1.1, 1.2]))
    assert cells["`vae`", "posterior-scale: variance"] == f"1.10 [{low:.3f}, {high:.2f}]"
    assert cells["`vae`", "draws: signal-to-noise"] == "0.500 [0.500, 0.500]"


def test_findings_name_the_rates_the_biases_and_the_first_frequency(table):
    exchange, other, biased, unbiased, frequency = findings.list_findings(table)
    assert exchange.startswith("digits, reinforce: for the variance of a pathwise gradient of elbo it needs 20.0 [")
    assert "] (initial), 40.0 [" in exchange
    assert "] (middle, heavy tails), 80.0 [" in exchange
    assert other.startswith("digits, reinforce-2: ")
    assert biased.endswith("of the same objective: iwae (6 standard errors).")
    assert "at most 4.2 standard errors for all other variants" in unbiased
    assert "k from 1 on" in frequency
    assert find_lower_score(table) == "For f(z) = cos(kz), REINFORCE has the lower variance from k = 1 on"
    assert "0.500 and 9.00 at k = 4" in frequency


def test_bold_is_the_rate_that_the_validation_split_chose():
    rows = [make_row("training", "vae", "variance_x_passes", value, seed) for seed, value in enumerate(VARIANCES)]
    for rate, value, flag in ((0.001, -110.0, "best"), (0.01, -105.0, ""), (0.1, math.nan, "diverged")):
        for part in ("validation", "test"):
            columns = {"part": part, "parameters": "", "setting_value": rate, "flag": flag}
            rows.append(make_row("learning-rate", "vae", "elbo", value, None, low=value - 1, high=value + 2, **columns))
    cells = read_cells(laboratory_tables.trained_markdown(tables.make_frame(rows)))
    assert cells["`vae`", "0.001"] == "**-110.0 [-111.0, -108.0]**"
    assert cells["`vae`", "0.01"] == "-105.0 [-106.0, -103.0]"
    assert cells["`vae`", "0.1"] == "diverged"
    assert cells["`vae`", "variance x passes, middle"] == "8.00"
