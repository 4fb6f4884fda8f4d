import numpy as np
import pytest

from tersenet.bits import entropy_bits


def test_equal_counts_take_log2_of_their_number_each():
    assert entropy_bits(np.arange(8, dtype=np.uint8).repeat(5)) == pytest.approx(40 * 3)


@pytest.mark.parametrize("values", [[], [7], [7, 7, 7]])
def test_nothing_and_one_value_take_no_bits(values):
    assert entropy_bits(np.array(values, np.uint8)) == 0.0


def test_counts_and_wide_values_give_the_same_as_narrow_values():
    values = np.array([0, 1, 1, 3, 3, 3], np.uint8)
    want = entropy_bits(values)
    assert want == pytest.approx(1 * np.log2(6) + 2 * np.log2(3) + 3 * np.log2(2))
    assert entropy_bits(counts=np.array([1, 2, 0, 3])) == pytest.approx(want)
    assert entropy_bits(values.astype(np.uint32) + 10**9) == pytest.approx(want)


def test_values_and_counts_together_are_refused():
    with pytest.raises(TypeError):
        entropy_bits(np.zeros(1, np.uint8), counts=np.ones(1))
