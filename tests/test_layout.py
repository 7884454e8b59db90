"""The layout: which folder may import which, where torch is imported, and how large folders and files are."""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo import VARIANTS

ROOT = Path(__file__).parents[1]
PACKAGES = ("vaezoo", "benchmarks")
PLUGINS = ROOT / "benchmarks" / "claims"  # files with variants of claims, which no module imports
FILES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
PATHS = sorted(path for path in FILES if PLUGINS not in path.parents)
ALL_PATHS = [*PATHS, *sorted((ROOT / "tests").rglob("*.py"))]
FOLDERS = sorted({path.parent for path in ALL_PATHS})

# A wing may import the wings on the lines above its own, and wings on its own line not at all. The scripts of `micro`
# and the files at the top (`__main__`, `preload`, the package itself) may import every wing, and no wing imports them.
WINGS = [
    {"vaezoo"},
    {"common"},
    {"planning", "execution", "reporting"},
    {"runs"},
    {"training", "comparison", "reproduction"},
    {"gradient_studies", "api"},
    {"cli"},
    {"micro", "__main__", "preload", "benchmarks"},
]
LEVELS = {wing: level for level, wings in enumerate(WINGS) for wing in wings}
MAX_CHAIN, MAX_FILES, MAX_LINES = 7, 8, 250

# Modules whose import must not import torch: a command that reads results or waits for cells needs neither its three
# seconds nor its half gigabyte of memory.
WITHOUT_TORCH = [
    "api",
    "cli.main",
    "cli.commands.compare",
    "cli.commands.gradients",
    "cli.commands.inspect",
    "cli.commands.reproduce",
    "cli.commands.run",
    "cli.commands.files.merge",
    "cli.commands.models.evaluate",
    "api.kept_models.evaluation",
    "api.kept_models.samples",
    "cli.commands.show",
    "comparison.history.history_figure",
    "comparison.power.error_rates",
    "comparison.run_comparison",
    "execution.cluster.executor",
    "execution.executor",
    "gradient_studies.report.tables",
    "reporting.report",
    "runs.recovery",
    "runs.runner",
    "training.task",
]


def module_name(path):
    """The dotted name of a file's module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PATHS}


@functools.cache
def imports(path):
    """The modules of this project that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    submodules = {name for name in names if name in MODULES}
    parents = {name for name in submodules if any(other.startswith(f"{name}.") for other in submodules)}
    return (submodules - parents) | {name for name in parents if is_face(path, name)}


def is_face(path, name):
    """Whether a file imports a name that the package's __init__ defines, and not only its modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == name:
            return any(f"{name}.{alias.name}" not in MODULES for alias in node.names)
    return False


def wing(module):
    """The wing of a module: a folder of the harness, a file at its top, or the library."""
    package, *rest = module.split(".")
    return package if package == "vaezoo" or not rest else rest[0]


def import_arrows(room):
    """The arrows between the rooms of all modules, as a set of pairs."""
    return {
        (room(module), room(target))
        for module, path in MODULES.items()
        for target in imports(path)
        if room(module) != room(target)
    }


def longest_chain(arrows):
    """The rooms of the longest chain of arrows, the lowest first; raises CycleError if there is a circle."""
    targets = {source: {b for a, b in arrows if a == source} for source, _ in arrows}
    chains = {}
    for room in graphlib.TopologicalSorter(targets).static_order():
        below = max((chains[target] for target in targets.get(room, ())), key=len, default=())
        chains[room] = (*below, room)
    return max(chains.values(), key=len)


def test_imports_go_down_the_wings_only():
    pairs = [(module, target) for module, path in MODULES.items() for target in imports(path)]
    crossing = [(module, target) for module, target in pairs if wing(target) != wing(module)]
    assert [pair for pair in crossing if LEVELS[wing(pair[1])] >= LEVELS[wing(pair[0])]] == []


def test_modules_have_no_circle_of_imports():
    longest_chain(import_arrows(lambda module: module))


def test_wings_have_a_short_chain_of_imports():
    chain = longest_chain(import_arrows(wing))
    assert len(chain) <= MAX_CHAIN, chain


def test_folders_are_small():
    counts = {folder: len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) for folder in FOLDERS}
    assert {folder: count for folder, count in counts.items() if count > MAX_FILES} == {}


def test_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in ALL_PATHS}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_the_library_imports_torch_and_no_other_large_package():
    allowed = {*sys.stdlib_module_names, "torch", "jaxtyping", "safetensors", "vaezoo"}
    for module, path in MODULES.items():
        if wing(module) == "vaezoo":
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert {name.split(".")[0] for name in names} <= allowed, module


@pytest.mark.parametrize("name", ["equality", "reductions", "distributions.likelihoods", "distributions.posteriors"])
def test_leaves_of_the_library_import_no_module_of_it(name):
    assert imports(MODULES[f"vaezoo.{name}"]) <= {"vaezoo.equality"}


@pytest.mark.parametrize("name", ["estimators", "baselines"])
def test_estimators_import_neither_models_nor_objectives(name):
    assert not imports(MODULES[f"vaezoo.{name}"]) & {"vaezoo.models", "vaezoo.objectives", "vaezoo.variants"}


def test_commands_that_read_results_do_not_import_torch():
    names = "".join(f"import benchmarks.{name}\n" for name in WITHOUT_TORCH)
    program = f"{names}import sys; print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert process.stdout == "False\n"


def test_the_harness_names_no_variant():
    names = [variant.name for variant in VARIANTS]
    for module in [name for name in MODULES if name.startswith("benchmarks.") and wing(name) != "micro"]:
        source = MODULES[module].read_text()
        words = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        assert [name for name in names if name in words or f"'{name}'" in source] == [], module
