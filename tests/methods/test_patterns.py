"""Patterns hold exactly in every group and block, the best scores stay, and what is no pattern is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.errors import TersenetError
from tersenet.methods.patterns import Blocks, Neighbours, joint_mask, parse_pattern, pattern_mask

SHAPES = st.sampled_from([(1, 1), (1, 4), (3, 5), (4, 8), (2, 3, 3, 3), (5, 1, 5, 5), (4, 2, 3)])


def _scores(shape, seed, levels=None):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(shape, generator=generator)
    return scores if levels is None else (scores * levels).floor()


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, m=st.integers(2, 6), data=st.data(), seed=st.integers(0, 99), levels=st.sampled_from([None, 2]))
def test_n_of_m_hold_in_every_group_and_no_cut_one_is_larger_than_a_kept_one(shape, m, data, seed, levels):
    n = data.draw(st.integers(1, m - 1))
    scores = _scores(shape, seed, levels)
    mask = pattern_mask(scores, Neighbours(n, m)).flatten(1)
    assert mask.shape == scores.flatten(1).shape
    for row, values in zip(mask, scores.flatten(1)):
        for start in range(0, len(row), m):
            group, score = row[start : start + m], values[start : start + m]
            assert int(group.sum()) == min(n, len(group))
            assert bool(group.all()) or float(score[group].min()) >= float(score[~group].max())


def test_the_two_largest_of_four_stay_and_ties_keep_the_first():
    scores = torch.tensor([[1.0, 4, 3, 2, 5, 5, 5, 5, 7]])
    assert pattern_mask(scores, Neighbours(2, 4)).int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0, 1]]


@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES, rows=st.integers(1, 5), columns=st.integers(2, 5), keep=st.floats(0.01, 1), seed=st.integers(0, 99)
)
def test_blocks_stay_or_go_whole_as_many_as_asked_for(shape, rows, columns, keep, seed):
    scores = _scores(shape, seed) + 0.1
    mask = pattern_mask(scores, Blocks(rows, columns), keep)
    matrix = mask.flatten(1)
    blocks = [
        matrix[r : r + rows, c : c + columns]
        for r in range(0, matrix.shape[0], rows)
        for c in range(0, matrix.shape[1], columns)
    ]
    assert all(bool(block.all()) or not bool(block.any()) for block in blocks)
    assert sum(bool(block.all()) for block in blocks) == max(round(keep * len(blocks)), 1)


def test_blocks_with_the_largest_norm_stay_also_a_small_one_at_the_edge():
    scores = torch.tensor([[3.0, 0, 1, 1, 9], [0, 0, 1, 1, 0]])
    assert pattern_mask(scores, Blocks(2, 2), 0.34).int().tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]
    assert pattern_mask(scores, Blocks(2, 2), 0.67).int().tolist() == [[1, 1, 0, 0, 1], [1, 1, 0, 0, 1]]


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 1.0, 2.0, float("inf")]), min_size=1, max_size=40), keep=st.floats(0.01, 1)
)
def test_without_a_pattern_it_is_what_a_stable_sort_keeps(values, keep):
    scores = torch.tensor(values)
    expected = torch.zeros(len(values), dtype=torch.bool)
    expected[torch.sort(scores, descending=True, stable=True).indices[: max(round(keep * len(values)), 1)]] = True
    assert torch.equal(pattern_mask(scores, keep=keep), expected)


def test_one_threshold_for_all_takes_from_where_the_small_ones_are():
    scores = {"large": torch.full((2, 2), 2.0), "small": torch.full((2, 6), 0.1)}
    assert {name: int(mask.sum()) for name, mask in joint_mask(scores, 0.5).items()} == {"large": 4, "small": 4}
    blocks = joint_mask(scores, 0.25, Blocks(1, 2))
    assert {name: int(mask.sum()) for name, mask in blocks.items()} == {"large": 4, "small": 0}


def test_patterns_are_written_as_n_of_m_or_as_rows_by_columns():
    assert parse_pattern("2:4") == Neighbours(2, 4)
    assert parse_pattern(" 1x8 ") == Blocks(1, 8)
    for text in ("2", "2:", "0:4", "4:4", "5:4", "0x3", "1x1", "2:4:8", "-1:4", "a:b", "2.0:4", ""):
        with pytest.raises(TersenetError, match="expected|is not a pattern"):
            parse_pattern(text)


def test_shares_outside_the_half_open_interval_a_share_beside_n_of_m_and_nan_are_refused():
    scores = torch.ones(2, 4)
    for keep in (None, 0.0, -1.0, 1.01, float("nan")):
        for pattern in (None, Blocks(2, 2)):
            with pytest.raises(TersenetError, match="expected more than 0 and at most 1"):
                pattern_mask(scores, pattern, keep)
    with pytest.raises(TersenetError, match="drop keep"):
        pattern_mask(scores, Neighbours(2, 4), 0.5)
    for pattern in (None, Blocks(2, 2), Neighbours(2, 4)):
        with pytest.raises(TersenetError, match="1 of 2 scores are NaN"):
            pattern_mask(torch.tensor([[1.0, float("nan")]]), pattern, None if isinstance(pattern, Neighbours) else 0.5)
