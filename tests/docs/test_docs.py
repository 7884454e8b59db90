"""The docs: generated tables are current, links and file names exist, numbers are those of the committed results."""

import contextlib
import re
import statistics
import tomllib
from pathlib import Path

import pytest

from benchmarks.gradient_studies.report import tables
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.gradient_studies.trained_models import TRAINED_STUDIES
from benchmarks.planning import settings
from docs import fill
from vaezoo import VARIANTS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs"
PAGE = (FOLDER / "variants.md").read_text()


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (FOLDER / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", fill.PAGES, ids=lambda page: page.stem)
def test_its_numbers_and_tables_are_those_of_the_committed_results(page):
    text = page.read_text()
    assert fill.fill_page(text) == text, "run python -m docs.fill"


def test_a_stale_number_and_a_stale_table_are_found():
    number = "ELBO <!-- vae.elbo -->-99.9<!-- / -->"
    assert fill.fill_page(number) == f"ELBO <!-- vae.elbo -->{fill.compute_numbers()['vae.elbo']}<!-- / -->" != number
    table = "<!-- results -->\n| old |\n<!-- end -->\n"
    assert "| old |" not in fill.fill_page(table)
    with pytest.raises(KeyError):
        fill.fill_page("<!-- vae.elbow -->-99.9<!-- / -->")


def test_numbers_in_prose_are_medians_over_seeds():
    rows = fill.read_run("default")
    final = rows[(rows["epoch"] == 40) & (rows["variant"] == "vae")]
    numbers = fill.compute_numbers()
    assert float(numbers["vae.elbo"]) == pytest.approx(statistics.median(final["elbo"]), abs=0.0501)
    assert float(numbers["vae.elbo.min"]) == pytest.approx(final["elbo"].min(), abs=0.0501)
    assert float(numbers["vae.loss.seed0"]) == pytest.approx(-final[final["seed"] == 0]["elbo"].iloc[0], abs=0.000501)
    parts = (float(numbers[f"vae.{name}.seed0"]) for name in ("reconstruction_error", "kl"))
    assert sum(parts) == pytest.approx(float(numbers["vae.loss.seed0"]), abs=0.00101)


def test_the_advice_names_every_variant():
    advice = PAGE.split("## When to choose which")[1].split("\n## ")[0]
    for v in VARIANTS:
        assert f"`{v.name}`" in advice, v.name


@pytest.mark.parametrize("page", fill.PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https://)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_plug_in_passes_check_and_fails_without_the_decoders_gradient(tmp_path, ask):
    plugin = tmp_path / "mine.py"
    (code,) = (code for code in blocks("add-a-variant.md", "python") if "constant-baseline" in code)
    plugin.write_text(code)
    check = ("check", "constant-baseline", "--plugin", plugin)
    assert ask(*check).returncode == 0
    plugin.write_text(code.replace("reduction.value(log_w)", "reduction.value(log_w).detach()"))
    done = ask(*check)
    assert done.returncode == 1
    assert "FAIL  bias of the decoder's gradient" in done.stdout


CODE = [code for page in ("add-a-variant.md", "columns.md") for code in blocks(page, "python")]


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.split("\n")[0])
def test_its_code_runs(code, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(compile(code, "docs", "exec"), {})


def test_its_preset_is_valid(tmp_path):
    (text,) = blocks("commands.md", "toml")
    (tmp_path / "my.toml").write_text(text)
    assert settings.load_settings(str(tmp_path / "my.toml"), {}).seeds == tuple(tomllib.loads(text)["seeds"])


def test_the_code_of_a_lesson_prints_what_the_lesson_says(capsys):
    """The output blocks of lesson 4, and of lesson 3 without its error message."""
    for page, texts in (("learn/4-without-the-trick.md", 1), ("learn/3-the-trick.md", 3)):
        names = {}
        for code in blocks(page, "python"):
            with contextlib.suppress(RuntimeError):  # lesson 3 shows the error
                exec(compile(code, page, "exec"), names)
        printed = capsys.readouterr().out
        expected = blocks(page, "text")
        assert len(expected) == texts
        for line in "".join(expected).splitlines():
            assert line in printed or line.startswith("RuntimeError"), line


def test_the_files_that_the_architecture_names_exist():
    names = re.findall(r"`((?:vaezoo|benchmarks|tests)/[\w/.]+)`", (FOLDER / "architecture.md").read_text())
    assert len(names) > 20
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_glossary_is_short_and_sorted():
    terms = re.findall(r"^\| ([^|]+) \|", (FOLDER / "glossary.md").read_text(), re.MULTILINE)[1:]
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) <= 40


@pytest.fixture(scope="module")
def laboratory():
    return tables.read_gradients(ROOT / "results" / "gradients" / "gradients.csv")


def test_the_committed_laboratory_is_whole(laboratory):
    training = laboratory[laboratory["study"] == "training"]
    by_default = {name for name, study in STUDIES.items() if study.is_default}
    assert set(laboratory["study"]) == by_default | {*TRAINED_STUDIES}
    assert training["seed"].nunique() == 5
    assert training["repeats"].dropna().min() >= 1000
    assert {v.name for v in VARIANTS if not v.latent_dim} - {"autoencoder"} <= set(training["variant"])
    discrete = laboratory[laboratory["study"] == "discrete"]
    assert {v.name for v in VARIANTS if v.latent_dim} <= set(discrete["variant"])
    for study in set(laboratory["study"]) - {"training"}:
        assert laboratory[laboratory["study"] == study]["seed"].nunique() >= 3


def test_reinforce_needs_more_than_a_hundred_thousand_draws_and_leave_one_out_fewer_than_a_hundred(laboratory):
    rates = tables.select_over_seeds(laboratory[laboratory["study"] == "training"], "exchange_rate")
    rates = rates[rates["checkpoint"] == "initial"].set_index("variant")
    assert rates["low"]["reinforce-vae"] > 1e5
    assert rates["high"]["reinforce-vae-loo"] < 100
