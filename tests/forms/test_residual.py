"""Residual quantization: more rounds and a wider beam are nearer, the rate is the paper's, refusals are sentences."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Residual, lift
from tersenet.forms._beam import beam_codes, error_of, refit

WEIGHT = torch.randn(40, 24, generator=torch.Generator().manual_seed(0))


def error(form) -> float:
    return float((form() - WEIGHT).detach().double().square().sum())


def tables(t: int, k: int, dim: int) -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.normal(scale=0.6**number, size=(k, dim)).astype(np.float32) for number in range(t)]


def test_each_round_brings_the_weights_nearer():
    errors = [error(Residual.fit(WEIGHT, k=8, rounds=rounds, dim=4)) for rounds in (1, 2, 3)]
    assert all(later < 0.6 * earlier for earlier, later in pairwise(errors))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_beam_that_keeps_everything_finds_the_best_codes_and_a_narrow_one_comes_near(weighted):
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    weights = np.random.default_rng(2).random((50, 3)).astype(np.float32) if weighted else None
    chosen = tables(3, 4, 3)
    sums = np.stack([sum(table[code] for table, code in zip(chosen, codes)) for codes in product(range(4), repeat=3)])
    factors = 1.0 if weights is None else weights[:, None]
    best = (np.square(points[:, None].astype(np.float64) - sums[None]) * factors).sum(2).min(1).sum()
    wide, some, greedy = (
        error_of(points, chosen, beam_codes(points, chosen, beam, weights), weights) for beam in (64, 4, 1)
    )
    assert wide == pytest.approx(best, rel=1e-5)
    assert wide <= some < greedy


def test_least_squares_never_makes_it_worse_and_leaves_what_is_unused():
    points = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    before = tables(2, 8, 4)
    codes = np.minimum(beam_codes(points, before, 2), 6)
    after = refit(points, before, codes)
    assert error_of(points, after, codes) < error_of(points, before, codes)
    assert (after[0][7] == before[0][7]).all() and (after[1][7] == before[1][7]).all()


def test_searching_and_fitting_in_turn_beats_the_greedy_rounds_of_the_paper():
    points = WEIGHT.reshape(-1, 4).numpy()
    form = Residual.fit(WEIGHT, k=8, rounds=3, dim=4, beam=8)
    from tersenet.forms._vector_kmeans import cluster_vectors

    rest, greedy = points, []
    for seed in range(3):
        entries, codes = cluster_vectors(rest, 8, seed=seed)
        greedy.append(entries)
        rest = rest - entries[codes]
    assert error(form) < 0.95 * float(np.square(rest, dtype=np.float64).sum())


def test_whole_rows_are_the_default_and_the_rate_is_that_of_the_paper():
    # t k n b + t m log2 k
    form = Residual.fit(WEIGHT, k=8, rounds=2)
    assert form.pieces[0].cut == (0, 1, 24) and form.columns_together == 24
    assert form.formula_bits() == 2 * 8 * 24 * 32 + 2 * 40 * 3


def test_rounds_end_where_nothing_is_left_which_is_said():
    form = Residual.fit(torch.full((6, 8), 0.5), k=4, rounds=3, dim=4)
    assert len(form.pieces[0].tables) == 1
    assert form.remarks(4, 4, 3) == [
        "1 different sub-vectors are left, so the codebook has 1 entries, not 4",
        "nothing is left to code after 1 of 3 rounds, so there are no more",
    ]
    assert isinstance(lift(form.lower("raw")), Residual)


def test_snapping_a_weight_to_its_own_sums_changes_nothing():
    form = Residual.fit(WEIGHT, k=8, rounds=2, dim=4, beam=16)
    assert error(form.snapped(WEIGHT)) <= error(form) * (1 + 1e-6)
    columns = torch.arange(8, 16)
    near = form.nearest(WEIGHT[:, columns].double(), columns)
    assert torch.equal(near.float(), form.snapped(WEIGHT)().detach()[:, columns])


def test_columns_that_count_more_are_kept_better():
    importance = torch.ones(24)
    importance[::4] = 100
    plain, weighed = (Residual.fit(WEIGHT, k=8, dim=4, importance=one) for one in (None, importance))
    by = [float(((form() - WEIGHT).detach().square() * importance).sum()) for form in (plain, weighed)]
    assert by[1] < 0.7 * by[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rounds": 0}, "rounds of 0; give 1 or more"),
        ({"beam": 0}, "a beam of 0; give 1 or more"),
        ({"dim": -1}, "sub-vectors of -1 weights"),
        ({"axis": "down"}, "axis down is unknown"),
    ],
)
def test_each_refusal_is_a_sentence(options, says):
    with pytest.raises(TersenetError, match=says):
        Residual.fit(WEIGHT, **{"k": 4} | options)
