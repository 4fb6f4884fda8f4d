import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersenet.bits import BitReader, BitWriter
from tersenet.errors import TersenetError

fields = st.lists(st.integers(0, 32).flatmap(lambda w: st.tuples(st.integers(0, 2**w - 1), st.just(w))))


@given(fields)
def test_fields_are_read_as_written_and_the_rest_is_padding(pairs):
    out = BitWriter()
    for value, width in pairs:
        out.put(value, width)
    bits = BitReader(out.getvalue())
    assert [(bits.get(width), width) for _, width in pairs] == pairs
    bits.expect_end()


def test_the_first_bit_is_the_top_of_the_first_byte():
    out = BitWriter()
    out.put(1, 1)
    out.put(1, 8)
    assert out.getvalue() == b"\x80\x80"


@given(st.integers(1, 2**16), st.integers(0, 20))
def test_gamma_and_unary_are_read_as_written(value, count):
    out = BitWriter()
    out.put_gamma(value)
    out.put_unary(count, True)
    out.put_unary(count, False)
    bits = BitReader(out.getvalue())
    assert (bits.get_gamma(17), bits.get_unary(99), bits.get_unary(count)) == (value, count, count)


def test_reads_past_the_end_long_gammas_and_dirty_padding_are_refused():
    with pytest.raises(TersenetError, match="ends at bit 8"):
        BitReader(b"\x00").get(9)
    with pytest.raises(TersenetError, match="gamma"):
        BitReader(b"\x00\xff").get_gamma(8)
    assert BitReader(b"\x01\xff").get_gamma(8) == 0xFF
    with pytest.raises(TersenetError, match="padding"):
        bits = BitReader(b"\x81")
        bits.get(1)
        bits.expect_end()
    with pytest.raises(TersenetError, match="1 bytes are left over"):
        bits = BitReader(b"\x80\x00")
        bits.get(1)
        bits.expect_end()
