"""Mistakes planted in the real code: the unchanged check finds the broken properties, and no other one.

More mistakes are in the corpus of `tests/vaezoo/testing`.
"""

import importlib.util
from pathlib import Path

import pytest

from vaezoo import LEAVE_ONE_OUT, MOVING_AVERAGE, VARIANTS
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.gradients import joint_measurement, moments
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
EXAMPLES = "examples are independent"


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


def test_a_baseline_that_includes_its_own_draw(plant):
    def value(log_w, reduction, prediction):
        return reduction.reward(log_w.mean(0, keepdim=True).expand_as(log_w))

    plant(LEAVE_ONE_OUT, "value", value)
    assert failing("reinforce-vae-loo") == {ENCODER}


def test_a_moving_average_updated_before_its_use(plant):
    """In minibatches of one example, as the bias is 1/B of this: c has moved by 0.1 (F - c) when it is subtracted."""
    rate, real = MOVING_AVERAGE.rate, MOVING_AVERAGE.value

    def value(log_w, reduction, prediction):
        return real(log_w, reduction, prediction + rate * (reduction.value(log_w) - prediction))

    plant(MOVING_AVERAGE, "value", value)
    assert failing("reinforce-vae-ema") == {ENCODER}


def test_the_kl_averaged_over_dimensions(plant):
    real = STANDARD_NORMAL.kl
    plant(STANDARD_NORMAL, "kl", lambda q: real(q) / q.mean.shape[-1])
    assert "KL in closed form" in failing("vae")


def test_the_scale_taken_for_the_variance_in_the_kl(plant):
    plant(STANDARD_NORMAL, "kl", lambda q: 0.5 * (q.mean.square() + q.scale - 1 - q.log_scale).sum(-1))
    assert "KL in closed form" in failing("vae")


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
