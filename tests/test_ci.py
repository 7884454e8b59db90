"""`.ci/regression`: usage errors. Whether it detects a regression is tested in tests/slow."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not (shutil.which("git") and (ROOT / ".git").exists()), reason="no git, or no history")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere is not a commit of this clone"),
        (["HEAD", "{tmp}"], "/base exists already; remove it, or choose another folder"),
        (["HEAD", "/dev/null/x"], "can't create folder /dev/null/x"),
        (["HEAD", "{tmp}", "x"], "3 arguments given, but at most 2 are allowed"),
    ],
)
def test_usage_error_is_one_line_and_changes_nothing(tmp_path, arguments, words):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "precious").touch()
    arguments = [word.format(tmp=tmp_path) for word in arguments]
    done = subprocess.run(["bash", ".ci/regression", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 64
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "base" / "precious").exists()
