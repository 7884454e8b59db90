"""`.ci/regression`: mistakes cost nothing. What it finds is in tests/slow."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not (shutil.which("git") and (ROOT / ".git").exists()), reason="no git, or no history")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere is no commit of this clone"),
        (["HEAD", "{tmp}"], "holds base already; name another folder, or remove it"),
        (["HEAD", "/dev/null/x"], "no runs can be written to /dev/null/x"),
        (["HEAD", "{tmp}", "x"], "3 arguments, and two are understood"),
    ],
)
def test_a_mistake_is_one_line_and_touches_nothing(tmp_path, arguments, words):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "precious").touch()
    arguments = [word.format(tmp=tmp_path) for word in arguments]
    done = subprocess.run(["bash", ".ci/regression", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 64
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "base" / "precious").exists()
