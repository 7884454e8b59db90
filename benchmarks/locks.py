"""One run at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.errors import UserError

FILE = "run.lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, or a `UserError` that says who does; the system lets go of it however this process ends."""
    path = folder / FILE
    handle = _held(path)
    try:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        owner = {"process": os.getpid(), "host": platform.node(), "started": started}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(owner).encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder may have vanished
            path.unlink()
        os.close(handle)


def _held(path: Path) -> int:
    """An open handle of the file that holds the lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(handle)
            os.close(handle)
            raise UserError(f"{path.parent} is in use by {owner}; wait until it ends, or use another --name") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            print(f"{path.parent} lies where files can't be locked: start no second run in it", file=sys.stderr)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # its owner has removed it on leaving, since it was opened here


def _owner(handle: int) -> str:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
        return f"process {owner['process']} on {owner['host']}, a run that started at {owner['started']}"
    except (ValueError, KeyError, TypeError):
        return "another run"
