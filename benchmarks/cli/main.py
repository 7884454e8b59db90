"""The program: its commands, and the exit code of each outcome."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from benchmarks.cli.commands import compare, gradients, inspect, report, reproduce, run, show
from benchmarks.cli.commands.files import export, merge, rebuild
from benchmarks.cli.commands.machine import diagnose, profile
from benchmarks.cli.commands.models import evaluate, sample
from benchmarks.common import environment
from benchmarks.common.errors import ExitCode, StoppedError, UserError, printable, shorten

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)  # not a mistake of the user

app = typer.Typer(
    name="python -m benchmarks",
    help="Train variants of the variational autoencoder with equal settings, and compare them.",
    epilog="Start with: python -m benchmarks run --all --preset quick",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, dict[str, tuple[Callable[..., Any], str]]] = {
    "Run and read": {
        "run": (run.run, "run vae reinforce-vae --preset quick --seeds 3"),
        "show": (show.show, "show latest --metrics elbo,kl"),
        "plot": (show.plot, "plot results/default"),
        "report": (report.report, "report latest --against results/baseline"),
        "list": (inspect.list_, "list metrics"),
    },
    "Gradients": {
        "gradients": (gradients.gradients, "gradients --preset quick --study training"),
        "check": (inspect.check, "check mine --plugin mine.py"),
        "profile": (profile.profile, "profile vae --steps 500"),
    },
    "Compare with papers": {
        "reproduce": (reproduce.reproduce, "reproduce --check"),
    },
    "Compare runs": {
        "compare": (compare.compare, "compare results/baseline latest"),
        "baseline": (compare.baseline, "baseline latest"),
        "history": (compare.history, "history --metrics elbo"),
        "power": (compare.power, "power results/hundred-seeds"),
    },
    "Use trained models": {
        "evaluate": (evaluate.evaluate, "evaluate latest --log-likelihood-draws 5000"),
        "sample": (sample.sample, "sample latest vae --out samples.png"),
    },
    "Repair and move": {
        "rebuild": (rebuild.rebuild, "rebuild latest"),
        "merge": (merge.merge, "merge part-0 part-1 part-2 --name all"),
        "export": (export.export, "export latest --to csv-long"),
        "doctor": (diagnose.diagnose, "doctor --json"),
    },
}


def print_version(requested: bool) -> None:
    """Print the version and end, if it is requested."""
    if requested:
        print(f"vaezoo {environment.read_project_version()}")
        raise typer.Exit


@app.callback()
def set_up(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of a fault of this program; also after a command.")
    ] = False,
) -> None:
    """Train variants of the variational autoencoder with equal settings, and compare them."""


for panel, commands in COMMANDS.items():
    for name, (function, example) in commands.items():
        app.command(name, rich_help_panel=panel, epilog=f"Example: python -m benchmarks {example}")(function)


def main() -> int:
    """Run the command line and return its exit code; print errors as one line on standard error."""
    try:
        code = app(standalone_mode=False)  # returns 130 after Ctrl-C
    except SystemExit as end:  # Typer exits with 1 if the output was closed, but 1 means a regression
        if isinstance(end.__context__, BrokenPipeError):
            return ExitCode.READER_GONE
        raise
    except UserError as error:
        return _fail(str(error), ExitCode.USAGE)
    except StoppedError as error:
        return _fail(str(error), ExitCode.INCOMPLETE)
    except OSError as error:
        if error.filename is None and error.errno not in DISK_ERRORS:
            raise
        path = shorten(os.fspath(error.filename or "standard output"), 200)
        code = ExitCode.INCOMPLETE if error.errno in DISK_ERRORS else ExitCode.USAGE
        return _fail(f"{error.strerror}: {path}; fix that and run again", code)
    except TyperException as error:
        if not error.format_message():
            return ExitCode.USAGE  # the help has been shown
        return _fail(f"{error.format_message().rstrip('.')}; see 'python -m benchmarks --help'", ExitCode.USAGE)
    if code == ExitCode.INTERRUPTED:
        print("interrupted; run the same command again to continue", file=sys.stderr)
    return code if isinstance(code, int) else ExitCode.OK


def _fail(text: str, code: ExitCode) -> ExitCode:
    print(f"error: {printable(' '.join(text.split()))}", file=sys.stderr)
    return code
