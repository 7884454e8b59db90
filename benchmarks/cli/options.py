"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common.atomic_files import check_run_name, check_writable

PRESET_DEFAULT, DATASET_DEFAULT = "the preset's", "the data set's"


def option(help_: str, default: str = "", *flags: str, **details: Any) -> Any:
    """Return a Typer option; `default` says in words what happens without it. `flags` replace the parameter's name."""
    return typer.Option(*flags, help=_append_default(help_, default), show_default=not default, **details)


def argument(metavar: str, help_: str, default: str = "") -> Any:
    """Return a Typer argument; `default` says in words what happens without it."""
    return typer.Argument(metavar=metavar, help=_append_default(help_, default))


def _append_default(help_: str, default: str) -> str:
    return rf"{help_} \[default: {default}]" if default else help_  # rich takes [...] as markup unless it is escaped


def split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


data, training, running, limits = (
    functools.partial(option, rich_help_panel=panel) for panel in ("Data", "Training", "Running", "Limits")
)

Run = Annotated[str, argument("RUN", "Run folder, its results.csv, the name of a run in --out, or 'latest'.")]
Variant = Annotated[str, argument("VARIANT", "Name of a variant; see 'list'.")]
Plugin = Annotated[
    list[Path] | None, option("Load more VARIANTS from this Python file. Repeatable.", "none", metavar="FILE.py")
]
Out = Annotated[Path, option("Look for runs in this folder.")]
Destination = Annotated[Path, option("Write the run folder into this folder.", callback=check_writable)]
Preset = Annotated[str, option("Use these settings: a name from 'list presets', or the path of a TOML file.")]
Dataset = Annotated[
    str | None,
    data(
        "Use this data set: a name from 'list datasets', an .npz or .csv file, or a folder of images.", PRESET_DEFAULT
    ),
]
DataRoot = Annotated[
    Path | None, data("Read torchvision data from this folder; download what is missing.", "data in the cache folder")
]
Architecture = Annotated[
    str | None,
    training(
        "Build encoder and decoder as mlp, mlp-2 (two hidden layers), conv (images only), or as an architecture of "
        "--plugin.",
        PRESET_DEFAULT,
    ),
]
Seeds = Annotated[
    str | None, training("Run this number of seeds (5), a list (0,3,7) or a range (64-103).", PRESET_DEFAULT)
]
Workers = Annotated[int | None, running("Run this number of cells at the same time.", "one per CPU core, or per GPU")]
Name = Annotated[
    str | None,
    running(
        "Name the run folder; continue the run that has this name.",
        "an unfinished run of the same cells, else the time, UTC",
        callback=check_run_name,
    ),
]
Timeout = Annotated[float | None, limits("Stop a cell after this time, in seconds.", "no limit", metavar="SECONDS")]
Memory = Annotated[int | None, limits("Stop a cell above this memory, in MiB (Linux only).", "no limit", metavar="MIB")]
Figures = Annotated[bool, running("Draw figures at the end, which takes seconds; 'plot' draws them later.", "yes")]
Report = Annotated[bool, running("Write report.html at the end: one page to look at, without a network.", "yes")]
KeepStale = Annotated[bool, running("Keep finished results, but no snapshots, if the code or torch has changed.", "no")]
