"""`sample`: new examples from a kept model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from benchmarks.cli import options
from benchmarks.cli.options import option


def sample(
    run: options.Run,
    variant: options.Variant,
    count: Annotated[int, option("Draw this number of examples.", min=1, max=1_000_000)] = 36,
    seed: Annotated[int | None, option("Take the model of this seed.", "the lowest seed of the run")] = None,
    draw_seed: Annotated[int, option("Draw with this seed.", min=0)] = 0,
    out: Annotated[
        Path | None,
        option(
            "Write this file: .png (one picture), .npy (an array) or .csv (a table).",
            "VARIANT-SEED in the folder samples of the run: a picture, or a table if the data are no images",
            metavar="FILE",
        ),
    ] = None,
    plugin: options.Plugin = None,
) -> None:
    """Draw latents from the prior, and write E[x|z] of a model that a run has kept."""
    from benchmarks.api.kept_models import find_models, samples
    from benchmarks.execution import isolated_call
    from benchmarks.runs import folders

    folder = folders.find_run(run, Path("results"))
    model = find_models.find_model(folder, variant, seed)
    arguments = (folder, model, plugin or [], count, draw_seed)
    drawn, image_shape, columns = isolated_call.call_isolated(samples.draw_samples, *arguments)
    suffix = ".png" if image_shape else ".csv"
    path = out or folder / "samples" / f"{variant}-{model.seed}{suffix}"
    samples.write_samples(path, drawn, image_shape, columns)
    print(path)
