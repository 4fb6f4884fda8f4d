"""Steps of layers, of columns and of rows: how they differ, and when they are worth it."""

from __future__ import annotations

import numpy as np
import pytest

from tersenet.methods._steps import MEAN_TIMES, column_times, row_times


def test_a_column_takes_a_step_as_the_inverse_root_of_what_its_errors_cost():
    times = column_times(np.diag([1.0, 4.0, 16.0, 64.0]), rows=1000)
    np.testing.assert_allclose(times.values[:-1] / times.values[1:], [2, 2, 2], rtol=0.1)
    assert np.exp(np.log(times.values).mean()) == pytest.approx(MEAN_TIMES, rel=0.1)
    assert times.gained > 0


def test_rows_take_the_steps_they_are_given():
    times = row_times(np.array([1.0, 2.0, 4.0, 1.0]), 0.25, columns=100)
    np.testing.assert_allclose(times.values / times.values[0], [1, 2, 4, 1], rtol=0.1)


@pytest.mark.parametrize(
    ("costs", "rows"),
    [(np.ones(40), 1000), (np.linspace(1, 1.01, 40), 10**6), (np.logspace(0, 2, 40), 2)],
    ids=["equal", "nearly equal", "short"],
)
def test_columns_alike_and_columns_too_short_to_pay_for_a_step_have_one(costs, rows):
    times = column_times(np.diag(costs), rows)
    np.testing.assert_array_equal(times.values, np.ones(1))
    assert times.gained == 0
