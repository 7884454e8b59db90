"""Git repositories of source files: their name, and the commit of a file. Does not import torch."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git in a folder; None if git fails or is not installed.

    Variables such as GIT_DIR, which a hook of another repository sets, have no effect; nor has the folder's owner.
    """
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        process = subprocess.run(command, capture_output=True, timeout=30, check=True, env=variables)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.decode(errors="replace").strip()


def read_commit(file: Path, patterns: Sequence[str] = ("*.py",)) -> str:
    """Return the commit of a file's repository, followed by "+" and a hash of the changes if some are not committed.

    Return an empty string if the file is not in a git repository, or not part of it.

    patterns: the files whose changes count, from the top folder of the repository.
    """
    if run_git(file.parent, "ls-files", "--error-unmatch", str(file)) is None:
        return ""
    head = (run_git(file.parent, "rev-parse", "HEAD") or "")[:12]
    changes = run_git(file.parent, "diff", "HEAD", "--", *(f":(top){pattern}" for pattern in patterns))
    return f"{head}+{hashlib.sha256(changes.encode()).hexdigest()[:6]}" if changes else head


def read_origin(file: Path) -> str:
    """Return the address of the repository's remote "origin" without credentials, or else the name of its folder."""
    address = run_git(file.parent, "remote", "get-url", "origin")
    if address:
        return re.sub(r"(?<=://)[^/@]*@", "", address)
    return Path(run_git(file.parent, "rev-parse", "--show-toplevel") or "").name
