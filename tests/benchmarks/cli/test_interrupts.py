"""Exit code after Ctrl-C, in a new Python process."""

import subprocess
import sys

PROGRAM = """
import atexit
from benchmarks.cli import interrupts
from benchmarks.common.errors import ExitCode
atexit.register(print, "tidied")
try:
    exec("raise KeyboardInterrupt")  # as Ctrl-C while a dataclass is created
except KeyboardInterrupt:
    interrupts.exit_program(ExitCode.INTERRUPTED)
"""


def test_interruption_inside_exec_exits_with_130(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "tidied\n", "")
