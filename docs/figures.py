"""Draw the figures of the documentation that are not of a run: python -m docs.figures."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from benchmarks.reporting.figures import style
from docs.growth import draw_growth
from docs.one_latent import draw_one_latent
from docs.published import draw_slopes

FOLDER = Path(__file__).parent / "img"
BLUE, GREEN, GREY = "#08519c", "#15803d", "0.45"
EXAMPLES = ((0.0, 1.0, GREY), (1.0, 1.0, BLUE), (0.0, 0.1, GREEN))  # mean, scale, colour


def compute_kl(mean: float | np.ndarray, scale: float | np.ndarray) -> float | np.ndarray:
    """Return KL(N(mean, scale²)‖N(0, 1)) in nats: (mean² + scale² - 1) / 2 - log(scale)."""
    return (mean**2 + scale**2 - 1) / 2 - np.log(scale)


def draw_kl() -> Figure:
    """Draw three densities with their KL to the prior N(0, 1), and the KL by mean and by scale."""
    with plt.rc_context(style.plot_style("ticks")):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(style.WIDTH, 3.2), width_ratios=(1.4, 1, 1))
        z = np.linspace(-3, 8, 1101)
        for mean, scale, colour in EXAMPLES:
            density = np.exp(-(((z - mean) / scale) ** 2) / 2) / (scale * np.sqrt(2 * np.pi))
            label = f"μ = {mean:g}, σ = {scale:g}: KL = {compute_kl(mean, scale) + 0:.2f}"
            left.plot(z, density, color=colour, label=label)
        left.legend(loc="upper right")
        left.set(xlabel="z", ylabel="density of q", title="q, and the prior (grey)")
        means, scales = np.linspace(-2, 2, 201), np.geomspace(0.05, 3, 201)
        middle.plot(means, compute_kl(means, 1.0), color=BLUE)
        middle.set(xlabel="mean μ, at σ = 1", ylabel="KL (nats)", title="by mean")
        right.plot(scales, compute_kl(0.0, scales), color=GREEN)
        right.set(xscale="log", xlabel="scale σ, at μ = 0", ylabel="KL (nats)", title="by scale")
        right.set_xticks([0.05, 0.2, 1, 3], ["0.05", "0.2", "1", "3"])
        right.minorticks_off()
        style.set_title(figure, "The KL divergence is 0 if q equals the prior")
        return figure


if __name__ == "__main__":
    style.save_figure(draw_kl(), FOLDER / "kl", ("svg",))
    with plt.rc_context(style.plot_style("ticks")):
        style.save_figure(draw_one_latent(), FOLDER / "one-latent", ("svg",))
        style.save_figure(draw_slopes(), FOLDER / "more-draws", ("svg",))
    style.save_figure(draw_growth(), FOLDER / "growth", ("svg",))
