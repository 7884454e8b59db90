"""Synthetic results with known differences."""

import numpy as np
import pandas as pd

from benchmarks.reporting.results_table import RESULT_COLUMNS


def make_results(variants=("vae",), seeds=range(5), elbo=-90.0, spread=0.2, seed=0, **columns):
    """Make results like those of a run: epochs 0 and 3, an ELBO that varies over seeds, a gradient variance near 7."""
    source, rows = np.random.default_rng(seed), []
    for variant in variants:
        for number in seeds:
            shift = source.normal(0, spread)
            for epoch in (0, 3):
                value = (elbo if epoch else -500.0) + shift
                rows.append(
                    {
                        **dict.fromkeys(RESULT_COLUMNS, np.nan),
                        "variant": variant, "dataset": "mnist5k", "seed": number, "epoch": epoch, "status": "ok",
                        "elbo": value, "kl": 20.0, "reconstruction_error": -value - 20.0, "log_likelihood": value + 5,
                        "elbo_se": 0.01, "log_likelihood_se": 0.01, "reconstruction_mse": 0.03,
                        "gradient_variance": 7 * np.exp(source.normal(0, 0.1)), "decoder_gradient_variance": 60.0,
                        "machine_fraction": 0.5 * np.exp(source.normal(0, 0.01)), "throughput": 4e4,
                        "learning_rate": 1e-3, "processor": "a", "data_checksum": "d", "protocol_id": f"p-{variant}",
                        "started": f"2026-01-01T00:{number:02d}:00Z", "cell_id": f"{variant}-{number}",
                    }
                    | columns
                )  # fmt: skip
    return pd.DataFrame(rows)


def lose_seeds(rows, seeds, status):
    """Return the results without the last measurements of these seeds."""
    rows = rows.copy()
    last = rows["seed"].isin(seeds) & (rows["epoch"] == 3)
    rows.loc[last, "status"] = status
    rows.loc[last, ["elbo", "kl", "reconstruction_error", "log_likelihood"]] = np.nan
    return rows


def slow_down(rows, factor, minutes):
    """Return the results with the speed divided by `factor`, and the cells started by hour of seed, plus `minutes`."""
    rows = rows.assign(machine_fraction=rows["machine_fraction"] / factor)
    rows["started"] = [f"2026-01-01T00:{m // 60:02d}:{m % 60:02d}Z" for m in 60 * (rows["seed"] % 100) + minutes]
    return rows
