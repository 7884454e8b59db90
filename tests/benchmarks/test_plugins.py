"""A user's own variants: from a file, from an installed package; listed, run, plotted and checked like the others."""

import json
import textwrap

import pandas as pd
import pytest

from benchmarks import plugins
from benchmarks.errors import UserError
from vaezoo import VARIANTS

FILE = '''\
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
    path.write_text(FILE)
    return path


def test_fifteen_lines_pass_check_and_without_the_decoders_gradient_they_fail(file, ask):
    assert len(FILE.splitlines()) <= 15
    done = ask("check", "mine", "--plugin", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every property holds" in done.stdout
    file.write_text(FILE.replace("reduction.value(log_w) +", "reduction.value(log_w).detach() +"))
    done = ask("check", "mine", "--plugin", file)
    assert done.returncode == 1
    assert (
        "FAIL  bias of the decoder's gradient: declared unbiased; the mean of 400,000 (1 draw each) is off"
        in done.stdout
    )
    assert "FAIL  gradients reach every parameter: 6 of 10, but not decoder.network.0.weight" in done.stdout
    assert "2 do not hold: gradients reach every parameter; bias of the decoder's gradient" in done.stdout


def test_it_is_listed_run_and_plotted_like_the_others(file, command, tiny, tmp_path):
    assert "constant_baseline" in command("list", "variants", "--plugin", file).stdout
    run = ["run", "vae", "mine", "--plugin", file, "--preset", tiny, "--out", tmp_path, "--name", "x", "--workers", 2]
    done = command(*run)
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
    results = pd.read_csv(tmp_path / "x" / "results.csv")
    assert dict(results["variant"].value_counts()) == {"vae": 6, "mine": 6}
    assert "mine" in (tmp_path / "x" / "figures" / "learning-curves.svg").read_text()
    file.rename(tmp_path / "moved.py")  # where it lies is no part of what it is
    again = command(*[tmp_path / "moved.py" if a == file else a for a in run])
    assert "4 finished cells are kept" in again.stderr
    moved = tmp_path / "moved.py"
    moved.write_text(FILE.replace("30", "31"))
    changed = command(*[moved if a == file else a for a in run])
    assert changed.returncode == 64
    assert "mine has source" in changed.stderr
    record = json.loads(next((tmp_path / "x" / "cells").glob("*.json")).read_text())
    assert "FILE" not in record["common"]


def test_all_includes_it(file):
    assert list(plugins.registry([FILE])) == [*(v.name for v in VARIANTS), "mine"]
    assert plugins.find("mine", 3, [FILE]).variant.draws == 3
    assert plugins.find("vae").fingerprint == ""


def test_a_cell_that_fails_in_a_plug_in_names_its_line(file, command, tiny, tmp_path):
    file.write_text(FILE.replace("z = q.sample(noise)", "z = q.smaple(noise)"))
    done = command("run", "mine", "--plugin", file, "--preset", tiny, "--out", tmp_path, "--name", "x", "--seeds", 1)
    assert done.returncode == 2
    record = json.loads(next((tmp_path / "x" / "cells").glob("*.json")).read_text())
    assert "has no attribute 'smaple'" in record["error"]
    assert "line 6, in estimate" in record["log"]
    assert "z = q.smaple(noise)" in record["log"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("VARIANTS = 3", "it defines no VARIANTS, a list of Variant"),
        ("", "it defines no VARIANTS, a list of Variant"),
        ("from vaezoo import elbo\n1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("x = (", "line 1: SyntaxError"),
        ("import helpers_beside_it", "line 1: ModuleNotFoundError: No module named 'helpers_beside_it'"),
        ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        ("from vaezoo import VARIANTS", "defines a variant 'autoencoder', and there is one of that name"),
        (FILE.replace('"mine"', '"two words/.."'), "'two words/..' can't be a variant's name"),
        (FILE.replace('"constant_baseline"', '"$x$"'), "'$x$' can't name a part of mine"),
    ],
)
def test_mistakes_are_one_line(tmp_path, text, words):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        plugins.registry(plugins.read([path]))
    assert words in str(raised.value)


@pytest.mark.parametrize("path", ["no.py", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, path):
    with pytest.raises(UserError, match="name a Python file that defines VARIANTS"):
        plugins.read([tmp_path / path])


@pytest.fixture
def installed(tmp_path):
    """A package that registers variants, as pip would have installed it; the folder to put on the path."""
    site = tmp_path / "site"
    (site / "theirs").mkdir(parents=True)
    (site / "theirs" / "__init__.py").write_text("")
    (site / "theirs" / "zoo.py").write_text(FILE.replace('"mine"', '"theirs"'))
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vaezoo.variants]\nzoo = theirs.zoo\n")
    return site


def test_an_installed_packages_variants_are_there(installed, command, tiny, tmp_path):
    assert "theirs" in command("list", PYTHONPATH=str(installed)).stdout
    run = ["run", "theirs", "--preset", tiny, "--out", tmp_path, "--name", "x", "--seeds", 1]
    done = command(*run, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "x" / "results.csv")["variant"]) == {"theirs"}
    assert "every property holds" in command("check", "theirs", PYTHONPATH=str(installed)).stdout
    (installed / "theirs" / "helper.py").write_text("x = 1\n")
    done = command(*run, PYTHONPATH=str(installed))
    assert done.returncode == 64
    assert "theirs has source" in done.stderr


def test_a_package_that_cannot_be_loaded_is_named(installed, command):
    (installed / "theirs" / "zoo.py").write_text("1 / 0\n")
    done = command("list", PYTHONPATH=str(installed))
    assert done.returncode == 64
    assert done.stderr == textwrap.dedent("""\
        error: the installed package theirs (entry point zoo) can't be loaded: ZeroDivisionError: division by zero; \
mend it, or uninstall it
        """)
