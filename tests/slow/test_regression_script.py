"""`.ci/regression` in a clone with history: a change without effect, and a planted regression."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
VARIANTS = "vae vae-mc-kl"
STEP = "benchmarks/training/step.py"
COMMENT = (STEP, "            weight_decay=0.0,\n", "            # as in the paper\n            weight_decay=0.0,\n")
HALVED_RATE = (STEP, "torch.tensor(learning_rate,", "torch.tensor(learning_rate / 2,")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("no git, or no history")
    folder = tmp_path_factory.mktemp("clone") / "vaezoo"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


def change(folder, path, old, new):
    """Replace `old` with `new` in a file, and commit."""
    text = (folder / path).read_text()
    assert text.count(old) == 1
    (folder / path).write_text(text.replace(old, new))
    author = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *author, "commit", "--quiet", "--all", "--message", "x"], cwd=folder, check=True)


def run_script(folder, out, micro):
    env = {**os.environ, "VARIANTS": VARIANTS, "MICRO": micro}
    return subprocess.run(["bash", ".ci/regression", "HEAD^", out], cwd=folder, env=env, capture_output=True, text=True)


def test_comment_changes_nothing(clone, tmp_path):
    change(clone, *COMMENT)
    done = run_script(clone, tmp_path, micro="test_evaluation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 identical" in done.stdout  # elbo and gradient_variance of both variants
    assert "test_evaluation" in done.stdout


def test_halved_steps_regress(clone, tmp_path):
    change(clone, *HALVED_RATE)
    done = run_script(clone, tmp_path, micro="")
    assert done.returncode == 1, done.stdout + done.stderr
    assert sum("elbo" in line and "regressed" in line for line in done.stdout.splitlines()) == 2
