"""What the server that forks the cells' processes imports once, for all of them, and how it ends."""

import atexit
import gc
import os

import benchmarks.experiment

__all__ = ["benchmarks"]

SERVER = os.getpid()
gc.freeze()  # no cell's garbage collector has to look through all that is imported


@atexit.register
def _leave() -> None:
    """End at once: to take torch apart takes the server two seconds, and the command would wait for it."""
    if os.getpid() == SERVER:
        os._exit(0)
