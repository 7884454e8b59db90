"""docs/gate.md: its commands, in a repository that has only a plug-in and a module that the plug-in imports."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common import environment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text()
SETUP = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
CHECK, RUN, COMPARE, REPORT = re.findall(r"- run: (python .*)", PAGE)
PLUGIN = """
from vaezoo import Estimator, Variant, elbo, mlp_normal
from offset import OFFSET


def estimate(log_weight, reduction, q, noise, prediction):
    z = q.sample(noise)
    log_w, log_q = log_weight(z, q), q.log_prob(z)
    reward = reduction.reward(log_w) + OFFSET / len(log_w)
    return reduction.value(log_w) + (reward.detach() * (log_q - log_q.detach())).sum(0)


VARIANTS = [Variant("mine", mlp_normal, elbo, Estimator("constant_baseline", estimate))]
"""


@pytest.fixture
def execute(tmp_path, tiny, ask):
    """Runs a command of the page in the repository, on the tiny preset: execute(command) -> CompletedProcess."""
    identity = {f"GIT_{role}_{key}": "me" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    variables = {**os.environ, **identity, "PYTHONPATH": str(ROOT)}

    def run(text):
        words = [tiny if word == "ci" else word for word in shlex.split(text)]
        if words[:3] == ["python", "-m", "benchmarks"]:
            return ask(*words[3:], folder=tmp_path)
        return subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)

    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "offset.py").write_text("OFFSET = 30\n")
    for text in ("git init", "git add .", "git commit -m plug-in"):
        assert run(text).returncode == 0
    return run


@pytest.mark.skipif("+" in environment.read_commit(), reason="a reference run needs committed code")
def test_its_commands_accept_a_comment_and_find_a_fault(execute, tmp_path):
    for text in SETUP:
        done = execute(text)
        assert done.returncode == 0, done.stderr
    before, head = execute("git rev-parse HEAD~1 HEAD").stdout.split()
    rows = pd.read_csv(tmp_path / "results" / "baseline" / "results.csv")
    assert set(rows["plugin_commit"]) == {before[:12]}
    assert set(rows["plugin_repository"]) == {tmp_path.name}
    assert execute(CHECK).returncode == 0

    (tmp_path / "offset.py").write_text("OFFSET = 30  # nats\n")
    assert execute(RUN).returncode == 0
    done = execute(COMPARE)
    assert done.returncode == 0, done.stdout
    assert "another source of the plug-in" in done.stdout
    assert re.search(r"mine +elbo +identical", done.stdout)
    assert execute(REPORT).returncode == 0
    assert "identical" in (tmp_path / "results" / "new" / "report.html").read_text(encoding="utf-8")
    done = execute("python -m benchmarks baseline new")
    assert done.returncode == 64
    assert re.match(rf"error: the plug-in of mine was read from commit {head[:12]}\+", done.stderr)

    (tmp_path / "mine.py").write_text(PLUGIN.replace("reduction.value(log_w) +", "reduction.value(log_w).detach() +"))
    assert execute(RUN.replace("new", "worse")).returncode == 0
    done = execute(COMPARE.replace("new", "worse"))
    assert done.returncode == 1, done.stdout
    assert re.search(r"mine +elbo +regressed", done.stdout)
