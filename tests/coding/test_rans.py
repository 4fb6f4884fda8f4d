import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersenet.bits import BitWriter, IntStream
from tersenet.coding import get_coder
from tersenet.coding.reference import rans as reference
from tersenet.coding.reference.shape import ONE
from tersenet.errors import TersenetError


def decode(data, alphabet, n):
    return get_coder("rans").decode(data, name="x", alphabet=alphabet, n=n).values.tolist()


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=60), st.integers(12, 15))
def test_frequencies_sum_to_the_scale_and_none_is_zero(counts, scale):
    freqs = reference.frequencies(counts, scale)
    assert sum(freqs) == 1 << scale and min(freqs) >= 1


def test_frequencies_of_counts_that_fit_are_the_counts():
    counts = [1, 4, 1000, 4096 - 1005]
    assert reference.frequencies(counts, 12) == counts


@given(st.lists(st.integers(0, 2**15 - 1), min_size=3, max_size=60), st.integers(12, 15))
def test_spread_sums_to_the_scale_and_gives_each_at_least_one(weights, scale):
    freqs = reference.spread(weights, scale)
    assert sum(freqs) == 1 << scale and min(freqs) >= 1


def test_spread_of_weights_that_fill_the_scale_adds_one_to_each():
    assert reference.spread([0, 93, 4000], 12) == [1, 94, 4001]


@given(st.integers(1, 2**15))
def test_the_integer_logarithm_is_near_the_real_one(x):
    assert abs(reference.log2_fixed(x) / 2**16 - math.log2(x)) < 2**-11


@given(st.integers(0, 2**15 - 1), st.integers(0, 14))
def test_rounded_weights_have_few_significant_bits_and_are_near(weight, precision):
    got = reference.round_weight(weight, precision)
    assert 0 <= got < 2**15
    assert got == 0 or got % (1 << max(0, got.bit_length() - 1 - precision)) == 0
    assert abs(got - weight) <= weight * 2.0 ** -(precision + 1) or got == 2**15 - 2 ** (14 - precision)


def bits_of(values):
    return get_coder("rans").encode(IntStream(name="x", values=np.array(values), alphabet=2))


def test_a_lane_that_does_not_come_home_is_refused():
    values = [0, 1, 1, 0, 1, 0, 0, 0] * 20
    data = bits_of(values)
    assert decode(data, 2, 160) == values
    for n in (159, 161):
        with pytest.raises(TersenetError):
            decode(data, 2, n)


def test_a_state_below_its_lower_bound_is_refused():
    data = bytearray(bits_of([0, 1, 1]))
    assert len(data) == 3 + 4
    data[5:7] = b"\0\0"
    with pytest.raises(TersenetError, match="lane 0 starts at 49168; expected at least 65536"):
        decode(bytes(data), 2, 3)


def head(mode=1, lanes=0, scale=0, used=2, alphabet_bits=1, first=100):
    out = BitWriter()
    for value, width in ((mode, 2), (lanes, 3), (scale, 2), (used - 2, alphabet_bits), (first - 1, 12)):
        out.put(value, width)
    return out.getvalue()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"lanes": 6}, "lanes"), ({"used": 3}, "symbols came"), ({"first": 4096}, "all of the frequency")],
)
def test_a_head_that_no_encoder_writes_is_refused(fields, sentence):
    states = (2**16).to_bytes(4, "little") * 32
    with pytest.raises(TersenetError, match=sentence):
        decode(head(**fields) + states, 2, 5)
    with pytest.raises(TersenetError, match=r"data ends at value|do not end where"):
        decode(head() + states[:4], 2, 5)


def test_one_symbol_outside_the_alphabet_is_refused():
    for symbol in (4, 5):
        out = BitWriter()
        out.put(ONE, 2)
        out.put(symbol, 3)
        if symbol == 4:
            assert decode(out.getvalue(), 5, 2) == [4, 4]
        else:
            with pytest.raises(TersenetError, match="symbol 5 came; expected below 5"):
                decode(out.getvalue(), 5, 2)


@given(st.integers(0, 9), st.sampled_from([2**17, 2**19]), st.sampled_from([0.3, 0.02]))
def test_the_number_of_lanes_grows_with_the_payload(seed, bits, skew):
    assert reference.lane_bits(bits - 1) < reference.lane_bits(bits)
