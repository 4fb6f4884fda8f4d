"""Paths: the cheapest one is found, each column is one, and errors fall for the same bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tersenet._core as core

from tersenet.bits import IntStream
from tersenet.coding import get_coder
from tersenet.coding.reference import trellis
from tersenet.methods._feedback import damped, factorise, feedback_round, uniform_grid
from tersenet.methods._trellis import PathLengths, trellis_round


def _problem(seed: int, rows: int = 64, columns: int = 48) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mixing = np.diag(np.linspace(0.3, 2, columns)) @ generator.normal(size=(columns, columns))
    inputs = generator.normal(size=(400, columns)) @ mixing
    return generator.normal(size=(rows, columns)), damped(inputs.T @ inputs / 400, 400)


def _core_paths(values, states, bits, price):
    levels, odd = np.empty(values.shape, np.int64), np.empty(values.shape, np.uint8)
    columns, rows = values.shape
    classes = np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    core.trellis_round(values, np.full(columns, 0.7), price, bits, *classes, states, levels, odd)
    return levels, odd


def _cost(values, levels, states, bits, price) -> float:
    state, total = 0, 0.0
    for value, level in zip(values, levels, strict=True):
        if level and (level ^ state) & 1:
            return np.inf
        k = abs(level) + (state & 1) >> 1
        total += 0.7 * (value - level) ** 2 + price * bits[state & 1, 0, 0, min(k, bits.shape[3] - 1)]
        state = trellis.after(states, state, level, 0)
    return total


@pytest.mark.parametrize("states", [2, 3, 5])
@pytest.mark.parametrize("price", [0.0, 0.4])
def test_no_other_path_is_cheaper(states, price):
    generator = np.random.default_rng(states)
    values = np.ascontiguousarray(generator.uniform(-3.4, 3.4, size=(6, 5)))
    bits = np.ascontiguousarray(np.cumsum(generator.uniform(0.2, 1.5, size=(2, 1, 1, 3)), axis=3))
    levels, odd = _core_paths(values, states, bits, price)
    for column, found, parities in zip(values, levels.tolist(), odd, strict=True):
        least = min(_cost(column, path, states, bits, price) for path in itertools.product(range(-5, 6), repeat=5))
        assert _cost(column, found, states, bits, price) == pytest.approx(least)
        state = 0
        for level, parity in zip(found, parities, strict=True):
            assert parity == state & 1
            state = trellis.after(states, state, level, 0)


@pytest.mark.parametrize("states", [4, 32, 256])
def test_each_column_is_a_path_and_blocks_do_not_change_it(states):
    weight, hessian = _problem(0)
    levels = trellis_round(weight / 0.3, factorise(hessian), states=states)
    for column in levels.T.tolist():
        assert trellis.follows(states.bit_length() - 1, column, len(column), 0)
    for block in (1, 7, 48):
        assert np.array_equal(trellis_round(weight / 0.3, factorise(hessian), states=states, block=block), levels)


def _coded(levels: np.ndarray, weight: np.ndarray, step: float, hessian: np.ndarray) -> tuple[float, float]:
    """Bits a weight, and the logarithm of the error."""
    turned = np.ascontiguousarray(levels.T).reshape(-1)
    low = int(turned.min())
    data = get_coder("range").encode(IntStream(name="x", values=turned - low, alphabet=int(turned.max()) - low + 1))
    error = weight - levels * step
    return 8 * len(data) / levels.size, float(np.log2(np.einsum("ij,jk,ik->", error, hessian, error)))


@pytest.mark.parametrize("price", [0.0, 0.05])
@pytest.mark.parametrize("step", [1.2, 0.5])
def test_errors_are_those_of_a_tenth_of_a_bit_more_without_a_trellis(price, step):
    weight, hessian = _problem(1, rows=128)
    factor, grid = factorise(hessian), uniform_grid(np.ones(len(weight)))

    def plain(size: float) -> tuple[float, float]:
        unit = factorise(hessian * size * size)
        return _coded(
            feedback_round(weight / size, unit, grid, bit_price=price * unit.cost.mean()), weight, size, hessian
        )

    size = step * 0.6
    unit = factorise(hessian * size * size)
    along = trellis_round(weight / size, unit, states=32, bit_price=price * unit.cost.mean())
    bits, error = _coded(along, weight, size, hessian)
    assert np.array_equal(factor.order, unit.order)
    curve = sorted(plain(step * 2**octaves) for octaves in np.linspace(-1, 1, 9))
    needed = np.interp(-error, [-one[1] for one in curve], [one[0] for one in curve])
    assert bits < needed - 0.1


def test_lengths_are_those_of_their_own_counts():
    weight, _ = _problem(2)
    turned = np.ascontiguousarray(weight.T / 0.4)
    levels, odd = _core_paths(turned, 3, np.zeros((2, 1, 1, 1)), 0.0)
    lengths = PathLengths.of(levels, odd)
    shares = 2.0 ** -(lengths.bits - np.r_[0, np.ones(lengths.bits.shape[3] - 1)])
    np.testing.assert_allclose(shares.sum(3), 1)
    quiet, busy = (lengths.bits[0, row].mean(0)[0] for row in (0, -1))
    assert quiet < busy  # a 0 is cheaper where there are many


def test_arguments_that_do_not_fit_are_refused():
    values, classes = np.zeros((3, 4)), (np.zeros(4, np.int64), np.zeros(3, np.int64))
    out = np.zeros((3, 4), np.int64), np.zeros((3, 4), np.uint8)
    for states in (1, 9):
        with pytest.raises(ValueError, match="states"):
            core.trellis_round(values, np.ones(3), 0.0, np.zeros((2, 1, 1, 1)), *classes, states, *out)
    with pytest.raises(ValueError, match="fit together"):
        core.trellis_round(values, np.ones(2), 0.0, np.zeros((2, 1, 1, 1)), *classes, 3, *out)
    with pytest.raises(ValueError, match="fit together"):
        core.trellis_round(values, np.ones(3), 0.0, np.zeros((2, 1, 1, 1)), np.full(4, 1), classes[1], 3, *out)
