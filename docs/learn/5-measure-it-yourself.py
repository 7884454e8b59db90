"""Lesson 5 of docs/learn, a program in cells: train variants, read results, measure the noise of gradients."""

# %% [markdown]
# # 5. Measure it yourself
#
# After these 20 minutes you can train variants, read their results with pandas, and measure the noise of gradients.
#
# This page is a Python program in cells. Run it as a script, `python docs/learn/5-measure-it-yourself.py`, or cell by
# cell in an editor that knows `# %%`. It takes one to two minutes on two free cores. All files are in one temporary
# folder, whose name is printed.

# %%
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draw to files, so that no display is needed

import matplotlib.pyplot as plt
import pandas as pd

FOLDER = Path(tempfile.mkdtemp(prefix="vaezoo-"))
ENVIRONMENT = os.environ | {"VAEZOO_CACHE": str(FOLDER / "cache")}  # decoded data sets; by default in your cache folder
print("all files are in", FOLDER)


def run_benchmarks(*arguments: str) -> None:
    """Run `python -m benchmarks` with these arguments; stop if it fails."""
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        *arguments,
        "--preset",
        "quick",
        "--out",
        str(FOLDER),
        "--no-figures",
    ]
    print("\n$ python", *command[1:], flush=True)
    subprocess.run(command, check=True, env=ENVIRONMENT)


# %% [markdown]
# ## 1. Train four variants
#
# The preset `quick` uses digits of 8 x 8 pixels, two seeds and 30 epochs. The numbers are smaller than those of the
# lessons, which are from digits of 28 x 28 pixels.

# %%
VARIANTS = ("vae", "reinforce-vae-loo", "reinforce-vae", "vae-blocked")
run_benchmarks("run", *VARIANTS, "--name", "first")

# %% [markdown]
# ## 2. Read the results
#
# `results.csv` has one row for each variant, seed and checkpoint. A checkpoint is an epoch at which all metrics are
# measured. docs/columns.md explains every column.

# %%
results = pd.read_csv(FOLDER / "first" / "results.csv")
first = results[results["epoch"] == 0]
last = results[results["epoch"] == results["epoch"].max()]
medians = last.groupby("variant")[["elbo", "reconstruction_error", "kl"]].median().loc[list(VARIANTS)]
print(medians.round(2))

# %% [markdown]
# Three statements of the lessons can be checked in these rows:
#
# - before training all variants of a seed are equal, because they start from the same weights,
# - the ELBO is -(reconstruction error + KL), in every row,
# - the encoder of `vae-blocked` is trained by the KL alone, so its KL goes to 0.
#
# Look at `reinforce-vae` as well. On these small digits its KL does not become large, as it does in lesson 4. It learns
# hardly anything: its ELBO is close to that of `vae-blocked`.

# %%
assert (first.groupby("seed")["elbo"].nunique() == 1).all()
assert ((results["elbo"] + results["reconstruction_error"] + results["kl"]).abs() < 1e-6).all()
assert medians.loc["vae-blocked", "kl"] < 0.01
assert medians.loc["vae", "elbo"] > medians.loc["reinforce-vae-loo", "elbo"] > medians.loc["vae-blocked", "elbo"]
assert medians.loc["vae", "elbo"] > medians.loc["reinforce-vae", "elbo"] + 2

# %% [markdown]
# ## 3. Plot the gradient variance before training
#
# At epoch 0 all weights are equal, so the column `gradient_variance` compares only the estimators. At later epochs each
# variant has weights of its own, and the comparison would not be fair. `vae-blocked` has the variance 0, which a
# logarithmic axis cannot show.

# %%
variances = first.groupby("variant")["gradient_variance"].median().loc[["vae", "reinforce-vae-loo", "reinforce-vae"]]
print(variances)

figure, axes = plt.subplots(figsize=(6, 2), layout="constrained")
axes.plot(variances, variances.index, "o")
axes.set(xscale="log", xlabel="gradient variance of the encoder at epoch 0")
figure.savefig(FOLDER / "variance.png")
print("figure:", FOLDER / "variance.png")

assert variances["reinforce-vae"] > 1000 * variances["vae"]
assert 2 < variances["reinforce-vae-loo"] / variances["vae"] < 100

# %% [markdown]
# ## 4. Change one thing: the learning rate
#
# The preset's learning rate is 0.002. A smaller one averages the noise of the gradient over more steps. But each step
# is smaller too, and the number of epochs is the same. Predict which variant becomes worse, then run the next cell.

# %%
run_benchmarks("run", "vae", "reinforce-vae", "--learning-rate", "3e-4", "--name", "slow")
slow = pd.read_csv(FOLDER / "slow" / "results.csv")
slow_medians = slow[slow["epoch"] == slow["epoch"].max()].groupby("variant")["elbo"].median()
comparison = pd.DataFrame({"rate 0.002": medians["elbo"], "rate 0.0003": slow_medians}).dropna()
comparison["difference"] = comparison["rate 0.0003"] - comparison["rate 0.002"]
print(comparison.round(2))

# %% [markdown]
# `vae` becomes more than a nat worse: with little noise, smaller steps only slow it down. `reinforce-vae` changes by
# less than that, and at both rates it stays below `vae`.

# %%
assert comparison.loc["vae", "difference"] < -1
assert abs(comparison.loc["reinforce-vae", "difference"]) < -comparison.loc["vae", "difference"]
assert comparison.loc["vae", "rate 0.0003"] > comparison.loc["reinforce-vae", "rate 0.002"]

# %% [markdown]
# ## 5. Measure all estimators during training
#
# `gradients` trains a `vae`, stops it at four checkpoints, and measures every estimator there with the same weights,
# digits and noise. The exchange rate is the number of draws whose average has the variance of one reparameterized draw.
# Rows without a seed are over all seeds.

# %%
run_benchmarks("gradients", "--study", "training", "--name", "gradients")
rows = pd.read_csv(FOLDER / "gradients" / "gradients.csv")
rates = rows[(rows["quantity"] == "exchange_rate") & rows["seed"].isna() & (rows["objective"] == "elbo")]
table = rates.pivot_table(index="variant", columns="checkpoint", values="value")[["initial", "early", "middle", "end"]]
print(table.round(1).sort_values("end"))

# %% [markdown]
# Without a baseline REINFORCE needs hundreds to tens of thousands of draws for one. With the leave-one-out baseline it
# needs far fewer, at all four checkpoints. Two seeds give wide intervals; the findings printed above contain them.

# %%
assert (table.loc["reinforce-vae"] > 100).all()
assert (table.loc["reinforce-vae-loo"] > 2).all()
assert (table.loc["reinforce-vae-loo"] < table.loc["reinforce-vae"] / 5).all()
assert abs(table.loc["vae"] - 1).max() < 1e-6

# %% [markdown]
# ## Check yourself
#
# 1. Why is the exchange rate of `vae-2` about 1, although its gradient has half the variance?
# 2. Add `"beta-vae"` to `VARIANTS` and run the script again. Which assertion could fail, and why does it not?
# 3. Run `python -m benchmarks check reinforce-vae`. Which line says that its gradient is unbiased?
#
# Answers:
#
# 1. It counts draws, and `vae-2` uses two. Half the variance with twice the draws is neither better nor worse.
# 2. "Equal before training": the ELBO is evaluated with β = 1 for all variants, so `beta-vae` starts equal too.
# 3. "bias of the encoder's gradient". It compares the mean gradient with the exact one, which quadrature gives. It
#    also says how small a bias would show.
#
# Delete the folder that the first cell printed when you are done.
#
# Next: [For teachers](for-teachers.md). Previous: [4. Without the trick](4-without-the-trick.md).
