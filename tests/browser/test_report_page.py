"""The page of a run in a real browser: Chromium without a network, from a file."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pandas as pd
import pytest

from benchmarks.reporting import results_table
from benchmarks.reporting.page import document
from benchmarks.reporting.page.contents import Extras
from vaezoo import VARIANTS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
PANELS = ("table", "curves", "noise", "pictures", "seeds", "cost", "verdicts", "lesson")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Return the address of the page of the committed run, with gradient studies and verdicts."""
    target = tmp_path_factory.mktemp("browser") / "report.html"
    command = [sys.executable, "-m", "benchmarks", "report", "results/default", "--laboratory", "results/gradients"]
    command += ["--against", "results/default", "--out", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    return target.as_uri()


@pytest.fixture(scope="module")
def chromium():
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("there is no Chromium; name one in the variable CHROMIUM")
    with playwright.sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, address):
    """Return a function that opens the page at a fragment. At the end there must be no error and no request."""
    problems, contexts = [], []

    def open_(fragment="", width=1280, page_address=address, **options):
        context = chromium.new_context(offline=True, viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: None if re.match("file:|data:|blob:", r.url) else problems.append(r.url))
        page.goto(page_address + fragment)
        page.wait_for_selector("#selection button")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []


def count_lines(page, panel):
    """Return the number of medians that a panel draws."""
    return page.locator(f"#{panel} .chart > svg > g[aria-label=line]").nth(1).locator("path[stroke]").count()


def test_every_panel_draws(open_page):
    page = open_page()
    for panel in PANELS:
        assert page.locator(f"#{panel} :is(svg, table)").count() > 0, panel
    assert page.locator("#pictures [data-picture]:visible img").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_sideways(open_page, width, scheme):
    page = open_page("#f=cosine", width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_hides_and_a_double_click_isolates_in_all_panels(open_page):
    page = open_page()
    before = count_lines(page, "curves")
    page.click("[data-name=reinforce-vae]")
    page.wait_for_url(re.compile("show"))
    assert count_lines(page, "curves") == before - 1
    assert page.locator("#table tbody tr", has_text=re.compile("^reinforce-vae$")).count() == 0
    assert page.locator("#minute [data-variant=reinforce-vae]").is_hidden()
    page.dblclick("[data-name=vae]")
    page.wait_for_url(re.compile("show=vae$"))
    assert [count_lines(page, panel) for panel in ("curves", "cost")] == [1, 1]
    assert page.locator("#table tbody tr").count() == 1


def test_the_keyboard_isolates(open_page):
    page = open_page()
    page.focus("[data-name=vae]")
    page.keyboard.press("i")
    page.wait_for_url(re.compile("show=vae"))
    assert page.evaluate("document.activeElement.dataset.name") == "vae"


def test_the_fragment_restores_a_view(open_page):
    page = open_page()
    page.select_option("#curves select >> nth=0", "kl")
    page.wait_for_url(re.compile("metric=kl"))
    page.select_option("#table select >> nth=1", "vae")
    page.wait_for_url(re.compile("base=vae"))
    fragment = "#" + urlsplit(page.url).fragment
    assert parse_qs(fragment[1:]) == {"metric": ["kl"], "base": ["vae"]}
    again = open_page(fragment)
    assert again.locator("#table").inner_text() == page.locator("#table").inner_text()
    drawings = [
        re.sub("plot-(clip|marker)-[0-9]+", "", p.locator("#curves .chart").inner_html()) for p in (page, again)
    ]
    assert drawings[0] == drawings[1]


def read_table(page):
    """Return the numbers of the table by variant: for each metric the value and both ends."""
    rows = page.eval_on_selector_all("#table tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText))")
    return {
        name: [[float(x.replace(",", "")) for x in re.split(r"\n|\.\.", cell)] if cell else None for cell in cells]
        for name, *cells in rows
    }


def test_the_table_has_medians_and_paired_differences(open_page):
    rows = pd.read_csv(ROOT / "results" / "default" / "results.csv")
    elbo = rows[rows["epoch"] == 40].pivot_table(index="seed", columns="variant", values="elbo")
    table = read_table(open_page("#show=vae+reinforce-vae&columns=elbo"))
    for name in ("vae", "reinforce-vae"):
        assert table[name][0] == pytest.approx([elbo[name].median(), elbo[name].min(), elbo[name].max()], abs=0.0051)
    table = read_table(open_page("#show=vae+reinforce-vae&columns=elbo&base=vae"))
    difference = elbo["reinforce-vae"] - elbo["vae"]
    half = 2.7764451 * difference.std() / 5**0.5  # t quantile of 4 degrees of freedom
    expected = [difference.mean(), difference.mean() - half, difference.mean() + half]
    assert table["reinforce-vae"][0] == pytest.approx(expected, abs=0.0051)


def test_a_saved_table_has_the_bytes_of_the_file(open_page):
    page = open_page()
    with page.expect_download() as download:
        page.click("#download button")
    saved = Path(download.value.path()).read_bytes()
    assert saved == (ROOT / "results" / "default" / "results.csv").read_bytes()


@pytest.mark.parametrize("style", ["Markdown", "LaTeX", "CSV"])
def test_a_copied_table_has_every_variant(open_page, style):
    page = open_page()
    page.click(f"text=Copy as {style}")
    text = page.input_value("#table textarea")
    assert "vae-blocked" in text
    if style == "CSV":
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1


def test_dragging_zooms_and_a_double_click_shows_all(open_page):
    page = open_page()
    page.locator("#curves").scroll_into_view_if_needed()
    box = page.locator("#curves .chart svg").first.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 200, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile("zoom"))
    page.locator("#curves .chart svg .overlay").dblclick()
    page.wait_for_url(re.compile("#$"))


@pytest.mark.parametrize(("f", "variances"), [("square", (4, 87)), ("cosine", (8, 0.5))])
def test_the_lesson_measures_the_closed_forms(open_page, f, variances):
    page = open_page(f"#n=100000&f={f}")
    rows = page.eval_on_selector_all("#lesson tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText))")
    for (_, _, measured, exact), variance in zip(rows, variances, strict=True):
        assert float(exact) == pytest.approx(variance, rel=1e-3)
        assert float(measured) == pytest.approx(variance, rel=0.05)
    assert page.locator("[aria-label='exact variance of one draw by k']").count() == (f == "cosine")


def test_print_gives_a_page_to_each_panel(open_page):
    page = open_page()
    pdf = page.pdf()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 1 + len(PANELS)


def test_without_scripts_there_are_table_and_figures(open_page, chromium, address):
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#table tbody tr").count() == len(VARIANTS)
    assert page.locator("noscript img, main > noscript ~ img, figure > img[alt=hero]").count() >= 1
    context.close()


def test_a_saved_chart_has_a_visible_caption_with_the_commit(open_page, tmp_path):
    page = open_page()
    with page.expect_download() as download:
        page.click("#curves button:has-text('Save SVG')")
    svg = ElementTree.fromstring(Path(download.value.path()).read_text(encoding="utf-8"))
    texts = [node.text for node in svg.findall("{http://www.w3.org/2000/svg}text")]
    commit = pd.read_csv(ROOT / "results" / "default" / "results.csv")["commit"].iloc[0]
    assert commit in " ".join(texts)
    assert {"vae", "reinforce-vae-loo"} <= set(texts)
    page.goto(Path(shutil.copy(download.value.path(), tmp_path / "saved.svg")).as_uri())
    corners = "nodes => nodes.map(n => n.getBBox()).map(b => [b.x, b.x + b.width, b.y + b.height])"
    width, height = map(float, svg.get("viewBox").split(",")[2:])
    for left, right, bottom in page.eval_on_selector_all("svg > text", corners):
        assert 0 <= left < right <= width
        assert bottom <= height


def test_published_values_are_dashed_lines(open_page, tmp_path):
    path = ROOT / "results" / "default" / "results.csv"
    published = [
        {"metric": metric, "variant": "vae", "value": -100.0, "label": f"vae, published: {metric}"}
        for metric in ("elbo", "log_likelihood")
    ]
    document.write_page(results_table.read_results(path), path, tmp_path / "page.html", Extras(published=published))
    page = open_page(page_address=(tmp_path / "page.html").as_uri())
    assert page.locator("#curves svg text", has_text="published").all_text_contents() == ["vae, published: elbo"]
    assert page.locator("#curves svg line[stroke-dasharray='5'], #curves svg g[stroke-dasharray='5'] line").count() == 1
