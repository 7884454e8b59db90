"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, its results.csv, a name under --out, or 'latest'.")
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE.py", help="A file that defines VARIANTS of your own; may be repeated."),
]
Out = Annotated[Path, typer.Option(help="Where run folders lie.")]
Preset = Annotated[str, typer.Option(help="Settings by name (see 'list presets') or a TOML file.")]
Dataset = Annotated[str | None, typer.Option(help="Data set; see 'list datasets'.")]
DataRoot = Annotated[Path | None, typer.Option(help="Where torchvision's files lie, or are downloaded to.")]
Seeds = Annotated[str | None, typer.Option(help="How many seeds, or which: 5 or 0,3,7.")]
Workers = Annotated[int | None, typer.Option(help="Cells side by side; by default one a core, or a GPU.")]
Name = Annotated[str | None, typer.Option(help="Name of the run folder; an existing one is continued.")]
KeepStale = Annotated[bool, typer.Option(help="Keep finished cells that other code or another torch made.")]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="How long a cell may take; by default as it likes.")
]
Memory = Annotated[
    int | None, typer.Option(metavar="MIB", help="How much a cell may allocate; by default as it likes.")
]
Snapshot = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How often a cell saves its state, to be continued from.")
]
ExecutorName = Annotated[str, typer.Option("--executor", help="local, or dask for more than one machine.")]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A running scheduler of Dask's; by default one is started here.")
]
