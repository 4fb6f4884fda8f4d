"""Error feedback: what it guards, and what it is when its parts are left out."""

from __future__ import annotations

import numpy as np
import pytest

from tersenet.bits import entropy_bits
from tersenet.errors import TersenetError
from tersenet.methods._feedback import CodeLengths, damped, factorise, feedback_round, uniform_grid

STEP = 0.5


def _problem(seed: int, rows: int = 12, columns: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mixing = np.diag(np.linspace(0.1, 2, columns)) @ generator.normal(size=(columns, columns))
    inputs = generator.normal(size=(400, columns)) @ mixing
    return generator.normal(size=(rows, columns)), damped(inputs.T @ inputs / 400, 400)


def _round(weight: np.ndarray, hessian: np.ndarray, **settings) -> np.ndarray:
    return feedback_round(weight, factorise(hessian), uniform_grid(np.full(len(weight), STEP)), **settings)


def _loss(weight: np.ndarray, levels: np.ndarray, hessian: np.ndarray) -> float:
    error = weight - levels * STEP
    return float(np.einsum("ij,jk,ik->", error, hessian, error))


@pytest.mark.parametrize("seed", range(5))
def test_feedback_stays_within_its_bound_and_below_rounding_to_nearest(seed):
    weight, hessian = _problem(seed)
    factor = factorise(hessian)
    loss = _loss(weight, _round(weight, hessian), hessian)
    # No column errs by more than half a step when its turn comes, so the sum of costs bounds the loss.
    assert loss <= len(weight) * STEP**2 / 4 * factor.cost.sum()
    assert loss < _loss(weight, np.rint(weight / STEP), hessian)


@pytest.mark.parametrize("block", [1, 7, 39, 40, 41, 64])
def test_blocks_do_not_change_the_levels(block):
    weight, hessian = _problem(0)
    assert np.array_equal(_round(weight, hessian, block=block), _gptq(weight, hessian))


def _gptq(weight: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """The paper's recursion as it stands: remove a column, and let the others make good what it lost."""
    weight, inverse = weight.copy(), np.linalg.inv(hessian)
    levels = np.zeros(weight.shape, np.int64)
    for column in np.argsort(-np.diagonal(hessian), kind="stable"):
        levels[:, column] = np.rint(weight[:, column] / STEP)
        error = (weight[:, column] - levels[:, column] * STEP) / inverse[column, column]
        weight -= np.outer(error, inverse[column])
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return levels


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 5), (8, 65)])
def test_the_identity_is_rounding_to_nearest(shape):
    weight = np.random.default_rng(1).normal(size=shape)
    assert np.array_equal(_round(weight, np.eye(shape[1])), np.rint(weight / STEP))


def test_a_price_buys_fewer_bits_for_more_loss():
    weight, hessian = _problem(2, 32, 96)
    weight = weight * STEP  # about two bits a weight
    cost = float(factorise(hessian).cost.mean()) * STEP**2
    found = [_round(weight, hessian, bit_price=price * cost) for price in (0.0, 0.05, 0.2, 1.0)]
    bits = [entropy_bits(levels) for levels in found]
    losses = [_loss(weight, levels, hessian) for levels in found]
    assert bits == sorted(bits, reverse=True)
    assert bits[3] < 0.8 * bits[0]
    assert losses[0] < losses[2] < losses[3]


def test_the_same_input_gives_the_same_levels_and_leaves_it_alone():
    weight, hessian = _problem(3)
    before = weight.copy(), hessian.copy()
    first = _round(weight, hessian, bit_price=0.01)
    assert np.array_equal(first, _round(weight, hessian, bit_price=0.01))
    assert np.array_equal(weight, before[0])
    assert np.array_equal(hessian, before[1])


def test_dead_inputs_can_be_factored_once_damped():
    moment = np.zeros((4, 4))
    moment[0, 0] = 1.0
    assert np.isfinite(factorise(damped(moment, 10)).upper).all()
    assert np.array_equal(damped(np.zeros((3, 3)), 10), np.eye(3))


def test_few_rows_shrink_chance_correlations():
    moment = np.full((10, 10), 0.9) + 0.1 * np.eye(10)
    few, many = (damped(moment, count) for count in (10, 10_000))
    assert few[0, 1] == pytest.approx(0.45)
    assert many[0, 1] == pytest.approx(0.9, rel=0.01)


def test_moments_that_cannot_be_used_are_refused():
    with pytest.raises(TersenetError, match="NaN or infinite"):
        factorise(np.full((2, 2), np.nan))
    with pytest.raises(TersenetError, match="NaN or infinite"):
        damped(np.full((2, 2), np.inf), 5)
    with pytest.raises(TersenetError, match="not positive definite"):
        factorise(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_code_lengths_are_those_of_the_counts():
    levels = np.array([[0] * 30 + [1] * 10])
    lengths = CodeLengths.of(levels)
    everywhere = slice(None)

    def of(level: int) -> float:
        return float(lengths.at(np.full((1, 1, 40), level), everywhere)[0, 0, 0])

    assert of(0) < of(1) < of(-1)
    assert of(99) == of(2)
    assert np.exp2(-lengths.bits).sum() == pytest.approx(1.0)


def test_busy_rows_and_columns_have_lengths_of_their_own():
    generator = np.random.default_rng(4)
    busy = np.repeat([0.3, 3.0], 32)[:, None] * np.repeat([1.0, 0.2], 32)[None]
    levels = np.rint(generator.laplace(size=(64, 64)) * busy).astype(np.int64)
    lengths, plain = CodeLengths.of(levels), CodeLengths.of(levels, classes=False)
    zero = lengths.at(np.zeros((1, 64, 64), np.int64), slice(None))[0]
    assert zero[:32, 32:].max() < zero[32:, :32].min()
    paid = [one.at(levels[None], slice(None)).sum() for one in (lengths, plain)]
    assert paid[0] < 0.8 * paid[1]
    assert paid[1] == pytest.approx(entropy_bits(levels), rel=0.01)
    for columns in (slice(5, 6), slice(17, None)):
        whole = lengths.at(levels[None], slice(None))[..., columns]
        assert np.array_equal(lengths.at(levels[None, :, columns], columns), whole)
