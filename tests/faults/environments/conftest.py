"""A folder as a user has it, and the answers of commands in it, in each environment."""

import shutil

import pytest

from tests.conftest import TINY
from tests.faults.environments.table import COMMANDS, ENVIRONMENTS


@pytest.fixture(scope="session")
def start_folder(undisturbed, words, ask, tiny, tmp_path_factory):
    """A folder with a preset, a finished run with its models and a worse one, as a user has it."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(undisturbed, folder / "runs" / "run")
    assert ask(*words(folder / "runs", "run", "--keep-models")).returncode == 0
    shutil.copy(tiny, folder / "tiny.toml")
    studies = "[gradients]\ncheckpoints = [0, 1, 2]\nrepeats = 20\nfewer_seeds = 1\nintegrand_draws = 1000\n"
    (folder / "study.toml").write_text(TINY.replace("epochs = 2", "epochs = 3") + studies)
    (folder / "worse").mkdir()
    text = (undisturbed / "results.csv").read_text()
    lost = [line.replace(",ok,", ",diverged,") if line.split(",")[3] == "2" else line for line in text.splitlines()]
    (folder / "worse" / "results.csv").write_text("\n".join(lost) + "\n")
    return folder


@pytest.fixture(scope="session")
def answer(start_folder, numbers, tmp_path_factory):
    """Run a command in an environment, once each: its exit code, output, errors, and the bits of its results."""
    answers = {}

    def run(environment, command):
        if (environment, command) not in answers:
            folder = tmp_path_factory.mktemp("folder")
            shutil.copytree(start_folder, folder, dirs_exist_ok=True)
            done = ENVIRONMENTS[environment].run(folder, COMMANDS[command])
            answers[environment, command] = done.returncode, done.stdout, done.stderr, _read_results(folder, numbers)
            shutil.rmtree(folder, ignore_errors=True)
        return answers[environment, command]

    return run


def _read_results(folder, numbers):
    """Return the results of a new run, without timings, and the bytes of new figures and tables."""
    results = [numbers(path.parent) for path in sorted(folder.glob("out/*/results.csv"))]
    for path in folder.glob("**/evaluations/*.csv"):
        results.append(numbers(path.rename(path.with_name("results.csv")).parent))
    drawn = [path.read_bytes() for kind in ("figures", "samples") for path in sorted(folder.glob(f"**/{kind}/*"))]
    drawn += [path.read_bytes() for path in folder.glob("**/results-long.csv")]
    return [frame.to_csv() for frame in results], drawn
