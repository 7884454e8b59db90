"""What goes wrong: cells that misbehave, and a way to see what they leave behind."""

import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

MARK = "VAEZOO_FAULT_TEST"
FAULTY = '''
"""Variants whose models go wrong where they are built; they are harmless in the process that commands them."""
import multiprocessing
import os
import signal
import subprocess
import sys
import time

from vaezoo import Variant, elbo, mlp_normal, pathwise


def faulty(name, act):
    def architecture(spec, latent_dim):
        if multiprocessing.parent_process() is not None:
            act()
        return mlp_normal(spec, latent_dim)

    architecture.__name__ = name.replace("-", "_")
    return Variant(name, architecture, elbo, pathwise)


def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def fill_memory():
    import torch
    blocks = []
    while True:
        blocks.append(torch.empty(10_000_000))  # untouched memory counts, and takes no time


def fill_memory_in_python():
    blocks = []
    while True:
        blocks.append(bytearray(10_000_000))


def print_much():
    for _ in range(1000):
        sys.stdout.write("much " * 2000)
    print("the end of it")


def leave():
    subprocess.Popen(["sleep", "3600"])


def grow_by_a_child():
    subprocess.run([sys.executable, "-c", "x = bytearray(3_000_000_000)"], check=True)


VARIANTS = [
    faulty("raises", lambda: {}["nothing there"]),
    faulty("sleeps", lambda: time.sleep(3600)),
    faulty("stubborn", stubborn),
    faulty("fills-memory", fill_memory),
    faulty("fills-memory-in-python", fill_memory_in_python),
    faulty("dies", lambda: os.kill(os.getpid(), signal.SIGKILL)),
    faulty("dies-of-a-rare-signal", lambda: os.kill(os.getpid(), 40)),
    faulty("leaves-early", lambda: os._exit(74)),
    faulty("speaks-in-escapes", lambda: {}["\\x1b[31mred"]),
    faulty("prints-much", print_much),
    faulty("leaves-a-child", leave),
    faulty("grows-by-a-child", grow_by_a_child),
]
'''


@pytest.fixture(autouse=True)
def as_users_run_it(unchecked_types):
    """The library's types and shapes are checked in the library's tests."""


@pytest.fixture(scope="session")
def faulty(tmp_path_factory):
    """The plug-in of misbehaving variants."""
    path = tmp_path_factory.mktemp("plugin") / "faulty.py"
    path.write_text(FAULTY)
    return path


@pytest.fixture
def mark():
    """An environment by which all processes of a test are known."""
    return {MARK: uuid.uuid4().hex}


@pytest.fixture
def survivors(mark):
    """The processes of the test that live, after they had a moment to end."""
    mark_entry = f"{MARK}={mark[MARK]}".encode()

    def living():
        command_lines = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark_entry in (folder / "environ").read_bytes().split(b"\0"):
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    command_lines += [(folder / "cmdline").read_text()] if state != "Z" else []
            except OSError:
                continue
        return command_lines

    def look(patience=30.0):
        deadline = time.monotonic() + patience
        while living() and time.monotonic() < deadline:
            time.sleep(0.1)
        return living()

    yield look
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark_entry in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue


@pytest.fixture(scope="session")
def arguments(words):
    """The same as a process is started."""
    return lambda *of: [sys.executable, "-m", "benchmarks", *map(str, words(*of))]
