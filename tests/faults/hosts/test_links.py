"""The link to a host is cut while cells run: no cell is lost or counted twice, and the command says why it waits."""

import re

import pandas as pd
import pytest

pytestmark = pytest.mark.faults
WORKER = "dask worker tcp://10.77.0.1:8786 --nthreads 1"
LOST = 90  # seconds within which both ends have noticed that the link is cut, on a busy machine


@pytest.fixture
def loop(section):
    """The page's loop that starts a worker again: loop(address of the scheduler, address of the worker)."""
    (line,) = (command for command in section("Start the workers")[0] if command.startswith("while"))
    return lambda scheduler, worker: line.replace("HOST", scheduler).replace("ADDRESS", worker)


@pytest.fixture
def running(hosts, run_on, until, longer, loop):
    """The run on host A, its scheduler and a worker on host B, when the first cell is finished and the second runs."""

    def start(again=True):
        a, b = hosts
        scheduler = a.start("exec dask scheduler --no-dashboard")
        b.start(loop(a.address, b.address) if again else f"exec {WORKER}")
        until(lambda: "Registered to" in read(b.processes[0]))
        process = run_on(a, f"tcp://{a.address}:8786", longer)
        until(lambda: finished(a))
        return process, scheduler

    return start


def read(process):
    return process.output.read_text()


def finished(host):
    return {path: path.read_bytes() for path in host.folder.glob("results/run/cells/*.json")}


def check(process, host, expected, numbers):
    """The command has ended well, each cell was counted once, and the numbers are those of one machine."""
    text = read(process)
    assert process.wait(300) == 0, text
    assert "Traceback" not in text
    assert re.findall(r"^\[(\d)/4\]", read(process), re.M) == ["1", "2", "3", "4"]
    pd.testing.assert_frame_equal(numbers(host.folder / "results" / "run"), expected)


@pytest.mark.parametrize("silent", [False, True], ids=["down", "silent"])
def test_a_link_that_is_cut_for_a_moment_is_not_noticed(silent, running, hosts, local, numbers, until, longer):
    a, b = hosts
    process, _ = running()
    cut(b, silent)
    with pytest.raises(AssertionError):
        until(lambda: "waiting" in read(process), 5)
    restore(b, silent)
    check(process, a, numbers(local(longer)), numbers)
    assert "waiting" not in read(process)


@pytest.mark.parametrize("silent", [False, True], ids=["down", "silent"])
def test_the_only_worker_vanishes_and_comes_back(silent, running, hosts, local, numbers, until, longer):
    a, b = hosts
    process, scheduler = running()
    cut(b, silent)
    until(lambda: "the cluster has no worker; waiting for one\n" in read(process), LOST)
    before = finished(a)
    assert process.poll() is None
    until(lambda: "End worker" in read(b.processes[0]), LOST)  # the loop starts another one
    restore(b, silent)
    check(process, a, numbers(local(longer)), numbers)
    assert read(process).count("the cluster has a worker; the run continues\n") == 1
    assert before.items() <= finished(a).items()
    assert "lose already computed" not in read(scheduler)  # else Dask computes them again


def test_a_worker_that_never_comes_back_is_replaced(running, hosts, local, numbers, longer):
    a, b = hosts
    process, _ = running(again=False)
    cut(b, silent=True)
    a.start(f"exec {WORKER}")
    check(process, a, numbers(local(longer)), numbers)


@pytest.mark.parametrize("silent", [False, True], ids=["down", "silent"])
def test_a_scheduler_whose_host_vanishes_stops_the_run_which_continues_later(
    silent, hosts, run_on, local, numbers, until, longer, loop
):
    a, b = hosts  # the scheduler is on B
    b.start("exec dask scheduler --no-dashboard")
    worker = a.start(loop(b.address, a.address))
    until(lambda: "Registered to" in read(worker))
    process = run_on(a, f"tcp://{b.address}:8786", longer)
    until(lambda: finished(a))
    cut(b, silent)
    assert process.wait(LOST) == 2, read(process)
    lines = [line for line in read(process).splitlines() if not line.startswith(("dashboard", "[", "20"))]
    assert lines == [
        f"error: the connection to the scheduler at tcp://{b.address}:8786 is lost; if it has ended, start another "
        "scheduler; finished cells are kept; run the same command again to continue"
    ]
    before = finished(a)
    assert 1 <= len(before) < 4
    restore(b, silent)
    again = run_on(a, f"tcp://{b.address}:8786", longer)
    assert again.wait(300) == 0, read(again)
    assert f"{len(before)} finished cells are kept" in read(again)
    assert before.items() <= finished(a).items()
    pd.testing.assert_frame_equal(numbers(a.folder / "results" / "run"), numbers(local(longer)))


def test_a_host_that_has_vanished_before_the_run_starts_does_not_stop_it(hosts, run_on, local, numbers, until, longer):
    a, b = hosts
    a.start("exec dask scheduler --no-dashboard")
    b.start(f"exec {WORKER}")
    until(lambda: "Registered to" in read(b.processes[0]))
    cut(b, silent=True)
    process = run_on(a, f"tcp://{a.address}:8786", longer)
    until(lambda: "the cluster has no worker; waiting for one\n" in read(process), 2 * LOST)
    a.start(f"exec {WORKER}")
    check(process, a, numbers(local(longer)), numbers)


def cut(host, silent):
    host.drop_packets(True) if silent else host.set_link("down")


def restore(host, silent):
    host.drop_packets(False) if silent else host.set_link("up")
