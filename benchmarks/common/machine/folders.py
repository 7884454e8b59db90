"""Folders for temporary files and for the cache: writable, short enough for a socket, and able to hold programs."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from benchmarks.common.cache_paths import CACHE_VARIABLE, cache_root
from benchmarks.common.errors import UserError

MAX_LENGTH = 60  # bytes: the path of a socket has at most 107, and its name in this folder up to 40
TEMPORARY_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def choose_temporary_folder() -> None:
    """Make this process and its children use the first folder that is writable, short, and not mounted noexec.

    The user's folder is preferred. Raises `UserError` if no folder for temporary files can be written.
    """
    candidates = [os.environ.get("TMPDIR") or TEMPORARY_FOLDERS[0], *TEMPORARY_FOLDERS]
    usable = [folder for folder in candidates if len(os.fsencode(folder)) <= MAX_LENGTH and is_writable(Path(folder))]
    if not usable:
        listed = ", ".join(dict.fromkeys(candidates))
        raise UserError(
            f"no folder for temporary files: {listed} can't be written, or has a path of more than {MAX_LENGTH} bytes; "
            "set TMPDIR to a writable folder with a short path"
        )
    tempfile.tempdir = os.environ["TMPDIR"] = next(filter(allows_programs, usable), usable[0])


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in the folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def allows_programs(folder: Path | str) -> bool:
    """Return whether code in the folder can be loaded: its file system is not mounted noexec."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def choose_cache() -> None:
    """Use a temporary folder as the cache, and say so, if the user's cache folder can't be written."""
    if os.environ.get(CACHE_VARIABLE):
        return  # the user's choice; a folder that can't be written is an error
    if reason := _explain_unusable_cache():
        os.environ[CACHE_VARIABLE] = str(_make_private_folder())
        print(
            f"{reason}; data and compiled steps are in {os.environ[CACHE_VARIABLE]}; set {CACHE_VARIABLE} to a "
            "writable folder to choose another",
            file=sys.stderr,
        )


def _explain_unusable_cache() -> str:
    """Return why the user's cache folder can't be used, or nothing if it can."""
    try:
        folder = cache_root()
    except RuntimeError:  # from platformdirs
        return describe_homeless_user()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if is_writable(folder) else "it can't be written"
    except OSError as error:
        reason = str(error.strerror)
    return reason and f"the cache folder {folder} is not used ({reason})"


def describe_homeless_user() -> str:
    """Return why there is no cache folder; in containers, users often have a number only."""
    return f"user {os.getuid()} has no cache folder, because HOME is not set and the system does not list the user"


def _make_private_folder() -> Path:
    """Return a folder for temporary files to which no other user can write: the cache contains programs."""
    folder = Path(tempfile.gettempdir(), f"vaezoo-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return folder if is_private else Path(tempfile.mkdtemp(prefix="vaezoo-"))
