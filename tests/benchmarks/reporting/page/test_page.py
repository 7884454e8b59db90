"""The page of a run: its data are those of the file, it sends no request, and it says what it lacks."""

import base64
import gzip
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparison import run_comparison, verdict_tables
from benchmarks.reporting import csv_tables, results_table, summaries
from benchmarks.reporting.page import contents, document, pictures, sentences
from tests.benchmarks.synthetic_runs import lose_seeds, make_results

HOSTILE = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The parsed page: elements with their attributes, the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.lasttag == "script" and len(self.scripts) < sum(tag == "script" for tag, _ in self.elements):
            self.scripts.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])


def write(results, folder, **extras):
    path = folder / "results.csv"
    if not path.exists():
        csv_tables.write_table(path, list(results.columns), results.to_dict("records"))
    document.write_page(results, path, folder / "report.html", contents.Extras(**extras))
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def read_rows(page):
    return gzip.decompress(base64.b64decode(page.data["csv"]))


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    results = results_table.read_results(finished.folder / "results.csv")
    target = tmp_path_factory.mktemp("page") / "report.html"
    document.write_page(results, finished.folder / "results.csv", target, contents.Extras())
    return Page(target.read_text(encoding="utf-8"))


def test_its_rows_are_the_bytes_of_results_csv(page, finished):
    assert read_rows(page) == (finished.folder / "results.csv").read_bytes()


def test_a_run_writes_the_same_bytes(page, finished, tmp_path):
    results = results_table.read_results(finished.folder / "results.csv")
    document.write_page(results, finished.folder / "results.csv", tmp_path / "again.html", contents.Extras())
    assert (tmp_path / "again.html").read_bytes() == (finished.folder / "report.html").read_bytes()


def test_it_sends_no_request_and_runs_only_its_own_scripts(page):
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    for script in page.scripts[1:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
        assert not any(name.startswith("on") for name in attributes)


def test_it_has_pictures_of_each_variant_and_seed(page):
    blocks = [a for _, a in page.elements if "data-picture" in a]
    assert [[name, seeds] for name, seeds in page.data["pictured"]]
    assert len(blocks) == sum(len(seeds) for _, seeds in page.data["pictured"])


def test_codes_have_circles_where_the_prior_is_a_standard_normal(finished):
    results = results_table.read_results(finished.folder / "results.csv")
    arrays = pictures.read_pictures(results, finished.folder)
    names = list(arrays)
    assert {"vae", "autoencoder", "bernoulli-loo"} <= set(names)
    for variant, rows in results[results["variant"].isin(names)].groupby("variant"):
        is_normal = set(rows["prior"].dropna()) <= {"standard-normal"}
        html = pictures.render_block(str(variant), 0, arrays[variant][0])
        assert html.count("<circle ") == (2 if is_normal else 0), variant


def test_published_values_are_data_of_the_page(finished, tmp_path):
    results = results_table.read_results(finished.folder / "results.csv")
    line = {"metric": "elbo", "variant": "vae", "value": -20.0, "label": "published"}
    extras = contents.Extras(published=[line])
    target = tmp_path / "page.html"
    document.write_page(results, finished.folder / "results.csv", target, extras)
    assert Page(target.read_text(encoding="utf-8")).data["published"] == [line]


def test_scripts_of_the_project_are_short():
    lines = [line for name in document.SCRIPTS[-1] for line in (document.TEMPLATE / name).read_text().splitlines()]
    assert len(lines) < 300
    assert max(map(len, lines)) <= 150


def test_texts_of_results_are_escaped(tmp_path):
    results = make_results((HOSTILE, "vae"), error=HOSTILE, commit=HOSTILE, processor="</script>" + HOSTILE)
    page = write(results, tmp_path)
    assert not any(tag == "img" for tag, _ in page.elements)
    assert set(page.data["variants"]) == {HOSTILE, "vae"}
    assert len(page.scripts) == 1 + len(document.SCRIPTS)


RUNS = {
    "one cell": make_results(seeds=[0]),
    "all seeds diverged": lose_seeds(make_results(), range(5), "diverged"),
    "one checkpoint": make_results()[lambda rows: rows["epoch"] == 0],
    "no ELBO": make_results().assign(elbo=np.nan, kl=np.nan, log_likelihood=np.nan),
    "no metric": make_results().assign(status="failed", **dict.fromkeys(["elbo", "kl", "log_likelihood"], np.nan)),
    "two data sets": pd.concat([make_results(), make_results(dataset="digits", cell_id="x")]),
}


@pytest.mark.parametrize("results", RUNS.values(), ids=RUNS)
def test_an_incomplete_run_has_a_page_that_says_what_it_lacks(results, tmp_path):
    page = write(results, tmp_path)
    assert page.data["variants"].keys() == {"vae"}
    assert "This run has no pictures" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_of_a_large_run_curves_are_quantiles_and_the_last_rows_are_whole(tmp_path):
    results = make_results(("vae", "iwae"), seeds=range(300), draws=1.0, batch_size=100.0, step=3.0, train_seconds=1.0)
    page = write(results, tmp_path)
    rows = pd.read_csv(io.BytesIO(read_rows(page)), dtype={"seed": str})
    quantiles = rows[rows["seed"].isin(page.data["quantiles"])]
    exact = results[results["variant"] == "vae"].groupby("epoch")["elbo"].median()
    medians = quantiles[(quantiles["variant"] == "vae") & (quantiles["seed"] == "median")].set_index("epoch")["elbo"]
    assert medians.to_dict() == pytest.approx(exact.to_dict(), rel=1e-12)
    last = rows[~rows["seed"].isin(page.data["quantiles"])].astype({"seed": float}).sort_values(["variant", "seed"])
    final = results[results["epoch"] == 3].sort_values(["variant", "seed"])
    assert last["elbo"].tolist() == final["elbo"].tolist()
    assert (tmp_path / "report.html").stat().st_size < 3e6


def test_verdicts_are_those_of_compare(tmp_path):
    base, new = make_results(seeds=range(20)), make_results(seeds=range(20), elbo=-95.0)
    verdicts = run_comparison.compare_runs(base, new)
    listed = verdict_tables.describe_for_page(
        verdicts, [verdict_tables.describe_side(tmp_path, r) for r in (base, new)]
    )
    page = write(new, tmp_path, verdicts=listed)
    expected = json.loads(verdict_tables.render_verdicts(verdicts, "json"))["verdicts"]
    key = ("variant", "metric", "verdict", "difference", "low", "high")
    assert sorted(str([v[k] for k in key]) for v in listed["list"]) == sorted(
        str([v[k] for k in key]) for v in expected
    )
    rows = [a for _, a in page.elements if "data-verdict" in a]
    assert sorted(a["data-verdict"] for a in rows) == sorted(v["verdict"] for v in expected)
    assert re.search("regressed", " ".join(page.data["verdicts"]))


def test_the_best_variant_is_significant_only_if_the_interval_excludes_0(tmp_path):
    rows = pd.concat([make_results(("a",), elbo=-90), make_results(("b",), elbo=-95, seed=1)])
    texts = sentences.list_sentences(rows, summaries.summarize(rows), contents.Extras())
    assert any("best median ELBO is that of a" in s and s.endswith(", significant.") for s in texts)
    rows = pd.concat([make_results(("a",), spread=5), make_results(("b",), spread=5, seed=1)])
    texts = sentences.list_sentences(rows, summaries.summarize(rows), contents.Extras())
    assert any(s.endswith("not significant.") for s in texts)


def test_the_command_of_a_seed_has_the_options_of_the_run():
    command = ["run", "vae", "--name", "x", "--preset=quick", "--seeds", "3", "--learning-rate", "0.1"]
    assert contents.describe_options(command) == " --preset quick --learning-rate 0.1"
