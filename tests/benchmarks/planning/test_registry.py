"""Variants of a user, from a plug-in file or an installed package: list, run, plot and check."""

import json
import re

import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.planning import planner, registry
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.plugins import find_imported_files, read_plugins
from vaezoo import VARIANTS

PLUGIN = '''\
from vaezoo import Estimator, Variant, elbo, mlp_normal


def estimate(log_weight, reduction, q, noise, prediction):
    """REINFORCE with a constant baseline of -30 nats."""
    z = q.sample(noise)
    log_w, log_q = log_weight(z, q), q.log_prob(z)
    reward = reduction.reward(log_w) + 30 / len(log_w)
    return reduction.value(log_w) + (reward.detach() * (log_q - log_q.detach())).sum(0)


VARIANTS = [Variant("mine", mlp_normal, elbo, Estimator("constant_baseline", estimate), source="me")]
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


def test_plugin_of_15_lines_passes_check_and_fails_without_the_decoder_gradient(file, ask):
    assert len(PLUGIN.splitlines()) <= 15
    done = ask("check", "mine", "--plugin", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all properties hold" in done.stdout
    file.write_text(PLUGIN.replace("reduction.value(log_w) +", "reduction.value(log_w).detach() +"))
    done = ask("check", "mine", "--plugin", file)
    assert done.returncode == 1
    bias = "FAIL  bias of the decoder's gradient: declared unbiased; the mean gradient is off by 1e+02 % with K = 1"
    assert bias in done.stdout
    assert "FAIL  gradients reach every parameter: 6 of 10, but not decoder.network.0.weight" in done.stdout
    assert "2 properties do not hold: gradients reach every parameter; bias of the decoder's gradient" in done.stdout


def test_plugin_is_listed_run_and_plotted(file, ask, tiny, tmp_path):
    assert re.search("mine +constant baseline", ask("list", "variants", "--plugin", file).stdout)
    assert "constant_baseline" in ask("list", "variants", "--long", "--plugin", file).stdout
    run = ["run", "vae", "mine", "--plugin", file, "--preset", tiny, "--out", tmp_path, "--name", "x", "--workers", 2]
    done = ask(*run)
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
    results = pd.read_csv(tmp_path / "x" / "results.csv")
    assert dict(results["variant"].value_counts()) == {"vae": 6, "mine": 6}
    assert "mine" in (tmp_path / "x" / "figures" / "learning-curves.svg").read_text()
    file.rename(tmp_path / "moved.py")  # the path is not part of the identity
    again = ask(*[tmp_path / "moved.py" if a == file else a for a in run], "--no-figures")
    assert "4 finished cells are kept" in again.stderr
    moved = tmp_path / "moved.py"
    moved.write_text(PLUGIN.replace("30", "31"))
    changed = ask(*[moved if a == file else a for a in run])
    assert changed.returncode == 64
    assert "another definition of mine: source is" in changed.stderr
    record = json.loads(next((tmp_path / "x" / "cells").glob("*.json")).read_text())
    assert PLUGIN not in record["common"].values()


def test_registry_contains_the_plugin(file):
    assert list(registry.load_registry([Plugin(PLUGIN)])) == [*(v.name for v in VARIANTS), "mine"]
    assert registry.find_variant("mine", 3, [Plugin(PLUGIN)]).variant.draws == 3
    assert registry.find_variant("vae").fingerprint == ""


def test_failed_cell_reports_the_line_of_the_plugin(file, ask, tiny, tmp_path):
    file.write_text(PLUGIN.replace("z = q.sample(noise)", "z = q.smaple(noise)"))
    done = ask(
        "run",
        "mine",
        "--plugin",
        file,
        "--preset",
        tiny,
        "--out",
        tmp_path,
        "--name",
        "x",
        "--seeds",
        1,
        "--no-figures",
    )
    assert done.returncode == 2
    record = json.loads(next((tmp_path / "x" / "cells").glob("*.json")).read_text())
    assert "has no attribute 'smaple'" in record["error"]
    assert "line 6, in estimate" in record["log"]
    assert "z = q.smaple(noise)" in record["log"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("VARIANTS = 3", "bad.py defines no VARIANTS, a list of Variant"),
        ("", "bad.py defines no VARIANTS, a list of Variant"),
        ("from vaezoo import elbo\n1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("x = (", "line 1: SyntaxError"),
        ("import helpers_beside_it", "line 1: ModuleNotFoundError: No module named 'helpers_beside_it'"),
        ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        ("from vaezoo import VARIANTS", "defines a variant 'autoencoder', but that name is in use"),
        (PLUGIN.replace('"mine"', '"two words/.."'), "'two words/..' can't be the name of a variant"),
        (
            PLUGIN.replace('"constant_baseline"', '"$x$"'),
            "'$x$' can't be the name of an objective, estimator or baseline of mine",
        ),
    ],
)
def test_plugin_errors_are_one_line(tmp_path, text, words):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        registry.load_registry(read_plugins([path]))
    assert words in str(raised.value)


@pytest.mark.parametrize("path", ["no.py", "."])
def test_unreadable_plugin_file(tmp_path, path):
    with pytest.raises(UserError, match="name a Python file that defines VARIANTS"):
        read_plugins([tmp_path / path])


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Modules beside the plug-in, on Python's path: a package with a relative import, and two modules."""
    for name, text in {
        "tree_package/__init__.py": "from . import inner\n",
        "tree_package/inner.py": "from . import beside\ndef late():\n    import tree_late\n",
        "tree_package/beside.py": "",
        "tree_late.py": "import json, torch.nn, vaezoo\nscale = 1\n",
        "tree_unused.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_imported_files_are_those_outside_of_installed_packages(tree):
    names = ("tree_late.py", "tree_package/__init__.py", "tree_package/beside.py", "tree_package/inner.py")
    expected = [tree / name for name in names]
    for source in ("import tree_package", "def f():\n    from tree_package.inner import late"):
        assert find_imported_files(source) == expected
    assert find_imported_files("import numpy, torch, json, vaezoo, benchmarks.cli, tree_missing") == []


def test_a_change_in_an_imported_module_is_another_source(tree):
    plugin = Plugin("import tree_package\n" + PLUGIN)
    before = registry.find_variant("mine", None, [plugin])
    description = planner.describe_variant(before)
    assert planner.find_described(description, [plugin]).variant == before.variant
    (tree / "tree_late.py").write_text("scale = 2\n")
    assert registry.find_variant("mine", None, [plugin]).fingerprint != before.fingerprint
    with pytest.raises(UserError, match="the source of mine, or of a module that it imports, has changed"):
        planner.find_described(description, [plugin])


@pytest.fixture
def installed(tmp_path):
    """Make a package that registers variants, as pip installs it; return the folder for PYTHONPATH."""
    site = tmp_path / "site"
    (site / "theirs").mkdir(parents=True)
    (site / "theirs" / "__init__.py").write_text("")
    (site / "theirs" / "zoo.py").write_text(PLUGIN.replace('"mine"', '"theirs"'))
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vaezoo.variants]\nzoo = theirs.zoo\n")
    return site


def test_variants_of_an_installed_package(installed, command, tiny, tmp_path):
    assert "theirs" in command("list", PYTHONPATH=str(installed)).stdout
    run = ["run", "theirs", "--preset", tiny, "--out", tmp_path, "--name", "x", "--seeds", 1, "--no-figures"]
    done = command(*run, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "x" / "results.csv")["variant"]) == {"theirs"}
    (installed / "theirs" / "helper.py").write_text("x = 1\n")
    done = command(*run, PYTHONPATH=str(installed))
    assert done.returncode == 64
    assert "another definition of theirs: source is" in done.stderr


def test_package_that_fails_to_load_is_reported(installed, command):
    (installed / "theirs" / "zoo.py").write_text("1 / 0\n")
    done = command("list", PYTHONPATH=str(installed))
    assert done.returncode == 0
    assert "reinforce-vae" in done.stdout
    reason = "the installed package theirs (entry point zoo) can't be loaded: ZeroDivisionError: division by zero"
    assert done.stderr == f"left out: {reason}; fix it, or uninstall it\n"
    done = command("check", "theirs", PYTHONPATH=str(installed))
    assert done.returncode == 64
    assert "unknown variant 'theirs'" in done.stderr
    assert reason in done.stderr
