"""What the server that forks the cells' processes imports once, for all of them, and how it ends."""

import atexit
import contextlib
import gc
import os

from benchmarks import compiling, environment, experiment, planning, plugins, training
from benchmarks.errors import UserError

__all__ = ["compiling", "experiment", "planning", "training"]

SERVER = os.getpid()
environment.processor()  # what is asked once in a process is asked here once for all
environment.torch_version()
with contextlib.suppress(UserError):  # an installed package of variants that is broken; the command says so
    plugins.registry()
gc.freeze()  # no cell's garbage collector has to look through all that is imported


@atexit.register
def _leave() -> None:
    """End at once: to take torch apart takes the server two seconds, and the command would wait for it."""
    if os.getpid() == SERVER:
        os._exit(0)
