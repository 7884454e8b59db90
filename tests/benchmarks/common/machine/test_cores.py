"""The number of cores is the smallest limit: affinity, quotas of control groups, and that of a scheduler."""

import math
import os
import sys

import pytest

from benchmarks.common.machine import cores


def write_groups(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/", {}, math.inf),
        ("0::/", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/job/step", {"job/step/cpu.max": "400000 100000", "job/cpu.max": "200000 100000"}, 2.0),
        ("0::/job/step", {"cpu.max": "50000 100000"}, 0.5),  # a container that shows its own group as the root
        ("0::/job", {"unified/job/cpu.max": "300000 100000"}, 3.0),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "1"}, math.inf),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        ("1:cpu:/a/b", {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "50000\n"}, 2.0),
        ("3:cpuset:/", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"}, math.inf),
        ("0::/", {"cpu.max": "junk"}, math.inf),
        ("0::/", {"cpu.max": "100000 0"}, math.inf),
        ("junk", {}, math.inf),
        ("0::/../../x", {"cpu.max": "100000 100000"}, 1.0),
    ],
)  # fmt: skip
def test_quota_of_control_groups(tmp_path, membership, files, quota):
    write_groups(tmp_path / "cgroup", files)
    (tmp_path / "membership").write_text(membership + "\n")
    assert cores.read_quota(tmp_path / "cgroup", tmp_path / "membership") == quota


def test_without_proc_there_is_no_quota(tmp_path):
    assert cores.read_quota(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which cores a process may use")
@pytest.mark.parametrize(
    ("affinity", "quota", "slurm", "count"),
    [
        ({0, 5, 7}, math.inf, "", 3), ({0, 5, 7}, 1.5, "", 2), ({0, 5, 7}, 0.2, "", 1), ({0, 5, 7}, math.inf, "2", 2),
        ({0, 5, 7}, math.inf, "16", 3), ({0, 5, 7}, math.inf, "0", 3), ({0, 5, 7}, math.inf, "two", 3),
    ],
)  # fmt: skip
def test_the_smallest_limit_decides(monkeypatch, affinity, quota, slurm, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: affinity)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "read_quota", lambda *_: quota)
    monkeypatch.setenv(cores.SLURM_LIMIT, slurm)
    assert cores.count_cores() == count
