"""Registered variants: initial weights are shared, names are unique, and errors within `check` are findings."""

import hashlib

import pytest
import torch

from tests.vaezoo.testing import right_variants
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
    pathwise,
    sticking_the_landing,
)
from vaezoo.models import Decoder
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
    twice = v.estimator.name in ("arm", "disarm", "rebar", "relax")
    assert properties.count_decoder_passes(v) == v.draws * (1 + twice)


PASSES_PER_DRAW = {"antithetic": 2, "antithetic-iwae": 2, "two-calls": 2, "taylor": 3, "taylor-2": 3}
PASSES_PER_DRAW |= {"stacked-taylor": 2, "two-pass-dreg": 4}


@pytest.mark.parametrize("v", right_variants.VARIANTS, ids=lambda v: v.name)
def test_decoder_passes_of_right_variants_are_counted(v):
    """Each call counts, also under `torch.func.grad`, and so do draws that are decoded in one call with others."""
    assert properties.count_decoder_passes(v) == PASSES_PER_DRAW.get(v.name, 1) * v.draws


def with_mean(log_weight, reduction, q, noise, prediction):
    both = log_weight(torch.cat([q.rsample(noise), q.mean[None]]), q)
    return reduction.value(both[:-1])


def mapped(log_weight, reduction, q, noise, prediction):
    return reduction.value(torch.func.vmap(lambda z: log_weight(z[None], q)[0])(q.rsample(noise)))


@pytest.mark.parametrize(("function", "passes"), [(with_mean, 4), (mapped, 3)])
def test_passes_at_other_points_and_of_mapped_calls_are_counted(function, passes):
    v = Variant("ad-hoc", mlp_normal, elbo, Estimator(function.__name__, function), draws=3)
    assert properties.count_decoder_passes(v) == passes


def test_passes_of_a_decoder_without_forward_are_counted():
    class Direct(Decoder):
        def log_prob(self, x, z):
            return self.likelihood.log_prob(x.flatten(1), self.network(z))

    def architecture(spec, latent_dim):
        model = mlp_normal(spec, latent_dim)
        model.decoder = Direct(model.decoder.network, model.decoder.likelihood)
        return model

    assert properties.count_decoder_passes(Variant("direct", architecture, elbo, pathwise, draws=3)) == 3


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
    model = v.architecture(SPEC, 10)
    initialise(model, by_name)
    mine = dict(model.named_parameters())
    for other in VARIANTS:
        built = other.architecture(SPEC, 10)
        initialise(built, by_name)
        shared = {name: p for name, p in built.named_parameters() if name in mine}
        assert {"encoder.trunk.0.weight", "decoder.network.2.weight"} <= shared.keys()
        heads = {name for name in shared if name.startswith("encoder.heads.")}
        assert heads or model.encoder.family.is_discrete != built.encoder.family.is_discrete
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
