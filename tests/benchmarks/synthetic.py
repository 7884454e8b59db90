"""Results whose truth is known."""

import numpy as np
import pandas as pd

from benchmarks.metrics import RESULT_COLUMNS


def table(variants=("vae",), seeds=range(5), elbo=-90.0, spread=0.2, seed=0, **columns):
    """Results as a run writes them: epochs 0 and 3, an ELBO that varies over seeds, a gradient variance of about 7."""
    source, rows = np.random.default_rng(seed), []
    for variant in variants:
        for number in seeds:
            shift = source.normal(0, spread)
            for epoch in (0, 3):
                own = (elbo if epoch else -500.0) + shift
                rows.append(
                    {
                        **dict.fromkeys(RESULT_COLUMNS, np.nan),
                        "variant": variant, "dataset": "mnist5k", "seed": number, "epoch": epoch, "status": "ok",
                        "elbo": own, "kl": 20.0, "reconstruction_error": -own - 20.0, "log_likelihood": own + 5,
                        "elbo_se": 0.01, "log_likelihood_se": 0.01, "reconstruction_mse": 0.03,
                        "gradient_variance": 7 * np.exp(source.normal(0, 0.1)), "decoder_gradient_variance": 60.0,
                        "machine_fraction": 0.5 * np.exp(source.normal(0, 0.01)), "throughput": 4e4,
                        "learning_rate": 1e-3, "processor": "a", "data_checksum": "d", "protocol_id": f"p-{variant}",
                        "started": f"2026-01-01T00:{number:02d}:00Z", "cell_id": f"{variant}-{number}",
                    }
                    | columns
                )  # fmt: skip
    return pd.DataFrame(rows)


def lost(rows, seeds, status):
    """The table with the last rows of these seeds lost."""
    rows = rows.copy()
    gone = rows["seed"].isin(seeds) & (rows["epoch"] == 3)
    rows.loc[gone, "status"] = status
    rows.loc[gone, ["elbo", "kl", "reconstruction_error", "log_likelihood"]] = np.nan
    return rows


def slower(rows, factor, minutes):
    """The table with its speed divided by the factor, and each seed started so many minutes later."""
    rows = rows.assign(machine_fraction=rows["machine_fraction"] / factor)
    rows["started"] = [f"2026-01-01T00:{m // 60:02d}:{m % 60:02d}Z" for m in 60 * (rows["seed"] % 100) + minutes]
    return rows
