import numpy as np
import pytest

from tersenet.bits import IntStream, dtype_for, width_for
from tersenet.errors import TersenetError


@pytest.mark.parametrize(
    ("alphabet", "dtype"),
    [(1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4"), (2**32, "u4")],
)
def test_values_are_held_in_the_smallest_unsigned_type(alphabet, dtype):
    stream = IntStream(name="x", values=np.array([0, alphabet - 1], np.int64), alphabet=alphabet)
    assert stream.values.dtype == dtype_for(alphabet) == np.dtype(dtype)
    assert stream.values.tolist() == [0, alphabet - 1]


@pytest.mark.parametrize("alphabet", [0, -1, 2**32 + 1])
def test_an_alphabet_outside_1_to_2_to_the_32_is_refused(alphabet):
    with pytest.raises(TersenetError, match="fc1: an alphabet of"):
        IntStream(name="fc1", values=np.zeros(0, np.uint8), alphabet=alphabet)


@pytest.mark.parametrize("bad", [-1, 3, 255])
@pytest.mark.parametrize("dtype", [np.int16, np.int64])
def test_a_value_outside_the_alphabet_is_refused_and_named(bad, dtype):
    with pytest.raises(TersenetError, match=rf"fc1: values reach {bad}; expected \[0, 3\)"):
        IntStream(name="fc1", values=np.array([0, bad, 1], dtype), alphabet=3)


def test_an_unsigned_value_outside_the_alphabet_is_refused():
    IntStream(name="x", values=np.array([2], np.uint8), alphabet=3)
    with pytest.raises(TersenetError, match="values reach 3"):
        IntStream(name="x", values=np.array([3], np.uint8), alphabet=3)


def test_floats_and_matrices_are_refused():
    with pytest.raises(TersenetError, match="expected integers"):
        IntStream(name="x", values=np.array([1.0]), alphabet=3)
    with pytest.raises(TersenetError, match="expected 1: ravel"):
        IntStream(name="x", values=np.zeros((2, 2), np.uint8), alphabet=3)


def test_an_empty_stream_has_the_dtype_of_its_alphabet():
    assert IntStream(name="x", values=np.array([]), alphabet=300).values.dtype == np.uint16


WIDTHS = [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (2**32, 32)]


@pytest.mark.parametrize(("alphabet", "width"), WIDTHS)
def test_width_is_the_ceiling_of_log2(alphabet, width):
    assert width_for(alphabet) == width


def test_decoded_values_of_the_wrong_type_are_refused():
    assert len(IntStream.of_decoded("x", np.zeros(3, np.uint8), 4)) == 3
    with pytest.raises(TersenetError, match="expected 1-D uint8"):
        IntStream.of_decoded("x", np.zeros(3, np.uint16), 4)
