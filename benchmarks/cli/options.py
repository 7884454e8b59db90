"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# rich takes [...] as markup unless it is escaped
PRESET_DEFAULT = r"\[default: the preset's]"
DATASET_DEFAULT = r"\[default: the data set's]"

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Run folder, its results.csv, the name of a run in --out, or 'latest'.")
]
Variant = Annotated[str, typer.Argument(metavar="VARIANT", help="Name of a variant; see 'list'.")]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE.py", help=r"Python file that defines more VARIANTS. Repeatable. \[default: none]"),
]
Out = Annotated[Path, typer.Option(help="Folder that contains the run folders.")]
Preset = Annotated[str, typer.Option(help="Settings: a name from 'list presets', or the path of a TOML file.")]
Dataset = Annotated[str | None, typer.Option(help=f"Data set; see 'list datasets'. {PRESET_DEFAULT}")]
DataRoot = Annotated[
    Path | None,
    typer.Option(help=r"Folder of torchvision data; downloaded there if missing. \[default: data in the cache folder]"),
]
Seeds = Annotated[
    str | None, typer.Option(help=f"Number of seeds (5), a list (0,3,7) or a range (64-103). {PRESET_DEFAULT}")
]
Workers = Annotated[
    int | None, typer.Option(help=r"Number of training runs at the same time. \[default: one per CPU core, or per GPU]")
]
Name = Annotated[
    str | None,
    typer.Option(
        help="Name of the run folder; an existing run is continued. "
        r"\[default: an unfinished run of the same cells, else the time, UTC]"
    ),
]
KeepStale = Annotated[bool, typer.Option(help="Keep finished results although the code or torch version has changed.")]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help=r"Time limit of a training run, seconds. \[default: no limit]"),
]
Memory = Annotated[
    int | None,
    typer.Option(metavar="MIB", help=r"Memory limit of a training run, MiB (Linux only). \[default: no limit]"),
]
Snapshot = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="Seconds between snapshots, from which a killed training run continues."
    ),
]
ExecutorName = Annotated[
    str, typer.Option("--executor", help="Where training runs: local (this machine), or dask (several machines).")
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help=r"Address of a running Dask scheduler. \[default: start one on this machine]"),
]
