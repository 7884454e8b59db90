"""What only CI runs: usage errors of `.ci/regression`, and tests that the default run leaves out.

Whether the script detects a regression is tested in tests/slow.
"""

import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.slow.test_regression_script import COMMENT, HALVED_RATE

ROOT = Path(__file__).parents[1]
LEFT_OUT = [
    f"tests.{path.parent.name}.{path.stem}"
    for name in ("slow", "faults")
    for path in (ROOT / "tests" / name).glob("*.py")
]


@pytest.mark.parametrize("module", LEFT_OUT)
def test_a_module_of_the_tests_that_are_left_out_can_be_imported(module):
    importlib.import_module(module)


def test_the_folders_of_the_tests_that_are_left_out_are_not_empty():
    assert {"tests.slow.test_coverage", "tests.faults.test_kills", "tests.faults.conftest"} <= set(LEFT_OUT)


@pytest.mark.parametrize("change", [COMMENT, HALVED_RATE], ids=["comment", "halved rate"])
def test_a_planted_change_has_its_place_in_the_code(change):
    path, old, new = change
    text = (ROOT / path).read_text()
    assert text.count(old) == 1
    compile(text.replace(old, new), path, "exec")


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


@pytest.mark.parametrize(
    ("lines", "code", "made"),
    [
        ("$ touch a && touch b\ntext\n$ touch c\n", 0, {"a", "b", "c"}),
        ("$ touch a && false && touch b\n$ touch c\n", 1, {"a"}),
        ("$ cat && touch a\n$ touch b\n", 0, {"a", "b"}),
        ("no command\n", 1, set()),
    ],
)
def test_the_commands_of_readme_run_until_one_fails(tmp_path, lines, code, made):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "readme", tmp_path / ".ci")
    (tmp_path / "README.md").write_text(lines)
    assert subprocess.run([tmp_path / ".ci" / "readme"], stdout=subprocess.DEVNULL).returncode == code
    assert {path.name for path in tmp_path.iterdir()} == {".ci", "README.md", *made}


def test_ci_runs_the_commands_of_readme():
    steps = (ROOT / ".github" / "workflows" / "ci.yml").read_text().splitlines()
    assert "      - run: .ci/readme" in steps
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line[2:] for line in readme.splitlines() if line.startswith("$ ")] == [
        "pip install -e . && python -m benchmarks run --all",
        "pip install tox && tox",
    ]
