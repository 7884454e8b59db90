"""A server that imports the commands once, then forks a process for each command line that it receives.

A request is one line of JSON on standard input, [arguments, folder, environment]; the answer is one line on standard
output, [exit status, standard output, standard error]. A child does the same as `python -m benchmarks`, without
the seconds for importing torch, in itself and in a fork server: it forks the processes of cells. It also calls directly
the functions that commands call in an isolated process.
"""

import importlib
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.cli.program import find_exit_code
from benchmarks.execution import executor, forkserver, isolated_call, local

MODULES = (  # modules that the commands import when they are called
    "benchmarks.cli.main",
    "benchmarks.cli.step_profile",
    "benchmarks.comparison.history.history_figure",
    "benchmarks.comparison.history.reference_run",
    "benchmarks.comparison.microbenchmarks",
    "benchmarks.comparison.power.error_rates",
    "benchmarks.gradient_studies.measurement",
    "benchmarks.gradient_studies.report.figures",
    "benchmarks.gradient_studies.plan.study_plan",
    "benchmarks.planning.planner",
    "benchmarks.preload",
    "benchmarks.reporting.figures.hero",
    "benchmarks.reporting.report",
    "benchmarks.runs.recovery",
    "benchmarks.training.cell",
    "vaezoo.testing",
)


def call_directly(function, *args, **kwargs):
    return function(*args, **kwargs)


def child(arguments, folder, environment, out, err):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(out, os.O_WRONLY), 1)
    os.dup2(os.open(err, os.O_WRONLY), 2)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = ["python -m benchmarks", *arguments]
    isolated_call.call_isolated = call_directly
    forkserver.CONTEXT = multiprocessing.get_context("fork")
    for module in (executor, forkserver, local):
        module.start_forkserver = lambda: None
    status = find_exit_code()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def answer(arguments, folder, environment):
    with tempfile.TemporaryDirectory() as output:
        out, err = Path(output, "out"), Path(output, "err")
        out.touch()
        err.touch()
        pid = os.fork()
        if pid == 0:
            child(arguments, folder, environment, out, err)
        _, status = os.waitpid(pid, 0)
        return [os.waitstatus_to_exitcode(status), out.read_text(), err.read_text()]


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked process could not use the threads of this one
    for module in MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)
