"""The plug-ins of the pages have at most 15 lines, and work as the pages say."""

import re
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[2] / "docs"
MAX_LINES = 15


def read_plugin(page, section, folder):
    """Write the program of a section, or of the page's first lines, to a file; return its path."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    part = text.split(f"## {section}\n")[1] if section else text
    code = re.search(r"```python\n(.*?)```", part, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= MAX_LINES
    (folder / "plugin.py").write_text(code)
    return folder / "plugin.py"


@pytest.mark.parametrize(
    ("page", "section", "words", "column", "value"),
    [
        ("your-data", "A data set in a plug-in", ["vae", "--dataset", "coins"], "dataset", "coins"),
        (
            "your-architecture",
            "An architecture in a plug-in",
            ["vae", "--architecture", "normalised"],
            "architecture",
            "normalised",
        ),
        ("add-a-variant", "", ["constant-baseline"], "estimator", "constant_baseline"),
        (
            "add-a-variant",
            "An estimator for discrete latents",
            ["categorical-gapped", "--latent-dim", "20"],
            "estimator",
            "gapped_straight_through",
        ),
        ("add-a-variant", "An objective", ["annealed"], "objective", "annealed_elbo"),
        ("add-a-variant", "A reduction", ["half-iwae-dreg"], "objective", "half_iwae"),
        ("add-a-variant", "A baseline", ["reinforce-neighbour"], "baseline", "neighbour"),
    ],
)
def test_a_plug_in_of_a_page(ask, tiny, tmp_path, page, section, words, column, value):
    plugin = read_plugin(page, section, tmp_path)
    options = ["--seeds", 1, "--plugin", plugin, "--no-report", "--no-figures", "--out", tmp_path]
    done = ask("run", *words, "--preset", tiny, *options, "--name", "x")
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(tmp_path / "x" / "results.csv")
    assert set(results["status"]) == {"ok"}
    assert set(results[column]) == {value}
    if page == "add-a-variant":
        done = ask("check", words[0], "--plugin", plugin)
        assert done.returncode == 0, done.stdout
