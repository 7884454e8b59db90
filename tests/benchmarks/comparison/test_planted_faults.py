"""Faults planted in the code: `compare` detects each from the measured metrics."""

import dataclasses
from unittest import mock

import pytest

from benchmarks.comparison import run_comparison
from benchmarks.comparison.verdicts import choose_exit_code
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.reporting import results_table
from benchmarks.training import cell, loop, state
from tests.oracles import change
from vaezoo import VARIANTS, evaluate

BASE, NEW = range(4), range(100, 103)
VAE = VARIANTS[1]
LEAVE_ONE_OUT = next(v for v in VARIANTS if v.name == "reinforce-vae-loo")


@pytest.fixture(scope="module")
def run_cells(tmp_path_factory):
    """Return a function that trains variants on digits with the present code, patches included."""
    changes = {"epochs": 8, "checkpoints": (0,), "gradient_repeats": 20, "log_likelihood_draws": 20}
    protocol, prepared = planner.prepare(load_settings("quick", changes))

    def measure(variants, seeds):
        plan = planner.plan_cells([RegisteredVariant(v) for v in variants], protocol, seeds, prepared)
        folder = tmp_path_factory.mktemp("run")
        results_table.write_results(folder, [cell.train_and_measure(case)[0] for case in plan])
        return results_table.read_results(folder / "results.csv")

    return measure


@pytest.fixture(scope="module")
def base(run_cells):
    return run_cells([VAE], BASE)


def verdicts(base, new):
    all_verdicts = run_comparison.compare_runs(base, new)
    return {v.metric: v.word for v in all_verdicts}, choose_exit_code(all_verdicts)


def average_kl(model):
    """Return a prior whose KL is the mean over latent dimensions instead of the sum."""
    right = model.prior
    return change(right, kl=lambda q: right.kl(q) / q.mean.shape[-1])


def test_unchanged_code_does_not_regress(base, run_cells):
    words, code = verdicts(base, run_cells([VAE], NEW))
    assert code == 0
    assert words["elbo"] in ("unchanged", "inconclusive")


def test_same_seeds_are_identical(base, run_cells):
    words, code = verdicts(base, run_cells([VAE], BASE[:2]))
    assert (words["elbo"], words["gradient_variance"], words["log_likelihood"], code) == ("identical",) * 3 + (0,)


def test_halved_learning_rate(base, run_cells):
    initial_optimizer = state.initial_optimizer
    halved = lambda parameters, rate, settings: initial_optimizer(parameters, rate / 2, settings)  # noqa: E731
    with mock.patch.object(state, "initial_optimizer", halved):
        words, code = verdicts(base, run_cells([VAE], NEW))
    assert (words["elbo"], code) == ("regressed", 1)


def test_evaluator_averages_the_kl(base, run_cells):
    def wrong(model, *arguments):
        right, model.prior = model.prior, average_kl(model)
        metrics = evaluate(model, *arguments)
        model.prior = right
        return metrics

    with mock.patch.object(cell, "evaluate", wrong):
        words, code = verdicts(base, run_cells([VAE], NEW[:1]))
    assert (words, code) == ({"seeds": "failed"}, 2)


def test_objective_averages_the_kl(base, run_cells):
    """Equivalent to a beta of one over the number of latent dimensions."""
    right = loop.take_step

    def wrong(variant, model, *rest):
        prior, model.prior = model.prior, average_kl(model)
        loss = right(variant, model, *rest)
        model.prior = prior
        return loss

    with mock.patch.object(loop, "take_step", wrong):
        words, code = verdicts(base, run_cells([VAE], NEW))
    assert (words["elbo"], code) == ("regressed", 1)


def test_reward_averaged_over_the_batch(run_cells):
    """A reward averaged over the batch has no information on single examples."""
    right = loop.take_step

    def reward(log_w):
        rewards = LEAVE_ONE_OUT.objective.reduction.reward(log_w)
        return rewards.mean(-1, keepdim=True).expand_as(rewards)

    def wrong(variant, *rest):
        reduction = dataclasses.replace(variant.objective.reduction, reward=reward)
        objective = dataclasses.replace(variant.objective, reduction=reduction)
        return right(dataclasses.replace(variant, objective=objective), *rest)

    base = run_cells([LEAVE_ONE_OUT], BASE)
    with mock.patch.object(loop, "take_step", wrong):
        words, code = verdicts(base, run_cells([LEAVE_ONE_OUT], NEW))
    assert (words["elbo"], code) == ("regressed", 1)


def test_diverging_variant(base, run_cells):
    initial_optimizer = state.initial_optimizer
    with mock.patch.object(state, "initial_optimizer", lambda parameters, *rest: initial_optimizer(parameters, 1e30)):
        words, code = verdicts(base, run_cells([VAE], NEW))
    assert (words, code) == ({"seeds": "regressed"}, 1)
