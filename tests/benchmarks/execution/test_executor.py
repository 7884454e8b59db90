"""How cells are mapped to processes."""

import multiprocessing.forkserver
import signal
import threading

import pytest

from benchmarks.execution import forkserver


def test_ctrl_c_while_the_server_starts_is_heard_afterwards(monkeypatch):
    reached = []

    def start():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # no other thread of the tests may take it
        reached.append("the end")

    monkeypatch.setattr(multiprocessing.forkserver, "ensure_running", start)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in a shell's background ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            forkserver.start_forkserver()
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
