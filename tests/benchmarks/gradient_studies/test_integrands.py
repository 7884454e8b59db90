"""The study of a function f: means and variances of gradients are the closed forms, with honest errors."""

import math
from types import SimpleNamespace

import pytest

from benchmarks.common.errors import UserError
from benchmarks.gradient_studies import integrands, studies
from benchmarks.planning.settings import Integrand, StudySettings, load_settings
from vaezoo import VARIANTS
from vaezoo.distributions.families import BERNOULLI, CATEGORICAL, DIAGONAL_NORMAL

BY_NAME = {v.name: v for v in VARIANTS}
P, T = 0.3, 0.45
LOGIT, D = math.log(P / (1 - P)), 1 - 2 * T


def measure(family, names, draws=40_000, **fields):
    rows = integrands.make_square_rows(family, [BY_NAME[n] for n in names], Integrand(**fields), draws, 0)
    return {(row["variant"], row["quantity"]): row for row in rows}


def z(row, exact):
    return (row["value"] - exact) / row["se"]


@pytest.mark.parametrize("latents", [1, 3])
def test_a_sum_of_squares_of_bernoulli_latents(latents):
    """The variance of DisARM is known for one latent; gradients do not depend on the number of latents."""
    fields = {"targets": [T], "parameter": LOGIT, "latents": latents}
    rows = measure(BERNOULLI, ["bernoulli-loo", "bernoulli-disarm"], **fields)
    gradient = P * (1 - P) * D
    for name in ("bernoulli-loo", "bernoulli-disarm"):
        assert abs(z(rows[name, "gradient"], gradient)) < 5
    exact = {
        "bernoulli-loo": P * (1 - P) * D**2 * (0.5 - P * (1 - P)),
        "bernoulli-disarm": P * (1 - P) * D**2 * (max(P, 1 - P) / 2 - P * (1 - P)),
    }
    if latents == 1:
        for name, variance in exact.items():
            assert abs(z(rows[name, "gradient_variance"], variance)) < 5
    else:
        assert rows["bernoulli-disarm", "gradient_variance"]["value"] > 1.1 * exact["bernoulli-disarm"]


def test_a_mean_of_squares_is_a_sum_divided_by_the_latents():
    fields = {"targets": [0.1, 0.2], "parameter": 0.3, "latents": 2}
    total, mean = (measure(BERNOULLI, ["bernoulli-st"], function=f, **fields) for f in ("squares", "mean-squares"))
    key = "bernoulli-st", "gradient"
    assert mean[key]["value"] == pytest.approx(total[key]["value"] / 2)
    assert mean[key]["se"] == pytest.approx(total[key]["se"] / 2)


def test_a_normal_latent():
    """f(z) = z² at the mean 2: the gradient is 4, with the variance 4 by the path and 87 by the score function."""
    rows = measure(DIAGONAL_NORMAL, ["vae", "reinforce-vae"], 200_000, targets=[0.0], parameter=2.0)
    for name, variance in (("vae", 4), ("reinforce-vae", 87)):
        assert abs(z(rows[name, "gradient"], 4)) < 5
        assert abs(z(rows[name, "gradient_variance"], variance)) < 5


def test_errors_are_those_of_repeated_measurements():
    """The standard error is that of the mean of this number of draws."""
    small, large = (measure(BERNOULLI, ["bernoulli-st-gumbel"], n, targets=[0.0]) for n in (10_000, 40_000))
    for quantity in ("gradient", "gradient_variance"):
        key = "bernoulli-st-gumbel", quantity
        assert small[key]["se"] == pytest.approx(2 * large[key]["se"], rel=0.05)
    gradient, variance = (large["bernoulli-st-gumbel", q] for q in ("gradient", "gradient_variance"))
    assert gradient["se"] == pytest.approx(math.sqrt(variance["value"] / 40_000), rel=1e-3)


def test_what_can_not_be_measured_is_left_out():
    assert not measure(CATEGORICAL, ["categorical-loo"], targets=[0.0], latents=15)
    assert not measure(BERNOULLI, ["bernoulli-relax"], targets=[0.0])


def test_the_study_needs_a_function():
    model = SimpleNamespace(encoder=SimpleNamespace(family=BERNOULLI))
    context = SimpleNamespace(model=model, seed=0)
    with pytest.raises(ValueError, match=r"the preset has no function f; add a table \[gradients.integrand\]"):
        list(studies.study_integrand(context, [], StudySettings()))
    settings = StudySettings(integrand=Integrand(targets=[0.0], parameter=0.5), integrand_draws=1000)
    (row, _) = studies.study_integrand(context, [BY_NAME["bernoulli-st"]], settings)
    assert (row["setting_value"], row["parameters"], row["repeats"]) == (0.5, "logits", 1000)


def test_settings_of_the_studies_are_replaced_one_by_one():
    """A claim states only what differs from the preset."""
    quick = load_settings("quick", {}).gradients
    chosen = load_settings("quick", {"gradients": {"integrand": {"targets": [0.5]}}}).gradients
    assert chosen == quick.model_copy(update={"integrand": Integrand(targets=[0.5])})
    assert load_settings("quick", {"gradients": {"repeats": 30}}, 40).gradients.repeats == 40
    with pytest.raises(UserError, match="integrand"):
        load_settings("quick", {"gradients": {"integrand": {"targets": []}}})
