"""Surgery on one matrix: its costs are those of least squares, and what it leaves is the best that can be left."""

from __future__ import annotations

import numpy as np
import pytest

from tersenet.methods._surgeon import costs_of, largest, prune_in_order, refit, removal_costs
from tersenet.methods.patterns import Neighbours


def _problem(seed: int, rows: int = 5, columns: int = 12) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(200, columns)) @ generator.normal(size=(columns, columns))
    return generator.normal(size=(rows, columns)), inputs.T @ inputs / 200 + 0.01 * np.eye(columns)


def _loss(target: np.ndarray, fitted: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    error = target - fitted
    return np.einsum("ij,jk,ik->i", error, hessian, error)


def _everything(weight: np.ndarray) -> np.ndarray:
    return np.ones(weight.shape, bool)


def _greedy_costs(row: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Brute force: at each step every removal is tried, the rest being a fresh least-squares solution."""
    kept, before, highest = np.ones((1, len(row)), bool), 0.0, 0.0
    costs = np.empty(len(row))
    for _ in row:
        tried = {}
        for q in np.flatnonzero(kept):
            without = kept.copy()
            without[0, q] = False
            tried[q] = float(_loss(row[None], refit(row[None], hessian, without), hessian)[0])
        q = min(tried, key=tried.__getitem__)
        highest = max(highest, tried[q] - before)
        costs[q], before = highest, tried[q]
        kept[0, q] = False
    return costs


@pytest.mark.parametrize("columns", [1, 2, 3, 12, 13])
def test_costs_are_those_of_trying_every_removal_with_fresh_least_squares(columns):
    weight, hessian = _problem(columns, 3, columns)
    costs = removal_costs(weight, hessian, _everything(weight))
    for row, found in zip(weight, costs):
        np.testing.assert_allclose(found, _greedy_costs(row, hessian), rtol=1e-8)


def test_costs_do_not_depend_on_what_is_worked_on_together(monkeypatch):
    weight, hessian = _problem(1, 7, 20)
    at_once = removal_costs(weight, hessian, _everything(weight))
    monkeypatch.setattr("tersenet.methods._surgeon.TOGETHER", 1)
    np.testing.assert_allclose(removal_costs(weight, hessian, _everything(weight)), at_once, rtol=1e-10)


def test_independent_inputs_cost_what_the_weights_weigh():
    weight = np.array([[3.0, -1.0, 0.5]])
    costs = removal_costs(weight, np.diag([1.0, 4.0, 100.0]), _everything(weight))
    np.testing.assert_allclose(costs, [[9.0, 4.0, 25.0]])


def test_what_is_zero_already_goes_first_and_costs_nothing():
    weight, hessian = _problem(2)
    open_ = np.random.default_rng(0).random(weight.shape) < 0.6
    costs = removal_costs(weight, hessian, open_)
    assert not costs[~open_].any()
    assert (costs[open_] > 0).all()
    for row, mask, found in zip(weight, open_, costs):
        stays = np.flatnonzero(mask)
        inner = hessian[np.ix_(stays, stays)]
        target = np.linalg.solve(inner, hessian[stays] @ row)
        np.testing.assert_allclose(found[stays], _greedy_costs(target, inner), rtol=1e-8)


@pytest.mark.parametrize("pattern", [Neighbours(1, 2), Neighbours(2, 4), Neighbours(1, 4), Neighbours(3, 5)], ids=str)
@pytest.mark.parametrize("columns", [1, 4, 11, 12])
def test_a_pattern_leaves_n_of_m_neighbours_and_all_of_a_short_last_group_it_fits_in(pattern, columns, monkeypatch):
    weight, hessian = _problem(3, 4, columns)
    exact = np.isinf(costs_of(weight, hessian, _everything(weight), pattern))
    ones = np.ones(len(weight))
    in_order = prune_in_order(weight, hessian, exact, _everything(weight), ones, pattern) != 0
    monkeypatch.setattr("tersenet.methods._surgeon.REMOVAL_WORK", 0)
    at_once = np.isinf(costs_of(weight, hessian, _everything(weight), pattern))
    for kept in (exact, in_order, at_once):
        for start in range(0, columns, pattern.m):
            assert (kept[:, start : start + pattern.m].sum(1) == min(pattern.n, columns - start)).all()


def test_a_pattern_takes_rows_that_have_lost_more_than_it_asks_for_as_they_are():
    weight, hessian = _problem(6, 6, 12)
    open_ = np.random.default_rng(3).random(weight.shape) < np.linspace(0.1, 1.0, 6)[:, None]
    kept = np.isinf(removal_costs(weight, hessian, open_, Neighbours(2, 4)))
    assert not kept[~open_].any()
    assert (kept.reshape(-1, 4).sum(1) == np.minimum(open_.reshape(-1, 4).sum(1), 2)).all()


def test_refit_has_nothing_left_to_gain_along_any_kept_weight():
    weight, hessian = _problem(4)
    kept = np.random.default_rng(1).random(weight.shape) < 0.5
    kept[0] = False
    fitted = refit(weight, hessian, kept)
    slope = (fitted - weight) @ hessian
    assert not fitted[~kept].any()
    np.testing.assert_allclose(slope[kept], 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_surgery_loses_less_than_the_order_of_columns_and_that_less_than_cutting(seed):
    weight, hessian = _problem(seed, 16, 200)
    costs = removal_costs(weight, hessian, _everything(weight))
    kept = largest(costs.reshape(1, -1), weight.size // 2).reshape(weight.shape)
    small = largest(np.abs(weight).reshape(1, -1), weight.size // 2).reshape(weight.shape)
    in_order = prune_in_order(weight, hessian, kept, _everything(weight), np.ones(len(weight)))
    losses = [
        _loss(weight, one, hessian).sum()
        for one in (refit(weight, hessian, kept), in_order, np.where(small, weight, 0.0))
    ]
    assert int((in_order != 0).sum()) == weight.size // 2
    assert losses[0] < losses[1] < losses[2]


def test_in_order_what_is_zero_already_stays_zero():
    weight, hessian = _problem(5, 8, 70)
    open_ = np.random.default_rng(2).random(weight.shape) < 0.5
    for pattern in (None, Neighbours(2, 4)):
        found = prune_in_order(weight, hessian, open_, open_, np.ones(len(weight)), pattern)
        assert not found[~open_].any()
        assert found[open_].any()
