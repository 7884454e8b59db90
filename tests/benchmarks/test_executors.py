"""How cells are mapped to processes."""

import multiprocessing.forkserver
import os
import signal

import pytest

from benchmarks import executors


@pytest.mark.skipif(executors.METHOD != "forkserver", reason="no server is started here")
def test_ctrl_c_while_the_server_starts_is_heard_afterwards(monkeypatch):
    reached = []

    def start():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("the end")

    monkeypatch.setattr(multiprocessing.forkserver, "ensure_running", start)
    with pytest.raises(KeyboardInterrupt):
        executors.warm_up()
    assert reached == ["the end"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
