"""`profile`: the time of each operation in a training step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from benchmarks.cli.options import Architecture, DataRoot, Dataset, Out, Plugin, Preset, Variant, option


def profile(
    variant: Variant,
    preset: Preset = "default",
    dataset: Dataset = None,
    data_root: DataRoot = None,
    architecture: Architecture = None,
    steps: Annotated[int, option("Measure this number of training steps.", min=1, max=100_000)] = 200,
    out: Out = Path("results"),
    plugin: Plugin = None,
) -> None:
    """Measure the time of each operation in a variant's training step; print a table and write a Chrome trace."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no warning of the profiler about a missing GPU
    from benchmarks.cli.step_profile import profile_step
    from benchmarks.planning.planner import plan_run
    from benchmarks.planning.settings import load_settings

    settings = load_settings(preset, {"dataset": dataset, "architecture": architecture})
    case, *_ = plan_run(settings, [variant], plugin or [], data_root)
    print(profile_step(case, steps, out / f"profile-{variant}.json"))
