"""How cost grows: the exponents of the committed measurements, and the fit of an exponent."""

import pandas as pd
import pytest

from docs import growth


@pytest.mark.parametrize("axis", growth.UNITS)
def test_time_grows_in_proportion(axis):
    assert 0.9 < growth.fit_exponent(growth.read_axes()[axis], "seconds") < 1.1


def test_command_stays_small_with_many_cells():
    cells = growth.read_axes()["cells"]
    assert cells["value"].max() == 10_000
    assert cells["resident"].max() < 300


@pytest.mark.parametrize("exponent", [1, 2])
def test_exponent_of_a_constant_plus_a_power(exponent):
    costs = [3 + 2 * (value - 1) ** exponent for value in (1, 10, 100, 1000)]
    rows = pd.DataFrame({"value": [1, 10, 100, 1000], "seconds": costs})
    assert growth.fit_exponent(rows, "seconds") == pytest.approx(exponent)


def test_costs_that_hardly_differ_have_no_exponent():
    rows = pd.DataFrame({"value": [1, 10, 100], "seconds": [1, 1.1, 2]})
    assert pd.isna(growth.fit_exponent(rows, "seconds"))
