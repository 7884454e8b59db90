"""The package as users install it: a wheel made from the source archive, in an environment without this checkout.

pip downloads hatchling, which builds both.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
RUN = ("run", "vae", "reinforce-vae", "--preset", "quick", "--seeds", "2")


def list_committed(*folders):
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        pytest.skip("no git, or no history")
    return set(subprocess.check_output(["git", "ls-files", *folders], cwd=ROOT, text=True).splitlines())


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The paths of the source archive and of the wheel made from it."""
    folder = tmp_path_factory.mktemp("archives")
    subprocess.run([*PIP, "install", "--target", folder / "builder", "hatchling"], check=True)
    variables = {**os.environ, "PYTHONPATH": str(folder / "builder")}
    program = "import sys, hatchling.build; hatchling.build.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, folder], cwd=ROOT, env=variables, check=True)
    (source,) = folder.glob("*.tar.gz")
    wheel = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run(wheel, env=variables, check=True)
    return source, *folder.glob("*.whl")


@pytest.fixture(scope="module")
def environment(archives, tmp_path_factory):
    """A virtual environment with the wheel; it uses the libraries of this one, but not its editable packages."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [*PIP, "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", archives[1]]
    subprocess.run(command, check=True)
    for path in [packages, *packages.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield folder
    for path in [packages, *packages.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def test_the_source_archive_contains_every_committed_file(archives):
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert list_committed() <= names


def test_the_wheel_contains_every_file_of_the_packages_and_the_licence(archives):
    names = set(zipfile.ZipFile(archives[1]).namelist())
    assert list_committed("vaezoo", "benchmarks") == {name for name in names if ".dist-info/" not in name}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_program_gives_the_results_of_the_checkout(environment, tmp_path, command, numbers):
    """From an empty folder, without a home, by packages that can't be written."""
    packages = sorted((path, path.stat().st_mtime_ns) for path in environment.rglob("*"))
    here = tmp_path / "empty"
    here.mkdir()
    dropped = ("VAEZOO_CACHE", "PYTHONPATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    variables |= {"HOME": "/dev/null/home", "TMPDIR": str(tmp_path)}

    def call(*arguments):
        done = subprocess.run(
            [environment / "bin" / "vaezoo", *arguments], cwd=here, capture_output=True, text=True, env=variables
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done

    assert "reinforce-vae" in call("list").stdout
    done = call(*RUN)
    assert "Traceback" not in done.stderr
    (run,) = (here / "results").iterdir()
    reference = command(*RUN, "--out", tmp_path, "--name", "checkout")
    assert reference.returncode == 0, reference.stderr
    assert numbers(run).equals(numbers(tmp_path / "checkout"))
    assert {path.name for path in (tmp_path / "checkout").rglob("*.*")} == {path.name for path in run.rglob("*.*")}

    assert "ELBO" in call("show", run).stdout
    assert "identical" in call("compare", run, run).stdout
    (run / "report.html").unlink()
    call("report", run)
    assert "plot" in (run / "report.html").read_text()
    assert "decoder passes" in call("gradients", "--preset", "quick", "--study", "training").stdout
    assert packages == sorted((path, path.stat().st_mtime_ns) for path in environment.rglob("*"))
