"""The lists of mutants: each mistake still fits the code, and the tests that must notice it exist."""

from pathlib import Path

import pytest

from tests.mutants.run import PACKAGES, ROOT, plant, read_mutants

MUTANTS = read_mutants(ROOT / "tests" / "mutants")
FOLDERS_WITHOUT = {"benchmarks", "benchmarks/micro"}  # the entry of the program, and scripts that time the harness


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in MUTANTS}))
def test_each_mistake_fits_the_code_once_and_compiles(file):
    source = (ROOT / file).read_text(encoding="utf-8")
    for mutant in MUTANTS:
        if mutant.file == file:
            changed = plant(source, mutant)
            assert changed != source, mutant
            compile(changed, file, "exec")


def test_the_named_tests_exist():
    for test in {test for mutant in MUTANTS for test in mutant.tests}:
        path, _, function = test.partition("::")
        assert (ROOT / path).exists(), test
        if function:
            assert f"def {function.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_each_mistake_is_listed_once_and_described_in_a_sentence():
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS) >= 90
    for mutant in MUTANTS:
        assert mutant.tests, mutant
        assert mutant.what[0].isupper(), mutant
        assert mutant.what.endswith("."), mutant


def test_every_folder_with_code_has_mutants():
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    with_code = {folder for folder in folders if {path.name for path in folder.glob("*.py")} != {"__init__.py"}}
    names = {str(folder.relative_to(ROOT)) for folder in with_code} - FOLDERS_WITHOUT
    assert {str(Path(mutant.file).parent) for mutant in MUTANTS} == names | {"docs"}
