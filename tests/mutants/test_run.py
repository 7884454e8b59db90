"""The runner of the mutants: its selection, its verdicts, and its figures."""

import subprocess

import pytest

from tests.mutants import run
from tests.mutants.run import Mutant, exceeds_limit, mirrored_folder, plant, report, select_mutants

MUTANTS = [
    Mutant("vaezoo/a.py", "x + 1", "x - 1", ("tests/test_a.py",), "The sign is wrong."),
    Mutant("vaezoo/a.py", "x + 1", "1 + x", ("tests/test_a.py",), "The terms are exchanged.", "A sum has no order."),
    Mutant("benchmarks/b.py", "y", "z", ("tests/test_b.py",), "The column is that of z."),
]


def test_mutants_are_selected_by_text_order_and_number():
    assert select_mutants(MUTANTS, "", None, None) == MUTANTS
    assert select_mutants(MUTANTS, "vaezoo/", None, 1) == MUTANTS[:1]
    assert select_mutants(MUTANTS, "column", None, None) == MUTANTS[2:]
    many = MUTANTS * 10
    assert select_mutants(many, "", 3, None) != many
    assert select_mutants(many, "", 3, 5) == select_mutants(many, "", 3, None)[:5]


def test_a_mistake_must_fit_once():
    assert plant("return x + 1\n", MUTANTS[0]) == "return x - 1\n"
    for source in ("return x\n", "return x + 1 + x + 1\n"):
        with pytest.raises(ValueError, match=r"vaezoo/a\.py contains 'x \+ 1' [02] times, but must contain it once"):
            plant(source, MUTANTS[0])


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("vaezoo/models.py", "tests/vaezoo"),
        ("vaezoo/gradients/spread.py", "tests/vaezoo/gradients"),
        ("benchmarks/runs/runner.py", "tests/benchmarks/runs"),
        ("benchmarks/comparison/power/resampling.py", "tests/benchmarks/comparison"),
        ("benchmarks/preload.py", "tests/benchmarks"),
    ],
)
def test_tests_mirror_the_code(file, folder):
    assert mirrored_folder(file) == folder


def test_three_of_a_hundred_may_survive():
    assert not exceeds_limit(3, 100)
    assert exceeds_limit(4, 100)
    assert not exceeds_limit(0, 0)


def test_the_report_counts_no_equivalent_mutant():
    lines = report(MUTANTS, [], MUTANTS[2:], 125.0).splitlines()
    assert lines[-1] == "3 mutants in 2 min: 1 noticed, 1 survived, 1 equivalent"
    assert "equivalent: vaezoo/a.py: The terms are exchanged. Reason: A sum has no order." in lines
    assert "survived: benchmarks/b.py: The column is that of z." in lines


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with both packages, whose only test takes for ever if a number is negative."""
    files = {
        "vaezoo/__init__.py": "",
        "benchmarks/__init__.py": "",
        "vaezoo/a.py": "def add(x):\n    return x + 1\n",
        "test_a.py": "import time\nfrom vaezoo.a import add\n"
        "def test_a():\n    assert add(2) == 3\n    time.sleep(3600 if add(0) < 1 else 0)\n",
    }
    for name, text in files.items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(text)
    subprocess.run("git init -q && git add .", shell=True, cwd=tmp_path / "code", check=True)
    (tmp_path / "code" / "not_tracked.py").touch()
    monkeypatch.setattr(run, "ROOT", tmp_path / "code")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return tmp_path / "code"


def test_a_copy_notices_mistakes_and_hangs_and_stays_unchanged(repository, tmp_path):
    copy = run.CodeCopy(tmp_path / "copy")
    assert not (copy.folder / "not_tracked.py").exists()
    assert copy.run_tests(["test_a.py"])[0] == 0
    for new, limit, noticed in (("x - 1", 60, True), ("1 + x", 60, False), ("x + 1 if x else -1", 1, True)):
        mutant = Mutant("vaezoo/a.py", "x + 1", new, ("test_a.py",), "Another sum.")
        assert copy.is_noticed(mutant, mutant.tests, limit) is noticed, new
    assert (copy.folder / "vaezoo" / "a.py").read_text() == (repository / "vaezoo" / "a.py").read_text()
    with pytest.raises(SystemExit, match=r"pytest finds no test in vaezoo/a\.py"):
        copy.is_noticed(mutant, ["vaezoo/a.py"], 60)
