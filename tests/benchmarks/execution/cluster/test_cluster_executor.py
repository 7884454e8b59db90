"""What the command says while a cluster fails, without a cluster: addresses, workers that vanish, lost schedulers."""

import socket
from types import SimpleNamespace

import pytest
from distributed.comm import CommClosedError

from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution.cluster import connection, executor
from benchmarks.execution.interface import Exit, Limits

CELL = SimpleNamespace(label="vae seed 0")
FILES = {"a.json": b"{}"}


class Future:
    """A future that gives these results, one per call; an exception is raised."""

    def __init__(self, *results):
        self.results, self.status, self.is_released = list(results), "finished", False

    def add_done_callback(self, function):
        function(self)

    def result(self, timeout):
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def release(self):
        self.is_released = True


def run(future, counts):
    """The kinds and files of the events of one cell, on a cluster that has these numbers of threads."""
    counts = iter([*counts, *[1] * 9])
    client = SimpleNamespace(
        status="running",
        scheduler=SimpleNamespace(address="tcp://there:1"),
        nthreads=lambda: {"worker": next(counts)},
        run_on_scheduler=lambda function: 0,
        submit=lambda *arguments, **options: future,
    )
    events = executor._run_cells(client, None, [CELL], Limits(), "cpu")
    return [(event.kind, files) for event, files in events]


def test_a_result_whose_worker_vanished_is_asked_for_again_and_counted_once(capsys):
    future = Future(TimeoutError(), (Exit(), FILES))
    assert run(future, []) == [("started", {}), ("ended", FILES)]
    assert capsys.readouterr().err == "the worker of vae seed 0 does not send its result; asking again\n"
    assert future.is_released  # else Dask computes it again if its worker vanishes later


def test_the_command_says_once_that_it_waits_for_a_worker_and_that_one_has_come(capsys):
    run(Future(TimeoutError(), TimeoutError(), (Exit(), FILES)), [1, 0, 0, 1])
    waits = [line for line in capsys.readouterr().err.splitlines() if line.startswith("the cluster")]
    assert waits == [
        "the cluster has no worker; waiting for one",
        "the cluster has a worker; the run continues",
    ]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CommClosedError("closed"), "the connection to the scheduler at tcp://there:1 is lost; if it has ended"),
        (OSError("no route"), "the cluster failed: no route; finished cells are kept"),
    ],
)
def test_a_lost_scheduler_is_one_line(error, text):
    with pytest.raises(StoppedError, match=f"^{text}.*run the same command again to continue$"):
        run(Future(error), [])


def ask(registered):
    """The versions of two workers of which one does not answer, while these are registered."""
    client = SimpleNamespace(
        run=lambda function, on_error: {"there": {"torch": "2"}, "silent": OSError("timed out")},
        scheduler_info=lambda n_workers: {"workers": dict.fromkeys(registered)},
    )
    return connection._ask_versions(client)


def test_a_worker_that_has_vanished_is_left_out_and_one_out_of_reach_is_refused(capsys):
    assert ask(["there"]) == {"there": {"torch": "2"}}
    assert not capsys.readouterr().err
    with pytest.raises(UserError, match=r"^the scheduler can't reach the worker silent; open the worker's port"):
        ask(["there", "silent"])
    assert capsys.readouterr().err == "the worker silent does not answer the scheduler\n" * 2


def test_only_workers_with_a_gpu_count_for_cells_that_need_one(capsys):
    workers = {"a": {"nthreads": 4, "resources": {}}, "b": {"nthreads": 1, "resources": {"GPU": 1}}}
    client = SimpleNamespace(status="running", scheduler_info=lambda n_workers: {"workers": workers})
    assert executor._count_threads(client, "cuda", None) == 1
    del workers["b"]
    assert executor._count_threads(client, "cuda", 1) == 0
    assert capsys.readouterr().err == "the cluster has no worker with a GPU; waiting for one\n"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("foo://x", "unknown address scheme 'foo'"),
        ("127.0.0.1", "missing port number"),
        ("tls://127.0.0.1:9", "TLS needs a certificate"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(address, reason):
    with pytest.raises(UserError, match=rf"^--scheduler {address}: no scheduler answers \({reason}"):
        connection._try_connection(address)


def test_a_service_that_never_answers_is_no_scheduler(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match=r"no scheduler answers \(nothing within 0.2 seconds\)"):
            connection._try_connection(address)
