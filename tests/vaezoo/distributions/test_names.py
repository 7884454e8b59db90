"""Names of likelihoods and posterior families: those of vaezoo stand for vaezoo's definitions only."""

import pytest

from tests.vaezoo.testing.right_variants import OtherBernoulli
from tests.vaezoo.testing.wrong_models import WiderSamples, with_likelihood
from vaezoo import Model, Variant, build, elbo, mlp_normal, pathwise
from vaezoo.distributions.families import Family
from vaezoo.distributions.likelihoods import Bernoulli, Gaussian
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.models import Encoder
from vaezoo.testing.problems import SMALL


class Tempered(Bernoulli):
    def log_prob(self, x, output):
        return super().log_prob(x, output / 2)


class Named(OtherBernoulli):
    name = "bernoulli"


class Narrow(Gaussian):
    def __init__(self):
        super().__init__(0.1)


def with_family(posterior, name="diagonal_normal"):
    def architecture(spec, latent_dim):
        model = mlp_normal(spec, latent_dim)
        family = Family(name, ("mean", "log_scale"), posterior, stochastic=True)
        encoder = Encoder(model.encoder.trunk, spec.hidden[-1], latent_dim, family)
        return Model(encoder, model.decoder, model.prior, latent_dim)

    return architecture


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        (with_likelihood(Tempered), "likelihood 'bernoulli' has another definition than vaezoo's"),
        (with_likelihood(Named), "likelihood 'bernoulli' has another definition than vaezoo's"),
        (with_family(WiderSamples), "posterior family 'diagonal_normal' has another definition than vaezoo's"),
    ],
)
def test_a_name_of_vaezoo_with_another_definition_is_refused(architecture, words):
    with pytest.raises(ValueError, match=words):
        build(Variant("a", architecture, elbo, pathwise), SMALL, 2)


@pytest.mark.parametrize(
    "architecture",
    [
        mlp_normal,
        with_likelihood(Bernoulli),
        with_likelihood(Narrow),
        with_likelihood(OtherBernoulli),
        with_family(DiagonalNormal),
        with_family(WiderSamples, "wider"),
    ],
)
def test_own_names_and_equal_definitions_are_allowed(architecture):
    build(Variant("a", architecture, elbo, pathwise), SMALL, 2)
