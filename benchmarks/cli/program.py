"""The program from its start to its exit code; no outcome leaves a traceback on the screen."""

from __future__ import annotations

import sys
import tempfile
import traceback
from typing import NoReturn

from benchmarks.cli import interrupts, standard_streams
from benchmarks.common.errors import ExitCode, UserError, printable
from benchmarks.common.machine import inherited_settings

DEBUG = "--debug"


def run_program() -> NoReturn:
    """Run the command line of this process, and exit with its code."""
    standard_streams.prepare_streams()
    interrupts.install_handlers()
    interrupts.exit_program(find_exit_code())


def find_exit_code() -> int:
    """Run the command line, and return its exit code: 70 after an error that no command handles."""
    debug = DEBUG in sys.argv
    sys.argv[1:] = [word for word in sys.argv[1:] if word != DEBUG]  # before or after the name of the command
    try:
        inherited_settings.neutralize()
        from benchmarks.cli.main import main  # imports libraries, which may fail

        return main()
    except KeyboardInterrupt:  # before the command line could handle it
        return ExitCode.INTERRUPTED
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return ExitCode.USAGE
    except BaseException as error:
        print(f"error: {describe_fault(error, debug)}", file=sys.stderr)
        return ExitCode.FAULT


def describe_fault(error: BaseException, debug: bool) -> str:
    """Return one line on an error that no command handles; write its traceback to a file, or to standard error."""
    text = "".join(traceback.format_exception(error))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "benchmarks" in frame.filename]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    if debug:
        print(text, end="", file=sys.stderr)
        remedy = "report it with the traceback above"
    else:
        remedy = f"report it with the traceback in {_write_traceback(text)}, or see it with {DEBUG}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return printable(f"a fault of vaezoo{place}: {reason[:500]}; {remedy}")


def _write_traceback(text: str) -> str:
    try:
        with tempfile.NamedTemporaryFile(prefix="vaezoo-", suffix=".traceback", delete=False) as file:
            content = f"{' '.join(sys.argv)}\nPython {sys.version}\n\n{text}"
            file.write(content.encode(errors="backslashreplace"))  # a name of a file may be no text
        return file.name
    except OSError:
        return "a file that could not be written"
