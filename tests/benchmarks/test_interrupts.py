"""The exit code after Ctrl-C, in a real interpreter."""

import subprocess
import sys

PROGRAM = """
import atexit
from benchmarks import interrupts
atexit.register(print, "tidied")
try:
    exec("raise KeyboardInterrupt")  # as one that comes while a dataclass is made
except KeyboardInterrupt:
    interrupts.leave(interrupts.INTERRUPTED)
"""


def test_an_interruption_within_an_exec_has_its_exit_code_too(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "tidied\n", "")
