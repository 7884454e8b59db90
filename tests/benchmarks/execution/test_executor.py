"""How cells are mapped to processes."""

import multiprocessing.forkserver
import signal
import threading

import pytest

from benchmarks.execution import forkserver


def receive_in_thread(number):
    """A signal to another thread, as to one of NumPy's, which were started before SIGINT was blocked."""

    def receive():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        receive_here(number)

    thread = threading.Thread(target=receive)
    thread.start()
    thread.join()


def receive_here(number):
    signal.pthread_kill(threading.get_ident(), number)


@pytest.mark.parametrize("send", [receive_in_thread, receive_here])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_server_starts_is_heard_afterwards(monkeypatch, number, send):
    reached = []

    def start():
        send(number)
        reached.append("the end")

    monkeypatch.setattr(multiprocessing.forkserver, "ensure_running", start)
    before = signal.signal(number, signal.default_int_handler)  # tests in a shell's background ignore SIGINT
    try:
        with pytest.raises(KeyboardInterrupt):
            forkserver.start_forkserver()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert reached == ["the end"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
