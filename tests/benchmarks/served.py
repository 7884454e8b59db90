"""A server of commands: imports the command line once, then forks a process for each line of arguments it is sent.

A request is one line of JSON on standard input, [arguments, environment]; the answer one line on standard output,
[exit status, standard output, standard error]. What a child does is what `python -m benchmarks` does, but for the
three seconds that it takes to import torch.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks import listings, runner  # with what they import, for all children
from benchmarks.cli import main
from benchmarks.laboratory import command

__all__ = ["command", "listings", "runner"]


def child(arguments, environment, out, err):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(out, os.O_WRONLY), 1)
    os.dup2(os.open(err, os.O_WRONLY), 2)
    os.environ.update(environment)
    sys.argv = ["python -m benchmarks", *arguments]
    try:
        status = main()
    except BaseException:  # what the interpreter would do; the parent's frames are not this process's to leave
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def answer(arguments, environment):
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        pid = os.fork()
        if pid == 0:
            child(arguments, environment, out, err)
        _, status = os.waitpid(pid, 0)
        return [os.waitstatus_to_exitcode(status), out.read_text(), err.read_text()]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)
