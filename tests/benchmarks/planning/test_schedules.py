"""Schedules and optimizers: their texts, and the factors at each time."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.planning.schedules import OptimizerSettings, compute_factor, format_optimizer, parse_optimizer

TIMES = [0, 1, 2.5, 5, 10, 20]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1] * 6),
        ("warm-up(5)", [0, 0.2, 0.5, 1, 1, 1]),
        ("cosine", [(1 + math.cos(math.pi * t / 20)) / 2 for t in TIMES]),
        ("cosine(0.5)", [0.5 + (1 + math.cos(math.pi * t / 20)) / 4 for t in TIMES]),
        ("piecewise(2:0.5,10:0.1)", [1, 1, 0.5, 0.5, 0.1, 0.1]),
        ("piecewise(0:0, 5:1)", [0, 0, 0, 1, 1, 1]),
        ("warm-up(5) * piecewise(10:0.1)", [0, 0.2, 0.5, 1, 0.1, 0.1]),
    ],
)
def test_factors(schedule, factors):
    assert [compute_factor(schedule, t, 20) for t in TIMES] == pytest.approx(factors, abs=1e-12)


@pytest.mark.parametrize(
    "schedule",
    ["", "linear", "constant(1)", "warm-up", "warm-up()", "warm-up(0)", "warm-up(-1)", "warm-up(nan)", "cosine()",
     "cosine(-1)", "piecewise", "piecewise()", "piecewise(1)", "piecewise(1:2:3)", "piecewise(5:1,2:1)",
     "piecewise(1:-1)", "piecewise(2:1,2:2)", "warm-up(5)**cosine", "warm-up(5", "*"],
)  # fmt: skip
def test_other_texts_are_refused(schedule):
    with pytest.raises(ValueError, match="is no schedule; use constant, warm-up"):
        compute_factor(schedule, 0, 20)


@pytest.mark.parametrize(
    ("text", "settings", "normal"),
    [
        ("adam", OptimizerSettings("adam", 0.9, 0.999, 1e-8), "adam"),
        ("adam(beta1=0.9, epsilon=1e-4)", OptimizerSettings("adam", 0.9, 0.999, 1e-4), "adam(epsilon=0.0001)"),
        ("adam(beta1=0,beta2=0.5)", OptimizerSettings("adam", 0.0, 0.5, 1e-8), "adam(beta1=0.0,beta2=0.5)"),
        ("adam(beta2=0.9999999)", OptimizerSettings("adam", 0.9, 0.9999999, 1e-8), "adam(beta2=0.9999999)"),
        ("rmsprop", OptimizerSettings("rmsprop", 0, 0.99, 1e-8), "rmsprop"),
        ("adam(initial-square=1)", OptimizerSettings("adam", 0.9, 0.999, 1e-8, 1.0), "adam(initial-square=1.0)"),
        ("centred-rmsprop", OptimizerSettings("centred-rmsprop", 0, 0.99, 1e-8), "centred-rmsprop"),
        (
            "centred-rmsprop(epsilon=0.1)",
            OptimizerSettings("centred-rmsprop", 0, 0.99, 0.1),
            "centred-rmsprop(epsilon=0.1)",
        ),
        ("rmsprop(decay=0.9)", OptimizerSettings("rmsprop", 0, 0.9, 1e-8), "rmsprop(decay=0.9)"),
    ],
)
def test_optimizers(text, settings, normal):
    assert parse_optimizer(text) == settings
    assert format_optimizer(settings) == normal
    assert parse_optimizer(normal) == settings


@pytest.mark.parametrize(
    "text",
    ["", "sgd", "Adam", "adam(0.9)", "adam(beta1=1)", "adam(beta1=-0.1)", "adam(epsilon=0)", "adam(beta3=0.9)",
     "adam(beta1=nan)", "rmsprop(beta2=0.9)", "adam(initial-square=-1)", "adam(initial-square=inf)",
     "rmsprop(initial-square=1)", "adam(initial_square=1)", "adam(", "adam)(", "adam(beta1=)"],
)  # fmt: skip
def test_other_optimizers_are_refused(text):
    with pytest.raises(ValueError, match="is no optimizer; use adam, "):
        parse_optimizer(text)


@given(st.text(alphabet="adamrmspropwarm-upcosinepiecewise()=:,*.0123456789 ", max_size=40))
def test_no_text_causes_another_error(text):
    for parse in (parse_optimizer, lambda text: compute_factor(text, 1.5, 3)):
        with contextlib.suppress(ValueError):
            parse(text)
