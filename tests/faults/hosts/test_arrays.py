"""A job array of four parts on two hosts, put together as the page says: the bits of one run of all seeds."""

import re
import shutil

import pandas as pd
import pytest

pytestmark = pytest.mark.faults
ORDER = ["seed", "variant", "epoch"]


def test_four_parts_on_two_hosts_are_put_together(hosts, section, command, tiny, numbers, tmp_path):
    commands, (job,) = section("A job array without Dask")
    options = f"run vae reinforce-vae --preset {tiny} --no-figures --no-report"
    job = job.replace("run --all", options).replace("5 *", "1 *").replace("first + 4", "first + 0")
    for task in range(4):
        slurm = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4"}
        process = hosts[task % 2].start(job, **slurm)
        assert process.wait(200) == 0, process.output.read_text()
    a, b = (host.folder / "results" for host in hosts)
    assert sorted(path.name for path in a.iterdir()) == ["part-0", "part-2"]
    for part in sorted(b.iterdir()):
        shutil.copytree(part, a / part.name)
    for line in commands:
        done = hosts[0].start(line.replace("run --all", options).replace("--seeds 20", "--seeds 4"))
        assert done.wait(200) == 0, done.output.read_text()
    assert "8 finished cells are kept\n" in done.output.read_text()
    assert not re.search(r"^\[", done.output.read_text(), re.M)  # none was trained again
    assert command(*options.split(), "--seeds", 4, "--out", tmp_path, "--name", "single").returncode == 0
    merged, single = (numbers(path).sort_values(ORDER, ignore_index=True) for path in (a / "all", tmp_path / "single"))
    pd.testing.assert_frame_equal(merged, single)
