"""Wrong estimators and declarations, each with the property that `check` must find broken."""

import math

import torch

from tests.vaezoo.testing.corpus import DECODER, ENCODER, EXAMPLES, LEAST_SQUARES, VALUE, add, wrong
from tests.vaezoo.testing.right_variants import score
from vaezoo import (
    LEARNED,
    LEAVE_ONE_OUT,
    NO_BASELINE,
    Baseline,
    Estimator,
    blocked,
    doubly_reparameterized,
    elbo_mc,
    iwae,
    score_function,
    sticking_the_landing,
)
from vaezoo.distributions.posteriors import DiagonalNormal


def reinforce(log_weight, reduction, q, noise):
    z = q.sample(noise)
    log_w = log_weight(z, q)
    return z, log_w, q.log_prob(z), reduction.reward(log_w), reduction.value(log_w)


@wrong(ENCODER, draws=4)
def right_for_two_draws(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward) * len(noise) / 2


@wrong(ENCODER)
def right_for_two_latents(log_weight, reduction, q, noise, prediction):
    z, _, _, reward, value = reinforce(log_weight, reduction, q, noise)
    parts = -0.5 * ((z - q.mean) / q.scale).square() - q.log_scale
    return value + score(2 * parts.mean(-1), reward)


@wrong(ENCODER)
def clamped_reward(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward.clamp(-50, 50))


@wrong(VALUE)
def clamped_noise(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise.clamp(-3, 3)), q))


@wrong(ENCODER)
def two_percent_more(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + 1.02 * score(log_q, reward)


@wrong(DECODER)
def no_gradient_in_the_decoder(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value.detach() + score(log_q, reward)


@wrong(DECODER)
def twice_the_gradient_in_the_decoder(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return 2 * value - value.detach() + score(log_q, reward)


@wrong(ENCODER)
def wrong_sign(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value - score(log_q, reward)


@wrong(ENCODER)
def score_of_the_mean_only(log_weight, reduction, q, noise, prediction):
    z, _, _, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(DiagonalNormal(q.mean, q.log_scale.detach()).log_prob(z), reward)


@wrong(DECODER, elbo_mc)
def value_counted_twice(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward) + (value - value.detach())


@wrong(EXAMPLES)
def mean_reward_of_the_minibatch(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward.mean(-1, keepdim=True))


@wrong("noise is independent across examples")
def noise_shared_by_examples(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise[:, :1].expand_as(noise)), q))


@wrong("noise is independent across examples")
def noise_of_a_neighbour(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise + 0.1 * noise.roll(1, 1)), q))


@wrong("noise is independent across examples")
def noise_ignored(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(0 * noise), q))


@wrong("reproducible under a seed")
def noise_drawn_inside(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(torch.randn_like(noise)), q))


@wrong("inputs stay unchanged")
def noise_changed_in_place(log_weight, reduction, q, noise, prediction):
    value = reduction.value(log_weight(q.rsample(noise), q))
    noise.mul_(2)
    return value


@wrong(ENCODER, iwae, draws=3)
def weights_not_detached(log_weight, reduction, q, noise, prediction):
    log_w = log_weight(q.rsample(noise), q)
    surrogate = (log_w.softmax(0) * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


@wrong(ENCODER, iwae, draws=3)
def weights_of_the_wrong_sign(log_weight, reduction, q, noise, prediction):
    log_w = log_weight(q.rsample(noise), q)
    surrogate = ((-log_w).softmax(0).detach() * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


@wrong(ENCODER, iwae, draws=3)
def weights_not_squared(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    log_w = log_weight(z, q.detach())
    surrogate = (log_w.softmax(0).detach() * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


@wrong(ENCODER, draws=2)
def reward_of_the_wrong_draw(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward.roll(1, 0))


@wrong(ENCODER)
def path_of_the_mean_only(log_weight, reduction, q, noise, prediction):
    z = q.mean + (q.scale * noise).detach()
    return reduction.value(log_weight(z, q))


@wrong(ENCODER)
def two_percent_less_path(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    return reduction.value(log_weight(0.98 * z + 0.02 * z.detach(), q))


@wrong("shapes")
def column_of_values(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q))[:, None]


@wrong(VALUE)
def mean_over_examples(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)).mean()


@wrong("shapes")
def not_a_number(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)) * math.nan


@wrong("shapes")
def an_error(log_weight, reduction, q, noise, prediction):
    raise KeyError("missing")


@wrong(VALUE)
def one_nat_more(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)) + 1


@wrong(VALUE, iwae, draws=3)
def mean_instead_of_log_mean_exp(log_weight, reduction, q, noise, prediction):
    return log_weight(q.rsample(noise), q).mean(0)


@wrong(VALUE)
def antithetic_undeclared(log_weight, reduction, q, noise, prediction):
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))


def includes_its_draw(log_w, reduction, prediction):
    return reduction.reward(log_w.mean(0, keepdim=True).expand_as(log_w))


def largest_of_all(log_w, reduction, prediction):
    return log_w.max(0).values.expand_as(log_w) / len(log_w)


def updated_before_use(log_w, reduction, prediction):
    moved = prediction + 0.1 * (reduction.value(log_w) - prediction)
    return reduction.reward(moved.expand_as(log_w))


add("includes-its-draw", ENCODER, estimator=score_function(Baseline("includes", includes_its_draw)), draws=3)
add("largest-of-all", ENCODER, estimator=score_function(Baseline("largest", largest_of_all)), draws=2)
add("updated-before-use", ENCODER, estimator=score_function(Baseline("updated", updated_before_use, rate=0.1)))


def drive_the_network(factor):
    real = score_function(LEARNED)

    def estimate(log_weight, reduction, q, noise, prediction):
        value = real.estimate(log_weight, reduction, q, noise, prediction.detach())
        error = (prediction - value.detach()).square()
        return value - factor * (error - error.detach())

    return Estimator(f"network_times_{factor}", estimate, LEARNED)


add("network-driven-away", LEAST_SQUARES, estimator=drive_the_network(-1.0))
add("network-at-half-speed", LEAST_SQUARES, estimator=drive_the_network(0.5))
add("network-not-driven", LEAST_SQUARES, estimator=drive_the_network(0.0))

add("stl-on-iwae-declared-unbiased", ENCODER, objective=iwae, estimator=sticking_the_landing, draws=3)
add("blocked-declared-unbiased", ENCODER, estimator=blocked)
add("pathwise-declared-biased", ENCODER, unbiased=False)
add("dreg-declared-biased", ENCODER, objective=iwae, estimator=doubly_reparameterized, draws=3, unbiased=False)
add("loo-declared-biased", ENCODER, estimator=score_function(LEAVE_ONE_OUT), draws=2, unbiased=False)
add("score-declared-biased", ENCODER, estimator=score_function(NO_BASELINE), unbiased=False)
