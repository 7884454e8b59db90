"""The plug-ins of the pages work as the pages say."""

import re
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "words", "column", "value"),
    [
        ("your-data", ["--dataset", "coins"], "dataset", "coins"),
        ("your-architecture", ["--architecture", "normalised"], "architecture", "normalised"),
    ],
)
def test_a_plug_in_of_a_page(command, tiny, tmp_path, page, words, column, value):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "plugin.py").write_text(code)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    options = ["--seeds", 1, "--plugin", tmp_path / "plugin.py", "--no-report", "--no-figures", "--out", tmp_path]
    done = command("run", "vae", "--preset", tiny, *words, *options, "--name", "x")
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(tmp_path / "x" / "results.csv")
    assert set(results["status"]) == {"ok"}
    assert set(results[column]) == {value}
