"""The layout: which room may import which, and that the harness knows no variant by name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
import vaezoo
from vaezoo import VARIANTS

LIBRARY, HARNESS = (Path(package.__file__).parent for package in (vaezoo, benchmarks))
MODULES = [*LIBRARY.glob("*.py"), *HARNESS.glob("*.py")]
LEAVES = ["reductions", "likelihoods", "posteriors", "networks"]
WITHOUT_TORCH = [
    "cases",
    "csvs",
    "environment",
    "errors",
    "files",
    "folders",
    "formats",
    "galleries",
    "interrupts",
    "locks",
    "manifests",
    "metrics",
    "options",
    "places",
    "plots",
    "progress",
    "report",
    "settings",
    "sifting",
    "statistics",
    "store",
    "tables",
]


def imports(path, top_level=False):
    """Every module that a file imports, or only those that are imported with it."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def touches(path, package, **options):
    return {name for name in imports(path, **options) if name == package or name.startswith(f"{package}.")}


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda p: p.stem)
def test_the_library_does_not_know_the_harness(path):
    assert not touches(path, "benchmarks")
    for package in ("pandas", "matplotlib", "seaborn", "typer", "pydantic", "numpy"):
        assert not touches(path, package)


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_import_nothing_of_ours(name):
    assert not touches(LIBRARY / f"{name}.py", "vaezoo")


@pytest.mark.parametrize("name", ["estimators", "baselines"])
def test_estimators_know_neither_models_nor_objectives(name):
    for room in ("models", "objectives", "variants"):
        assert not touches(LIBRARY / f"{name}.py", f"vaezoo.{room}")


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_what_commands_runs_and_reads_results_needs_no_torch(name):
    for package in ("torch", "vaezoo", "jaxtyping"):
        assert not touches(HARNESS / f"{name}.py", package)
    for room in {n.split(".")[1] for n in touches(HARNESS / f"{name}.py", "benchmarks") if "." in n}:
        assert room in WITHOUT_TORCH, room


def test_what_commands_and_judges_runs_never_imports_torch():
    """It would hold half a gigabyte for nothing, and what a plug-in does would happen there."""
    rooms = [f"{room}.{path.stem}" for room in ("executors", "regressions") for path in (HARNESS / room).glob("*.py")]
    names = ["training", "runner", *rooms]
    program = "".join(f"import benchmarks.{name}\n" for name in names) + "import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_command_line_imports_torch_only_when_a_command_needs_it():
    for name in imports(HARNESS / "cli.py", top_level=True) | imports(HARNESS / "listings.py", top_level=True):
        assert name.split(".")[0] not in ("torch", "vaezoo"), name
        if name.startswith("benchmarks."):
            assert name.split(".")[1] in (*WITHOUT_TORCH, "regressions"), name


@pytest.mark.parametrize("path", sorted(HARNESS.rglob("*.py")), ids=lambda p: p.name)
def test_the_harness_names_no_variant(path):
    if {"presets", "micro"} & set(path.relative_to(HARNESS).parts):
        return
    words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    for variant in VARIANTS:
        assert variant.name not in words, variant.name
        assert f"'{variant.name}'" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 300
