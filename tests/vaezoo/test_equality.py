"""Equality by content of objectives, reductions and estimators."""

import dataclasses
import functools

import pytest
import torch

from benchmarks.common.errors import UserError
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.registry import load_registry
from tests.vaezoo.testing.right_variants import vr_iwae
from vaezoo import LEAVE_ONE_OUT, MOVING_AVERAGE, beta_elbo, blocked, ciwae, elbo, pathwise, score_function
from vaezoo.equality import same_content


def test_records_made_twice_are_equal():
    assert vr_iwae(0.5) == vr_iwae(0.5)
    assert hash(vr_iwae(0.5)) == hash(vr_iwae(0.5))
    assert ciwae(0.5) == ciwae(0.5)
    assert beta_elbo(4.0) == beta_elbo(4.0)
    assert score_function(LEAVE_ONE_OUT) == score_function(LEAVE_ONE_OUT)


def test_records_of_other_content_are_not_equal():
    assert vr_iwae(0.5) != vr_iwae(0.4)
    assert score_function(LEAVE_ONE_OUT) != score_function(MOVING_AVERAGE)
    assert pathwise != blocked
    assert elbo != beta_elbo(1.0)  # other functions, whatever they compute


def test_content_is_compared_within_functions():
    def add(number):
        return lambda x: x + number

    assert same_content(add(1), add(1))
    assert not same_content(add(1), add(2))
    assert same_content(functools.partial(max, 1), functools.partial(max, 1))
    assert not same_content(functools.partial(max, 1), functools.partial(max, 2))
    assert same_content(add(torch.ones(2)), add(torch.ones(2)))
    assert not same_content(add(torch.ones(2)), add(torch.zeros(2)))
    assert not same_content([1], (1,))


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ('replace(iwae, name="elbo")', "objective 'elbo' of variant mine has another definition than that of variant"),
        ('replace(elbo, name="x", reduction=replace(MEAN, value=sum))', "reduction 'mean' of variant mine"),
    ],
)
def test_a_name_with_two_definitions_is_refused(objective, words):
    source = f"""
from dataclasses import replace
from vaezoo import Variant, elbo, iwae, mlp_normal, pathwise
from vaezoo.reductions import MEAN

VARIANTS = [Variant("mine", mlp_normal, {objective}, pathwise)]
"""
    with pytest.raises(UserError, match=words):
        load_registry([Plugin(source)])


def test_functions_with_other_defaults_or_keywords_are_not_equal():
    def make(positional, keyword):
        return lambda x=positional, *, y=keyword: (x, y)

    assert same_content(make(1, 2), make(1, 2))
    assert not same_content(make(1, 2), make(3, 2))
    assert not same_content(make(1, 2), make(1, 3))
    assert not same_content(functools.partial(max, default=1), functools.partial(max, default=2))


def test_two_classes_are_never_equal():
    """A record of a class, such as a family of posteriors, compares the classes themselves."""
    first, second = (dataclasses.make_dataclass("Same", ["x"]) for _ in range(2))
    assert same_content(first, first)
    assert not same_content(first, second)
