"""The comparison table: text, Markdown, CSV and LaTeX; medians with ranges, means with intervals."""

import csv
import io
import math
import re
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.common.errors import UserError
from benchmarks.reporting import formats, results_table, summaries
from benchmarks.reporting.descriptions import describe_variant, shorten_source
from benchmarks.reporting.metrics import METRIC_BY_NAME
from tests.benchmarks.reporting.test_summaries import results, row

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("style", ["text", "markdown", "latex"])
def test_names_of_variants_are_escaped(style):
    table = results(row("a_b|c&d", 0, 5, elbo=-2.0))
    text = formats.render_table(summaries.summarize(table), formats.choose_metrics(["elbo"]), style)
    assert {"text": "a_b|c&d", "markdown": r"a_b\|c&d", "latex": r"a\_b|c\&d"}[style] in text


def test_the_csv_format_keeps_every_digit():
    table = results(row("a", 0, 5, elbo=-1 / 3), row("a", 1, 5, elbo=-2 / 3))
    lines = list(
        csv.DictReader(
            io.StringIO(formats.render_table(summaries.summarize(table), formats.choose_metrics(["elbo"]), "csv"))
        )
    )
    assert float(lines[0]["min"]) == -2 / 3
    assert lines[0]["unit"] == "nats/example"


def test_numbers_are_rounded_for_reading():
    variance, elbo = METRIC_BY_NAME["gradient_variance"], METRIC_BY_NAME["elbo"]
    texts = [formats.format_number(variance, v) for v in (0.0, 0.022, 0.13, 683.0, 13123.0, 6.94e16, 1e-7)]
    assert texts == ["0", "0.022", "0.13", "680", "13,000", "6.9e16", "1.0e-7"]
    assert formats.format_number(elbo, -1020.801) == "-1,020.80"
    texts = [formats.format_number(elbo, v, 4) for v in (-1020.801, -112.658, -24.537, 8.549, 0.004)]
    assert texts == ["-1,021", "-112.7", "-24.54", "8.55", "0.00"]
    assert formats.format_number(elbo, -math.inf) == "diverged"


def render_means(*rows, metric="elbo"):
    table = summaries.summarize(results(*rows))
    return formats.render_table(table, formats.choose_metrics([metric]), "text", means=True)


def test_means_have_intervals_that_the_metric_can_reach():
    """The 95 % t-interval of -1 and -2 is -1.5 ± 6.35, but all seeds are negative."""
    near = render_means(row("a", 0, 5, elbo=-100.0), row("a", 1, 5, elbo=-100.2))
    assert re.search(r"a +-100\.1\n +± 1\.27", near)
    assert "±" not in render_means(row("a", 0, 5, elbo=-1.0), row("a", 1, 5, elbo=-2.0)).split("---", 1)[1]


def test_means_on_a_log_scale_are_geometric():
    rows = [row("a", i, 5, gradient_variance=v) for i, v in enumerate((1.0, 100.0, 10.0))]
    factor = math.exp(stats.t.ppf(0.975, 2) * math.log(10) / math.sqrt(3))
    low, high = (formats.format_scientific(end) for end in (10 / factor, 10 * factor))
    assert re.search(rf"a +10\n +{low}\.\.{high}", render_means(*rows, metric="gradient_variance"))
    zero = render_means(*(row("a", i, 5, gradient_variance=0.0) for i in range(2)), metric="gradient_variance")
    assert re.search(r"a +0$", zero)


def test_the_default_table_of_the_committed_run_fits_80_columns():
    table = summaries.summarize(results_table.read_results(ROOT / "results" / "default" / "results.csv"))
    lines = formats.render_table(table, formats.choose_metrics([]), "text").splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("vae ") for line in lines) == 1


def test_arrows_point_to_the_better_values():
    header, *_ = formats.make_comparison_rows([], formats.choose_metrics(["elbo", "reconstruction_error", "kl"]), False)
    assert [title.split("\n")[0] for title in header[2:]] == ["ELBO ↑", "reconstruction error ↓", "KL"]


def test_unknown_metrics_and_formats_are_errors():
    with pytest.raises(UserError, match="did you mean elbo"):
        formats.choose_metrics(["elob"])
    with pytest.raises(UserError, match="no such format"):
        formats.render_table([], [], "html")


def test_units_are_above_the_rule_of_a_latex_table():
    table = results(row("a", 0, 5, elbo=-1.0), row("a", 1, 5, elbo=-2.0))
    text = formats.render_table(summaries.summarize(table), formats.choose_metrics(["elbo"]), "latex")
    header, units, rule, *body = text.splitlines()[3:]
    assert "ELBO" in header
    assert "nats/example" in units
    assert rule == r"\midrule"
    assert "-1.50" in body[0]
    assert "-2.00..-1.00" in body[1]
    near = summaries.summarize(results(row("a", 0, 5, elbo=-100.0), row("a", 1, 5, elbo=-100.2)))
    assert r"$\pm$ 1.27" in formats.render_table(near, formats.choose_metrics(["elbo"]), "latex", means=True)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("elbo", "pathwise", "", 1), "reparameterized"),
        (("elbo", "score_function", "leave_one_out", 2), "REINFORCE, leave-one-out baseline, 2 draws"),
        (("iwae", "doubly_reparameterized", "", 5), "doubly reparameterized, objective iwae, 5 draws"),
        (("mine", "two_pass", "", 1), "two pass, objective mine"),
    ],
)
def test_a_variant_is_described_in_a_line(fields, text):
    assert describe_variant(*fields) == text


def test_a_source_is_shortened_to_authors_and_year():
    assert shorten_source("Kool et al. 2019, Buy 4 REINFORCE samples; Mnih and Rezende 2016") == "Kool et al. 2019"
    assert shorten_source("my thesis") == "my thesis"
