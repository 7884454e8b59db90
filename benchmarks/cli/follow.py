"""Printing the table of a run again and again while the run goes on."""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cli import interrupts
from benchmarks.common.errors import ExitCode, printable

FOLLOW_SECONDS = 2.0  # between two looks at the run
CLEAR_SCREEN = "\x1b[2J\x1b[H"


@dataclass(frozen=True)
class Page:
    """The table of a run, empty if it has no results yet. notes: lines, such as which cells are running or are missing.

    is_last: whether nothing will be added.
    """

    table: str
    notes: tuple[str, ...]
    is_last: bool


def print_page(page: Page) -> None:
    """Print the table, and its notes on standard error."""
    if page.table:
        print(page.table, flush=True)
    for note in page.notes:
        print(printable(note), file=sys.stderr)


def follow_pages(make_page: Callable[[], Page]) -> None:
    """Print the page again whenever its table changes, until the last one; in a terminal also when its notes change.

    Ctrl-C ends the program with exit code 130.
    """
    try:
        _follow_pages(make_page)
    except KeyboardInterrupt:
        interrupts.exit_program(ExitCode.INTERRUPTED)  # without the advice to continue: the run itself goes on


def _follow_pages(make_page: Callable[[], Page]) -> None:
    has_screen = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    last = None
    while True:
        page = make_page()
        if last is None or page.table != last.table or (page.notes != last.notes and (has_screen or page.is_last)):
            if last and last.table:
                print(CLEAR_SCREEN if has_screen else "\n", end="")
            print_page(page)
        if page.is_last:
            return
        last = page
        _wait(FOLLOW_SECONDS)


def _wait(seconds: float) -> None:
    """Wait; raise `BrokenPipeError` if the program that reads the output is gone."""
    time.sleep(seconds)
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
