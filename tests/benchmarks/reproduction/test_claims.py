"""Claims: files, and one line for each mistake in them."""

import pytest
import torch

from benchmarks.common.errors import UserError
from benchmarks.planning.plugins import read_plugins
from benchmarks.planning.registry import load_registry
from benchmarks.planning.settings import load_settings
from benchmarks.reproduction.claims import list_claims, load_claim
from benchmarks.reproduction.record import ClaimRecord, describe_run, read_record, write_record
from vaezoo import DataSpec
from vaezoo.distributions.discrete import FactorizedCategorical
from vaezoo.reductions import MEAN

MINIMAL = """
title = "a"
source = "b"
hours = 1
deviations = []
[[runs]]
variants = ["vae"]
[[checks]]
quantity = "c"
kind = "exact"
terms = [{ column = "elbo" }]
above = 0
reason = "d"
[control]
mistake = "e"
column = "kl"
"""


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", list_claims())
def test_a_claim_of_the_project_is_whole(name):
    claim = load_claim(name)
    assert all(term.column for check in claim.checks for term in check.terms)
    for run in claim.runs:
        settings = load_settings(run.preset, run.settings)
        assert settings.seeds
        assert not run.plugin or (claim.folder / run.plugin).is_file()
    assert any(claim.control.plant(term) != term for check in claim.checks for term in check.terms)


def test_at_least_sixteen_claims():
    assert len(list_claims()) >= 16


def test_a_file_is_read(tmp_path):
    claim = load_claim(write(tmp_path, MINIMAL))
    assert (claim.name, claim.folder, claim.runs[0].name) == ("mine", tmp_path, "main")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "a"', "", "mine.toml, title: field required"),
        ("above = 0", "", "mine.toml, checks.0: a check needs published with tolerance or standard_errors"),
        ("above = 0", "published = 1", "mine.toml, checks.0: a check needs published with"),
        ("above = 0", "tolerance = 1", "mine.toml, checks.0: a check needs published with"),
        ('variants = ["vae"]', "", "mine.toml, runs.0: a run of the command run needs variants"),
        ('variants = ["vae"]', 'command = "gradients"', "mine.toml, runs.0: a run of the command gradients needs"),
        ('variants = ["vae"]', 'variants = ["vae"]\nname = "a/b"', "'a/b' can't be the name of a run"),
        ('column = "elbo"', 'column = "elbo", run = "x"', "mine.toml, the file: there is no run 'x'; known: main"),
        ("[control]", '[[runs]]\nvariants = ["vae"]\n[control]', "two runs have the same name: main, main"),
        ('kind = "exact"', 'kind = "guess"', "mine.toml, checks.0.kind: input should be 'printed', 'exact'"),
        ('column = "elbo"', 'column = "elbo", factor = 0', "mine.toml, checks.0.terms.0: the factor of a term is 0"),
        ("above = 0", "above = nan", "mine.toml, checks.0.above: input should be a finite number"),
        ('["vae"]', '["vae"]\nsettings = { epocs = 3 }', "mine.toml, settings of the run main: epocs: unknown setting"),
        ('["vae"]', '["vae"]\nsettings = { gradients = 3 }', "mine.toml, settings of the run main: gradients: input"),
        ("hours = 1", "hours = -1", "mine.toml, hours: input should be greater than or equal to 0"),
        ("hours = 1", "hours = ", "can't read the claim .*mine.toml: .*line"),
        ("hours = 1", "hours = 1\nday = 1", "mine.toml, day: extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        load_claim(write(tmp_path, MINIMAL.replace(old, new)))


def read_plugin_variants():
    claim = load_claim("reinmax-order")
    entries = load_registry(read_plugins([claim.folder / claim.runs[0].plugin]))
    return {name: entries[f"4x8-{name}"].variant for name in ("st", "st-gumbel", "reinmax")}


def test_the_variants_of_the_plug_in_have_their_estimators_on_4_latents_of_8_classes():
    variants = read_plugin_variants()
    names = [variant.estimator.name for variant in variants.values()]
    assert names == ["straight_through(1.3)", "st_gumbel_softmax(0.5)", "reinmax(1.3)"]
    for variant in variants.values():
        family = variant.architecture(DataSpec((8, 8), "bernoulli"), variant.latent_dim).encoder.family
        assert (family.width, variant.latent_dim // family.width) == (8, 4)


def test_the_rules_of_the_plug_in_are_those_of_the_paper(tools):
    """For the linear function w z: the derivative by its formula, with the temperature in the first mean only."""
    variants, w = read_plugin_variants(), tools.normal(4, 8, seed=1)
    logits, noise = tools.normal(1, 4, 8).requires_grad_(), tools.normal(1, 1, 32, seed=2)
    q = FactorizedCategorical(logits)
    heated, z = (logits / 1.3).softmax(-1).detach(), q.sample(noise).view(1, 4, 8)

    def differentiate(p):
        return p * (w - (p * w).sum(-1, keepdim=True))

    plain = differentiate(logits.softmax(-1).detach())
    expected = {"st": differentiate(heated) / 1.3, "reinmax": 2 * differentiate((z + heated) / 2) - 0.5 * plain}
    for name, derivative in expected.items():
        estimate = variants[name].estimator.estimate(
            lambda z, q: (z * w.flatten()).sum(-1), MEAN, q, noise, torch.zeros(1, dtype=torch.float64)
        )
        torch.testing.assert_close(torch.autograd.grad(estimate.sum(), logits)[0], derivative)


def test_an_unknown_name_is_explained(tmp_path):
    with pytest.raises(UserError, match="unknown claim 'one-dimensoin'; did you mean one-dimension"):
        load_claim("one-dimensoin")
    with pytest.raises(UserError, match=r"can't read the claim none.toml: No such file or directory; name a TOML file"):
        load_claim("none.toml")


def test_a_record_knows_only_runs_with_the_settings_of_the_claim(tmp_path):
    claim = load_claim(write(tmp_path, MINIMAL))
    assert read_record(tmp_path) == ClaimRecord({}, "")
    (run,) = claim.runs
    record = ClaimRecord({"main": describe_run(claim, run), "old": {}}, "verified")
    write_record(tmp_path, claim, record)
    assert read_record(tmp_path) == ClaimRecord({"main": describe_run(claim, run)}, "verified")
    assert record.has(claim, run)
    for new in ("settings = { epochs = 3 }", 'preset = "quick"', 'plugin = "mine.toml"'):
        changed = load_claim(write(tmp_path, MINIMAL.replace('"vae"]', f'"vae"]\n{new}')))
        assert not record.has(changed, changed.runs[0])


def test_another_text_of_the_plug_in_is_another_run(tmp_path):
    claim = load_claim(write(tmp_path, MINIMAL.replace('"vae"]', '"vae"]\nplugin = "mine.py"')))
    described = []
    for text in ("a = 1", "a = 2"):
        (tmp_path / "mine.py").write_text(text)
        described.append(describe_run(claim, claim.runs[0]))
    assert described[0] != described[1]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "claim.json").write_text("{")
    with pytest.raises(UserError, match=r"claim.json is damaged: .*; delete it"):
        read_record(tmp_path)
