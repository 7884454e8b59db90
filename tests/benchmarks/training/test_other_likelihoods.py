"""Plug-ins with likelihoods of their own, from the cell to tables and figures: they are named, and ranked apart."""

from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.planning import model_specs, planner, registry
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.settings import load_settings
from benchmarks.reporting import formats, report, results_table, summaries
from benchmarks.reporting.figures import curves, style
from benchmarks.training import cell, state
from tests.vaezoo.testing.right_variants import OtherBernoulli, softplus_posterior
from tests.vaezoo.testing.wrong_models import GaussianOfBits, SquareLikelihood, with_likelihood
from vaezoo import Variant, elbo, mlp_normal, mlp_point, pathwise

SOURCE = """
import math
from torch import nn
from vaezoo import Model, Variant, elbo, mlp_normal, pathwise
from vaezoo.models import Decoder

class Density(nn.Module):
    name = "density of bits"
    support = "real"

    def log_prob(self, x, output):
        return -0.5 * (x - output).square().sum(-1) / 0.01 - x.shape[-1] * math.log(0.1 * math.sqrt(2 * math.pi))

    def mean(self, output):
        return output

class Misnamed(Density):
    name = "bernoulli"

def with_likelihood(likelihood):
    def architecture(spec, latent_dim):
        model = mlp_normal(spec, latent_dim)
        return Model(model.encoder, Decoder(model.decoder.network, likelihood()), model.prior, latent_dim)
    return architecture

VARIANTS = [
    Variant("density", with_likelihood(Density), elbo, pathwise),
    Variant("misnamed", with_likelihood(Misnamed), elbo, pathwise),
]
"""
DENSITY_TITLE = (
    "digits, epoch 1, likelihood density of bits: log densities of binary data, not comparable with log probabilities"
)


@pytest.fixture(scope="module")
def mixed(tiny, tmp_path_factory):
    """A run of two plug-in variants and two of the project: its folder, records and rows."""
    folder = tmp_path_factory.mktemp("mixed")
    protocol, prepared = planner.prepare(load_settings(tiny, {"epochs": 1}))
    entries = [registry.find_variant(name, None, [Plugin(SOURCE)]) for name in ("density", "misnamed", "vae", "vae-2")]
    records = [cell.train_and_measure(case)[0] for case in planner.plan_cells(entries, protocol, (0,), prepared)]
    results_table.write_results(folder, records)
    rows = results_table.read_results(folder / "results.csv")
    return SimpleNamespace(folder=folder, records=records, rows=rows)


def test_the_model_decides_likelihood_support_and_posterior(mixed):
    columns = ["variant", "status", "likelihood", "support", "posterior"]
    assert mixed.rows[columns].drop_duplicates().fillna("").values.tolist() == [
        ["density", "ok", "density of bits", "real", "diagonal_normal"],
        ["misnamed", "failed", "", "", ""],
        ["vae", "ok", "bernoulli", "binary", "diagonal_normal"],
        ["vae-2", "ok", "bernoulli", "binary", "diagonal_normal"],
    ]
    assert mixed.records[1]["error"] == (
        "ValueError: likelihood 'bernoulli' has another definition than vaezoo's; give it another name, or use vaezoo's"
    )


def test_the_report_of_the_run_has_a_table_for_each_likelihood(mixed, capsys, monkeypatch):
    monkeypatch.setattr(report, "write_figures", lambda results, folder: [])
    monkeypatch.setenv("COLUMNS", "300")
    assert report.report_run(mixed.folder, mixed.records) == 2  # one cell failed
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("digits, epoch")]
    ending = f" ({formats.MEDIANS})"
    assert titles == [
        f"digits, epoch 1, likelihood bernoulli, seeds: 1{ending}",
        f"digits, epoch 0, likelihood unknown, seeds: 0, 1 failed{ending}",
        f"{DENSITY_TITLE}, seeds: 1{ending}",
    ]
    summary = pd.read_csv(mixed.folder / "summary.csv", dtype=str, keep_default_na=False)
    assert summary[["variant", "likelihood"]].values.tolist() == [
        ["vae", "bernoulli"], ["vae-2", "bernoulli"], ["misnamed", ""], ["density", "density of bits"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("style", "mark"), [("markdown", "{} ("), ("latex", "% {} ("), ("csv", "digits,density,density of bits,1")]
)
def test_other_formats_separate_likelihoods(mixed, style, mark):
    text = formats.render_table(summaries.summarize(mixed.rows), formats.choose_metrics(["elbo"]), style)
    assert mark.format(DENSITY_TITLE) in text
    ends = [text.rindex(name) for name in ("vae-2", DENSITY_TITLE if style != "csv" else "density,", "density")]
    assert ends == sorted(ends)


def test_figures_separate_likelihoods(mixed):
    figures = curves.draw_figures(mixed.rows)
    for name, panels in (("learning-curves", 2), ("gradient-variance", 1)):
        axes = figures[name].axes
        lines = [[line.get_label() for line in panel.get_lines()] for panel in axes]
        assert lines == panels * [["vae", "vae-2"]] + panels * [["density"]]
        assert "likelihood density of bits" in axes[-panels].get_title(loc="left")
        assert "Likelihoods have separate panels" in " ".join(figures[name].get_supxlabel().split())
    first, second = figures["learning-curves"].axes[::2]
    assert not first.get_shared_y_axes().joined(first, second)
    for figure in figures.values():
        style.plt.close(figure)


def set_up(architecture, tiny, **settings):
    protocol, prepared = planner.prepare(load_settings(tiny, settings))
    variant, spec = Variant("a", architecture, elbo, pathwise), model_specs.make_spec(protocol, prepared.facts)
    return state.setup_training(variant, spec, protocol, prepared.folder, 0).model


@pytest.mark.parametrize(
    ("architecture", "settings", "names"),
    [
        (mlp_point, {"likelihood": "gaussian"}, ["gaussian", "real", "point_mass"]),
        (mlp_normal, {"likelihood": "gaussian", "binarization": "static"}, ["gaussian", "real", "diagonal_normal"]),
        (softplus_posterior, {}, ["bernoulli", "binary", "softplus_normal"]),
        (with_likelihood(OtherBernoulli), {}, ["OtherBernoulli", "binary", "diagonal_normal"]),
        (with_likelihood(SquareLikelihood), {}, ["SquareLikelihood", "real", "diagonal_normal"]),
        (with_likelihood(GaussianOfBits), {}, ["GaussianOfBits", "binary", "diagonal_normal"]),
    ],
)
def test_columns_of_a_model(tiny, architecture, settings, names):
    assert list(state.describe_model(set_up(architecture, tiny, **settings)).values()) == [*names, "standard-normal"]


def named(name, support="binary"):
    return with_likelihood(type("Named", (OtherBernoulli,), {"name": name, "support": support}))


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        (named("a"), {"dataset": "linear-gaussian", "batch_size": 500}, "the likelihood a has the support binary, but"),
        (named("a"), {"likelihood": "gaussian"}, r"a pixel of 0\.\d+; train the variant on other data"),
        (named("a", "unit"), {"dataset": "linear-gaussian", "batch_size": 500}, "support unit, but the data have"),
        (named("a", "bits"), {}, "has the support 'bits'; use one of binary, unit, real"),
        (named("$a$"), {}, r"'\$a\$' can't be the name of a likelihood"),
        (named(""), {}, "'' can't be the name of a likelihood"),
    ],
)
def test_unsuitable_likelihoods_are_refused(tiny, architecture, settings, words):
    with pytest.raises(UserError, match=words):
        state.describe_model(set_up(architecture, tiny, **settings))
