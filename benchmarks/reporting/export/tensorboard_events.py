"""Results as event files of TensorBoard: a folder for each cell, a scalar for each metric. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from benchmarks.reporting.export.long_table import read_time, split_cells


def write_events(results: pd.DataFrame, folder: Path) -> None:
    """Write VARIANT/seed-N/events... for each cell. The step is that of the optimizer, the time that of training."""
    seconds = results.set_index(["cell_id", "step"])["train_seconds"].fillna(0.0).to_dict()
    for first, values in split_cells(results):
        start = read_time(first)
        writer = EventFileWriter(str(folder / str(first["variant"]) / f"seed-{first['seed']:.0f}"))
        for row in values.itertuples():
            summary = Summary(value=[Summary.Value(tag=row.metric, simple_value=row.value)])
            time = start + seconds[row.cell_id, row.step]
            writer.add_event(Event(wall_time=time, step=int(row.step), summary=summary))
        writer.close()
