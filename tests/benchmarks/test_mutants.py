"""Mistakes that nobody announced, planted in the code: `compare` finds each in what the cells measure."""

import dataclasses
from unittest import mock

import pytest

from benchmarks import adam, data, experiment, places, planning, store, train
from benchmarks.plugins import Entry
from benchmarks.regressions import comparison
from benchmarks.regressions.verdicts import exit_code
from benchmarks.settings import load
from vaezoo import VARIANTS, evaluate

BASE, NEW = range(4), range(100, 103)
VAE = VARIANTS[1]
LEAVE_ONE_OUT = next(v for v in VARIANTS if v.name == "reinforce-vae-loo")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Results of a variant on small digits, by the code as it stands at the call."""
    changes = {"epochs": 12, "checkpoints": (0,), "gradient_repeats": 20, "log_likelihood_draws": 20}
    protocol = planning.resolve(load("quick", changes))
    prepared = data.prepare(protocol.dataset, places.data_root())

    def measure(variants, seeds):
        plan = planning.plan([Entry(v) for v in variants], protocol, seeds, prepared)
        folder = tmp_path_factory.mktemp("run")
        store.write_results(folder, [experiment.run(case)[0] for case in plan])
        return store.read_results(folder / "results.csv")

    return measure


@pytest.fixture(scope="module")
def base(measured):
    return measured([VAE], BASE)


def verdicts(base, new):
    found = comparison.compare(base, new)
    return {v.metric: v.word for v in found}, exit_code(found)


def averaged(model):
    """The prior whose KL is a mean over the latents instead of their sum."""
    right = model.prior
    return dataclasses.replace(right, kl=lambda q: right.kl(q) / q.mean.shape[-1])


def test_no_change_is_no_regression(base, measured):
    words, code = verdicts(base, measured([VAE], NEW))
    assert code == 0
    assert words["elbo"] in ("unchanged", "inconclusive")


def test_the_same_seeds_are_identical(base, measured):
    words, code = verdicts(base, measured([VAE], BASE[:2]))
    assert (words["elbo"], words["gradient_variance"], words["log_likelihood"], code) == ("identical",) * 3 + (0,)


def test_an_optimizer_that_goes_half_as_far(base, measured):
    started = adam.started
    with mock.patch.object(adam, "started", lambda parameters, rate: started(parameters, rate / 2)):
        words, code = verdicts(base, measured([VAE], NEW))
    assert (words["elbo"], code) == ("regressed", 1)


def test_an_evaluator_that_averages_the_kl_over_the_latents(base, measured):
    def wrong(model, *arguments):
        right, model.prior = model.prior, averaged(model)
        found = evaluate(model, *arguments)
        model.prior = right
        return found

    with mock.patch.object(experiment, "evaluate", wrong):
        words, code = verdicts(base, measured([VAE], NEW[:1]))
    assert (words, code) == ({"seeds": "failed"}, 2)


def test_a_training_objective_that_averages_the_kl_over_the_latents(base, measured):
    """The peers' mistake: beta is then one over the number of latents."""
    right = train.step

    def wrong(variant, model, *rest):
        prior, model.prior = model.prior, averaged(model)
        loss = right(variant, model, *rest)
        model.prior = prior
        return loss

    with mock.patch.object(train, "step", wrong):
        words, code = verdicts(base, measured([VAE], NEW))
    assert (words["elbo"], code) == ("regressed", 1)


def test_a_score_function_whose_reward_is_that_of_the_batch(measured):
    """The mean over examples, where each example has a reward of its own: the score then learns nothing of them."""
    right = train.step

    def reward(log_w):
        own = LEAVE_ONE_OUT.objective.reduction.reward(log_w)
        return own.mean(-1, keepdim=True).expand_as(own)

    def wrong(variant, *rest):
        reduction = dataclasses.replace(variant.objective.reduction, reward=reward)
        objective = dataclasses.replace(variant.objective, reduction=reduction)
        return right(dataclasses.replace(variant, objective=objective), *rest)

    base = measured([LEAVE_ONE_OUT], BASE)
    with mock.patch.object(train, "step", wrong):
        words, code = verdicts(base, measured([LEAVE_ONE_OUT], NEW))
    assert (words["elbo"], code) == ("regressed", 1)


def test_a_variant_that_diverges(base, measured):
    started = adam.started
    with mock.patch.object(adam, "started", lambda parameters, rate: started(parameters, 1e30)):
        words, code = verdicts(base, measured([VAE], NEW))
    assert (words, code) == ({"seeds": "regressed"}, 1)
