"""Coarse before fine: whatever was measured when a search stops is spread over the whole range."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersenet.search.order import coarse_first


@given(st.lists(st.integers(1, 64)))
def test_every_level_comes_once(levels):
    assert sorted(coarse_first(levels)) == sorted(set(levels))


@given(st.integers(1, 64), st.data())
def test_no_gap_in_what_was_measured_is_more_than_twice_another(count, data):
    """After whole rounds of halving: 1, 3, 7, ... levels."""
    rounds = data.draw(st.integers(1, (count + 1).bit_length() - 1))
    begun = sorted(coarse_first(range(count))[: 2**rounds - 1])
    edges = [-1, *begun, count]
    gaps = [after - before - 1 for before, after in pairwise(edges)]
    assert max(gaps) <= 2 * min(gaps) + 1


@pytest.mark.parametrize(("levels", "order"), [([], []), ([0.5], [0.5]), ([0.1, 0.9, 0.5], [0.5, 0.9, 0.1])])
def test_the_middle_comes_first(levels, order):
    assert coarse_first(levels) == order
