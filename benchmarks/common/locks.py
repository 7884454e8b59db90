"""Lock of a run folder: one command at a time writes to it."""

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

from filelock import FileLock, Timeout

from benchmarks.common.errors import UserError

LOCK_FILE = "run.lock"
NO_LOCK_SUPPORT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
RETRY_SECONDS = 0.2  # the owner may delete the lock file between its opening and its locking here


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder; raise `UserError` with the owner's process if another process has locked it.

    The operating system releases the lock when the process ends, even if it is killed.
    """
    path = folder / LOCK_FILE
    lock = FileLock(path, timeout=RETRY_SECONDS)  # the umask decides who can read it
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder} is in use by {_read_owner(path)}; wait until it ends, or use another --name"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCK_SUPPORT:
            raise
        print(f"{folder} is on a file system without locks: do not start a second run in it", file=sys.stderr)
    start_time = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        path.write_text(json.dumps({"process": os.getpid(), "host": platform.node(), "started": start_time}))
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone
            path.unlink()
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process that lives has locked the folder. This writes no file."""
    path = folder / LOCK_FILE
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file releases it; `lock_folder` retries
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno in NO_LOCK_SUPPORT and _has_living_owner(path)
    return False


def _has_living_owner(path: Path) -> bool:
    try:
        owner = json.loads(path.read_text())
        if owner["host"] == platform.node():
            os.kill(owner["process"], 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (OSError, ValueError, KeyError, TypeError):  # a process of another user, or a file that is written now
        return True
    return True


def _read_owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f"process {owner['process']} on {owner['host']}, a run that started at {owner['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
