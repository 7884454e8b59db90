"""Registered variants: initial weights are shared, names are unique, and errors within `check` are findings."""

import hashlib

import pytest
import torch

from vaezoo import (
    VARIANTS,
    DataSpec,
    Estimator,
    Variant,
    doubly_reparameterized,
    elbo,
    initialise,
    iwae,
    mlp_normal,
    sticking_the_landing,
)
from vaezoo.testing import properties
from vaezoo.testing.claims import check_bias
from vaezoo.testing.problems import SMALL as SPEC


@pytest.fixture(params=VARIANTS, ids=lambda v: v.name)
def v(request):
    return request.param


def test_an_error_within_a_property_is_a_finding():
    def broken(log_weight, reduction, q, noise, prediction):
        return reduction.value(log_weight(q.rsample(noise), q)).sum().item()

    findings = list(properties.check(Variant("broken", mlp_normal, elbo, Estimator("broken", broken))))
    independent = {"gradients are derivatives", "KL in closed form", "likelihood is a density"}
    assert {f.property for f in findings if f.holds} == {*independent, "objective is a bound of log p(x)"}


@pytest.mark.parametrize("v", VARIANTS, ids=lambda v: v.name)
def test_decoder_passes_are_counted(v):
    assert properties.count_decoder_passes(v) == v.draws


def test_an_estimator_that_decodes_twice_has_twice_the_passes():
    def twice(log_weight, reduction, q, noise, prediction):
        log_weight(q.sample(noise), q)
        return reduction.value(log_weight(q.rsample(noise), q))

    assert properties.count_decoder_passes(Variant("twice", mlp_normal, elbo, Estimator("twice", twice), draws=3)) == 6


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("draws", [20, 200])
def test_a_bias_is_found_whatever_the_draws(draws):
    """Sticking the landing on the importance-weighted bound, and its unbiased neighbour."""
    wrong = Variant("wrong", mlp_normal, iwae, sticking_the_landing, draws)
    assert [finding.holds for finding in check_bias(wrong)] == [False, True]
    right = Variant("right", mlp_normal, iwae, doubly_reparameterized, draws)
    assert [finding.holds for finding in check_bias(right)] == [True, True]


def by_name(name):
    """A generator for each parameter's name."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))


def test_parameters_that_variants_share_start_equal(v):
    model = v.architecture(SPEC, 2)
    initialise(model, by_name)
    mine = dict(model.named_parameters())
    for other in VARIANTS:
        built = other.architecture(SPEC, 2)
        initialise(built, by_name)
        shared = {name: p for name, p in built.named_parameters() if name in mine}
        assert {"encoder.trunk.0.weight", "encoder.heads.mean.bias", "decoder.network.2.weight"} <= shared.keys()
        for name, parameter in shared.items():
            assert torch.equal(parameter, mine[name]), name


def test_each_parameter_is_drawn_from_its_own_name():
    model = VARIANTS[1].architecture(SPEC, 2)
    initialise(model, by_name)
    assert not torch.equal(model.encoder.heads["mean"].weight, model.encoder.heads["log_scale"].weight)
    bound = 64**-0.5
    expected = (2 * torch.rand(6, 64, generator=by_name("encoder.trunk.0.weight")) - 1) * bound
    assert torch.equal(model.encoder.trunk[0].weight, expected)


def test_each_variant_declares_a_source_and_an_estimator(v):
    assert v.source
    assert isinstance(v.estimator, Estimator)


def test_names_are_unique():
    names = [v.name for v in VARIANTS]
    assert len(set(names)) == len(names)


def test_initialisation_is_torchs_for_linear_layers():
    model = VARIANTS[1].architecture(DataSpec((28, 28), "bernoulli"), 20)
    initialise(model, by_name)
    weight = model.encoder.trunk[0].weight
    assert weight.abs().max() <= 784**-0.5
    assert abs(weight.mean()) < 5 * weight.std() / weight.numel() ** 0.5
    assert weight.var().item() == pytest.approx(1 / (3 * 784), rel=0.02)
