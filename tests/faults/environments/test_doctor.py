"""`doctor` names what is wrong with a machine, and the remedy."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.faults.environments.table import ROOT, Environment, install, mount_noexec, write

GROUP = "/sys/fs/cgroup/cpu/vaezoo-test"
QUOTA = f"mkdir -p {GROUP} && echo 100000 > {GROUP}/cpu.cfs_quota_us && echo $$ > {GROUP}/cgroup.procs"


def require_control_groups(folder: Path) -> None:
    if subprocess.run(["bash", "-c", QUOTA], capture_output=True, check=False).returncode:
        pytest.skip("control groups can't be made here")


MACHINES = {  # what is wrong: the environment, the check that says so, words of its fact and of its remedy
    "no compiler": (Environment({"PATH": "/nosuch"}), "compiler", "g++ is not there", "install g++"),
    "broken compiler": (Environment({"CXX": "false"}), "compiler", "exit code 1", "name a compiler in CXX"),
    "quota": (
        Environment(shell=QUOTA, setup=require_control_groups), "cores", "the limit is: quota 1", "ask the scheduler",
    ),
    "affinity": (Environment(shell="exec taskset -c 0 \\"), "cores", "the limit is: affinity 1", "ask the scheduler"),
    "Slurm": (Environment({"SLURM_CPUS_PER_TASK": "1"}), "cores", "SLURM_CPUS_PER_TASK 1", "ask the scheduler"),
    "binding": (Environment({"OMP_PROC_BIND": "true"}), "environment", "OMP_PROC_BIND=true", ""),
    "noexec TMPDIR": (mount_noexec("TMPDIR"), "temporary files", "it is mounted noexec", "set TMPDIR"),
    "noexec cache": (mount_noexec("VAEZOO_CACHE"), "cache", "mounted noexec", "set VAEZOO_CACHE"),
    "long TMPDIR": (
        Environment({"TMPDIR": f"$FOLDER/{'x' * 100}"}, shell='mkdir -p "$TMPDIR"'),
        "temporary files", "has more than 60 bytes", "set TMPDIR",
    ),
    "no fonts": (
        Environment({"PYTHONPATH": f"$FOLDER/site:{ROOT}"}, setup=write("site/matplotlib/__init__.py", "")),
        "figures", "lacks its font DejaVu Sans", "reinstall matplotlib",
    ),
    "no browser": (Environment({"PATH": "/nosuch"}), "report", "there is no browser", "copy report.html"),
    "no cache": (
        Environment({"HOME": "/proc", "XDG_CACHE_HOME": "/proc/x", "VAEZOO_CACHE": None}),
        "cache", "can't be written", "set VAEZOO_CACHE",
    ),
    "broken package": (install("leaves"), "plug-ins", "its import ends the process", "other variants can be used"),
    "few open files": (Environment(shell="ulimit -n 64"), "limits", "64 open files", "ulimit"),
}  # fmt: skip


def ask(environment, folder, *arguments):
    done = environment.run(folder, ["doctor", "--json", *arguments])
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    return done.returncode, checks


@pytest.mark.faults
@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_wrong_is_named_with_its_remedy(tmp_path, machine):
    environment, name, fact, remedy = MACHINES[machine]
    code, checks = ask(environment, tmp_path)
    assert code == 0
    assert fact in checks[name]["fact"]
    assert remedy in checks[name]["remedy"]
    assert (checks[name]["state"] == "note") == bool(remedy)


@pytest.mark.faults
def test_results_that_cannot_be_written_are_a_fault(tmp_path):
    code, checks = ask(Environment(), tmp_path, "--out", "/proc/results")
    assert code == 2
    assert checks["results"]["state"] == "fault"


def test_the_answer_fits_on_a_screen(tmp_path):
    done = Environment({"COLUMNS": "100"}).run(tmp_path, ["doctor"])
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert {"cores", "compiler", "cache", "torch"} <= {line[7:22].strip() for line in lines}
