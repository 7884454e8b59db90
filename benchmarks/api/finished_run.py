"""A run folder as an object: its tables, its figures and its models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.reporting import formats, report, results_table, summaries
from benchmarks.runs import folders

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vaezoo import TrainedModel


Files = str | Path | Sequence[str | Path] | None


def list_files(files: Files) -> list[Path]:
    """Return one path or several as a list."""
    return [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files or ()]


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder. Its tables are read from the files each time.

    folder: path of the folder.
    """

    folder: Path

    @property
    def results(self) -> pd.DataFrame:
        """Return results.csv: a row for each checkpoint of each cell; `list metrics` says what a metric means."""
        return results_table.read_results(self.folder / "results.csv")

    @property
    def summary(self) -> pd.DataFrame:
        """Return summary.csv: a row for each variant, with median and range of each metric over seeds."""
        return pd.read_csv(self.folder / "summary.csv")

    def figures(self) -> dict[str, Figure]:
        """Return the figures of the run, by name; a notebook shows one that is the last line of a cell."""
        import matplotlib.pyplot as plt

        with plt.rc_context():
            plt.rcdefaults()  # the user's settings are for the user's figures
            figures = report.draw_run(self.results, self.folder)
        for figure in figures.values():
            plt.close(figure)  # so that a notebook does not show all of them
        return figures

    def model(self, variant: str, seed: int | None = None, plugin: Files = ()) -> TrainedModel:
        """Return a trained model that the run has kept, with `encode`, `decode`, `sample` and `log_likelihood`.

        Args:
            variant: its name.
            seed: default: the lowest seed of the run.
            plugin: the Python files that define the variant or its architecture, if vaezoo does not.

        Raises:
            UserError: there is no such model; the message says what to do.
        """
        from benchmarks.api.kept_models import find_models, reload
        from benchmarks.planning.plugins import read_plugins

        file = find_models.find_model(self.folder, variant, None if seed is None else int(seed))
        case = reload.plan_again(self.folder, file.record, read_plugins(list_files(plugin)))
        return reload.load_kept_model(file.path, case)

    def __repr__(self) -> str:
        table = formats.render_table(summaries.summarize(self.results), formats.choose_metrics([]), "text")
        return f"{table}\n\n{self.folder}"


def read(run: str | Path, out: str | Path = "results") -> Run:
    """Return a run, given as its folder, its results.csv, its name in the folder `out`, or "latest".

    Raises:
        UserError: there is no such run, or it has no results.
    """
    return Run(folders.find_results(str(run), Path(out)).parent.resolve())
