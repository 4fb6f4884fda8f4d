import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.coding import get_coder
from tersenet.errors import TersenetError


def decode(data, alphabet, n):
    return get_coder("raw").decode(data, name="x", alphabet=alphabet, n=n).values.tolist()


def test_values_are_packed_lowest_bit_first():
    data = get_coder("raw").encode(IntStream(name="x", values=np.array([1, 2, 4, 3]), alphabet=5))
    assert data == bytes([0b00_010_001 | (4 & 3) << 6, 4 >> 2 | 3 << 1])


@pytest.mark.parametrize("width", range(33))
def test_every_width_is_read_as_written(width):
    values = np.array([0, 2**width - 1, 2**width // 3, 0, 1 if width else 0], np.int64)
    data = get_coder("raw").encode(IntStream(name="x", values=values, alphabet=2**width))
    assert len(data) == (5 * width + 7) // 8
    assert decode(data, 2**width, 5) == values.tolist()


def test_a_value_outside_the_alphabet_is_refused():
    assert decode(b"\x04", 5, 1) == [4]
    with pytest.raises(TersenetError, match="values reach 5"):
        decode(b"\x05", 5, 1)


def test_dirty_padding_and_a_wrong_length_are_refused():
    assert decode(b"\x01", 2, 3) == [1, 0, 0]
    with pytest.raises(TersenetError, match="padding after the last value is not zero"):
        decode(b"\x09", 2, 3)
    with pytest.raises(TersenetError, match="2 bytes came; 3 values of 1 bits take 1"):
        decode(b"\x01\x00", 2, 3)
