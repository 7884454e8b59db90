"""What a person wants to know while cells run: how many are done, what is running, how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Protocol, TextIO

from tqdm import tqdm


class Labelled(Protocol):
    """What has a name for people."""

    @property
    def label(self) -> str: ...


class Display:
    """A bar in a terminal, one plain line a finished cell elsewhere.

    costs: how long each cell takes beside the others, by its label.
    """

    def __init__(self, costs: Mapping[str, float], skipped: int, stream: TextIO = sys.stderr) -> None:
        self.costs, self.total, self.skipped, self.stream = costs, len(costs), skipped, stream
        self.whole = sum(costs.values())
        self.running: list[str] = []
        self.done, self.paid, self.start = 0, 0.0, time.monotonic()
        self.bar = tqdm(
            total=self.total,
            file=stream,
            disable=not stream.isatty(),
            unit="cell",
            bar_format="{n_fmt}/{total_fmt} cells |{bar:10}| {elapsed}, {desc}",
        )
        if skipped:
            self.say(f"{skipped} finished cells are kept")

    def say(self, text: str) -> None:
        tqdm.write(text, file=self.stream)

    def started(self, case: Labelled) -> None:
        self.running.append(case.label)

    def ended(self, case: Labelled, status: str, note: str) -> None:
        self.running.remove(case.label)
        self.done += 1
        self.paid += self.costs[case.label]
        if self.bar.disable or status != "ok":
            width = len(str(self.total))
            self.say(f"[{self.done:{width}}/{self.total}] {case.label}: {status}{note}; {self.left()}")
        self.bar.update()

    def left(self) -> str:
        """The time left, from the pace so far."""
        if self.done == self.total:
            return "all done"
        if not self.done:
            return "time left unknown"
        seconds = (time.monotonic() - self.start) * (self.whole / self.paid - 1)
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"

    def refresh(self) -> None:
        running = f", running: {', '.join(self.running)}" if self.running else ""
        self.bar.set_description_str(self.left() + running)

    def close(self) -> None:
        self.bar.close()
