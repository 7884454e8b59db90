"""The output that README shows is that of its command."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_the_first_look_prints_the_table_that_readme_shows(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "run",
        "--family",
        "gaussian",
        "--preset",
        "quick",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (vae,) = (line for line in block.splitlines() if line.startswith("vae "))
    (printed,) = (line for line in done.stdout.splitlines() if line.startswith("vae "))
    for quoted, measured in zip(vae.split()[1:], printed.split()[1:], strict=True):
        assert float(quoted) == pytest.approx(float(measured), abs=0.1)
    for line in block.splitlines()[:6]:
        assert line in done.stdout
