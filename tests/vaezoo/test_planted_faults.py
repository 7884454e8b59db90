"""Each classic mistake is planted in the real code, and the unchanged check or test must fail."""

import importlib.util
from pathlib import Path

import pytest
import torch

from vaezoo import LEAVE_ONE_OUT, MOVING_AVERAGE, VARIANTS
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.gradients import joint_measurement, moments
from vaezoo.reductions import LOG_MEAN_EXP
from vaezoo.testing import properties

pytestmark = pytest.mark.usefixtures("unchecked_types")
BY_NAME = {v.name: v for v in VARIANTS}


@pytest.fixture
def plant():
    """Replaces a field of one of the project's frozen records, until the test is over."""
    planted = []

    def replace(record, field, value):
        planted.append((record, field, getattr(record, field)))
        object.__setattr__(record, field, value)

    yield replace
    for record, field, value in reversed(planted):
        object.__setattr__(record, field, value)


def failing(name):
    """The properties that `check` finds broken."""
    return {finding.property for finding in properties.check(BY_NAME[name]) if not finding.holds}


ENCODER, DECODER = "bias of the encoder's gradient", "bias of the decoder's gradient"
EXAMPLES, NOISE = "examples are independent", "noise is independent across examples"


def score(log_q, reward):
    return (reward.detach() * (log_q - log_q.detach())).sum(0)


def test_the_decoders_term_dropped(plant):
    def estimate(log_weight, reduction, q, noise, prediction):
        z = q.sample(noise)
        log_w = log_weight(z, q)
        return reduction.value(log_w).detach() + score(q.log_prob(z), reduction.reward(log_w))

    plant(BY_NAME["reinforce-vae"].estimator, "estimate", estimate)
    assert failing("reinforce-vae") == {DECODER, "gradients reach every parameter"}


def test_the_reward_averaged_over_the_batch(plant):
    def estimate(log_weight, reduction, q, noise, prediction):
        z = q.sample(noise)
        log_w = log_weight(z, q)
        return reduction.value(log_w) + score(q.log_prob(z), reduction.reward(log_w).mean(-1, keepdim=True))

    plant(BY_NAME["reinforce-vae"].estimator, "estimate", estimate)
    assert failing("reinforce-vae") == {ENCODER, EXAMPLES}


@pytest.mark.parametrize("name", ["reinforce-vae-loo", "iwae-vimco"])
def test_a_baseline_that_includes_its_own_draw(plant, name):
    def value(log_w, reduction, prediction):
        return reduction.reward(log_w.mean(0, keepdim=True).expand_as(log_w))

    plant(LEAVE_ONE_OUT, "value", value)
    assert failing(name) == {ENCODER}


def test_a_moving_average_updated_before_its_use(plant):
    """In minibatches of one example, as the bias is 1/B of this: c has moved by 0.1 (F - c) when it is subtracted."""
    rate, real = MOVING_AVERAGE.rate, MOVING_AVERAGE.value

    def value(log_w, reduction, prediction):
        return real(log_w, reduction, prediction + rate * (reduction.value(log_w) - prediction))

    plant(MOVING_AVERAGE, "value", value)
    assert failing("reinforce-vae-ema") == {ENCODER}


@pytest.mark.parametrize("sign", [1, -1], ids=["not detached", "of the wrong sign"])
def test_importance_weights(plant, sign):
    def estimate(log_weight, reduction, q, noise, prediction):
        log_w = log_weight(q.rsample(noise), q)
        weights = log_w.softmax(0) if sign > 0 else (-log_w).softmax(0).detach()
        surrogate = (weights * log_w).sum(0)
        return reduction.value(log_w).detach() + surrogate - surrogate.detach()

    plant(BY_NAME["iwae"].estimator, "estimate", estimate)
    assert failing("iwae") == {ENCODER, DECODER}


def test_importance_weights_detached_are_right(plant):
    """The control of the two above."""

    def estimate(log_weight, reduction, q, noise, prediction):
        log_w = log_weight(q.rsample(noise), q)
        surrogate = (log_w.softmax(0).detach() * log_w).sum(0)
        return reduction.value(log_w).detach() + surrogate - surrogate.detach()

    plant(BY_NAME["iwae"].estimator, "estimate", estimate)
    assert failing("iwae") == set()


def test_the_kl_averaged_over_dimensions(plant):
    real = STANDARD_NORMAL.kl
    plant(STANDARD_NORMAL, "kl", lambda q: real(q) / q.mean.shape[-1])
    assert "KL in closed form" in failing("vae")


def test_the_scale_taken_for_the_variance_in_the_kl(plant):
    plant(STANDARD_NORMAL, "kl", lambda q: 0.5 * (q.mean.square() + q.scale - 1 - q.log_scale).sum(-1))
    assert "KL in closed form" in failing("vae")


def test_sticking_the_landing_on_iwae_declared_unbiased(plant):
    plant(BY_NAME["iwae-stl"], "unbiased", True)
    assert failing("iwae-stl") == {ENCODER}


def test_an_unbiased_variant_declared_biased(plant):
    plant(BY_NAME["iwae-dreg"], "unbiased", False)
    assert failing("iwae-dreg") == {ENCODER}


def test_log_q_averaged_over_dimensions(plant):
    def estimate(log_weight, reduction, q, noise, prediction):
        z = q.sample(noise)
        log_w = log_weight(z, q)
        return reduction.value(log_w) + score(q.log_prob(z) / z.shape[-1], reduction.reward(log_w))

    plant(BY_NAME["reinforce-vae"].estimator, "estimate", estimate)
    assert failing("reinforce-vae") == {ENCODER}


def test_the_decoders_gradient_doubled_in_a_biased_variant(plant):
    def estimate(log_weight, reduction, q, noise, prediction):
        value = reduction.value(log_weight(q.sample(noise), q.detach()))
        return 2 * value - value.detach()

    plant(BY_NAME["vae-blocked"].estimator, "estimate", estimate)
    assert failing("vae-blocked") == {DECODER}


def test_dregs_weights_not_squared(plant):
    plant(LOG_MEAN_EXP, "path_scale", torch.ones_like)
    assert failing("iwae-dreg") == {ENCODER}


def test_noise_shared_by_all_examples(monkeypatch):
    real = DiagonalNormal.rsample
    monkeypatch.setattr(DiagonalNormal, "rsample", lambda self, noise: real(self, noise[:, :1].expand_as(noise)))
    assert {NOISE, EXAMPLES} <= failing("vae")


def test_noise_drawn_inside(plant):
    def estimate(log_weight, reduction, q, noise, prediction):
        return reduction.value(log_weight(q.rsample(torch.randn_like(noise)), q))

    plant(BY_NAME["vae"].estimator, "estimate", estimate)
    assert "reproducible under a seed" in failing("vae")


def load_test(path, name):
    """A test of the suite, to be called."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, Path(__file__).parent / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def test_the_variance_divided_by_b_instead_of_its_square(monkeypatch, tools):
    test = load_test("gradients/test_moments.py", "test_moments_are_those_of_a_plain_loop")
    pathwise = BY_NAME["vae"].estimator
    test(pathwise, 1, "bernoulli", tools)
    real = moments.normalise

    def wrong(deviation, total, examples, leading=None):
        return real(deviation * examples, total, examples, leading)

    monkeypatch.setattr(joint_measurement, "normalise", wrong)
    with pytest.raises(AssertionError):
        test(pathwise, 1, "bernoulli", tools)
