import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.bits import BitWriter, IntStream
from tersenet.coding import get_coder
from tersenet.coding.reference import huffman as reference
from tersenet.coding.reference.shape import DENSE, FLAGS, ONE, RUNS, KraftRoom, put_shape
from tersenet.errors import TersenetError


def decode(data, alphabet, n):
    return get_coder("huffman").decode(data, name="x", alphabet=alphabet, n=n).values.tolist()


def cost_without_limit(counts):
    """Huffman 1952: the sum of all merged weights."""
    heap, cost = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=40).map(sorted))
def test_lengths_fill_the_code_and_cost_what_huffman_costs_when_the_limit_is_loose(counts):
    lengths = reference.code_lengths(counts, 40)
    assert sum(2 ** (40 - length) for length in lengths) == 2**40
    assert sum(c * length for c, length in zip(counts, lengths, strict=True)) == cost_without_limit(counts)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5).map(sorted))
def test_limited_lengths_are_the_best_of_all_that_fit(counts):
    import itertools

    limit = 3
    got = reference.code_lengths(counts, limit)
    assert max(got) <= limit and sum(2 ** (limit - length) for length in got) == 2**limit
    best = min(
        sum(c * length for c, length in zip(counts, lengths, strict=True))
        for lengths in itertools.product(range(1, limit + 1), repeat=len(counts))
        if sum(2 ** (limit - length) for length in lengths) <= 2**limit
    )
    assert sum(c * length for c, length in zip(counts, got, strict=True)) == best


def table(lengths, mode=DENSE, k=0, top=None, lanes=0):
    """The head of an encoding with these lengths (0 for unused)."""
    out = BitWriter()
    used = {s: length for s, length in enumerate(lengths) if length}
    top = top or max(lengths)
    out.put(lanes, 1)
    out.put(mode, 2)
    out.put(top - 1, 4)
    out.put(k, 1)
    put_shape(out, used, KraftRoom(top), mode, k)
    return out


@pytest.mark.parametrize(("mode", "k"), [(m, k) for m in (DENSE, RUNS, FLAGS) for k in (0, 1)])
def test_every_spelling_of_a_table_is_read(mode, k):
    out = table([1, 2, 3, 3], mode, k)
    out.put(0b111_110_10_0, 9)
    assert decode(out.getvalue(), 4, 4) == [3, 2, 1, 0]


def test_a_declared_longest_code_that_no_symbol_has_is_refused():
    good, bad = table([1, 1]), table([1, 1], top=2)
    for out in (good, bad):
        out.put(0b10, 2)
    assert decode(good.getvalue(), 2, 2) == [1, 0]
    with pytest.raises(TersenetError, match="the longest code has 1 bits; 2 are declared"):
        decode(bad.getvalue(), 2, 2)


def test_a_table_that_leaves_the_alphabet_is_refused():
    out = table([2, 2, 2, 2])
    out.put(0b11, 2)
    assert decode(out.getvalue(), 4, 1) == [3]
    with pytest.raises(TersenetError, match="not complete after all 3 symbols"):
        decode(out.getvalue(), 3, 1)


def test_dirty_padding_and_left_over_bytes_are_refused():
    clean, dirty = table([1, 1]), table([1, 1])
    clean.put(0b0, 1)
    dirty.put(0b01, 2)
    assert decode(clean.getvalue(), 2, 1) == [0]
    with pytest.raises(TersenetError, match="padding"):
        decode(dirty.getvalue(), 2, 1)
    with pytest.raises(TersenetError, match="1 bytes are left over"):
        decode(clean.getvalue() + b"\0", 2, 1)


def test_one_symbol_outside_the_alphabet_or_in_lanes_is_refused():
    for lanes, symbol, fine in ((0, 4, True), (0, 5, False), (1, 4, False)):
        out = BitWriter()
        out.put(lanes, 1)
        out.put(ONE, 2)
        out.put(symbol, 3)
        if fine:
            assert decode(out.getvalue(), 5, 3) == [4, 4, 4]
        else:
            with pytest.raises(TersenetError, match="symbol"):
                decode(out.getvalue(), 5, 3)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**40))
def test_lanes_of_any_count_are_read_even_where_the_encoder_would_use_one(n, seed):
    values = np.random.default_rng(seed).integers(0, 2, n)
    out = table([1, 1], lanes=1)
    bodies = []
    for part in reference.lane_slices(n, 8):
        lane = BitWriter()
        for value in values[part]:
            lane.put(int(value), 1)
        bodies.append(lane.getvalue())
    data = out.getvalue() + b"".join(len(b).to_bytes(4, "little") for b in bodies[:-1]) + b"".join(bodies)
    if n >= 8 * len(data):
        return
    assert decode(data, 2, n) == values.tolist() == reference.decode(data, alphabet=2, n=n).tolist()
    wrong = bytearray(data)
    wrong[len(out.getvalue())] += 1
    with pytest.raises(TersenetError):
        decode(bytes(wrong), 2, n)


def test_an_alphabet_above_65536_is_refused():
    stream = IntStream(name="fc1", values=np.array([65536]), alphabet=65537)
    with pytest.raises(TersenetError, match="fc1: an alphabet of 65537 came; huffman takes up to 65536"):
        get_coder("huffman").encode(stream)
    with pytest.raises(TersenetError, match="huffman takes up to 65536"):
        decode(b"\0", 65537, 1)
