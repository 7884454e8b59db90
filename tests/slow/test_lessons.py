"""The lesson that is a program runs as a script, and all that it asserts holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_the_lesson_runs_and_leaves_its_files_in_the_temporary_folder(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    script = ROOT / "docs" / "learn" / "5-measure-it-yourself.py"
    done = subprocess.run([sys.executable, script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("vaezoo-*/variance.png"))
