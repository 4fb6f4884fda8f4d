import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersenet.bits import ByteReader, ByteWriter
from tersenet.errors import TersenetError

FIELDS = {
    "u8": st.integers(0, 2**8 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "u64": st.integers(0, 2**64 - 1),
    "varint": st.integers(0, 2**64 - 1),
    "svarint": st.integers(-(2**63), 2**63 - 1),
    "f64": st.floats(),
}


@given(st.lists(st.sampled_from(sorted(FIELDS)).flatmap(lambda f: st.tuples(st.just(f), FIELDS[f]))))
def test_what_is_written_is_read(fields):
    out = ByteWriter()
    for field, value in fields:
        getattr(out, field)(value)
    data = ByteReader(out.getvalue())
    for field, value in fields:
        got = getattr(data, field)()
        assert got == value or (math.isnan(got) and math.isnan(value))
    data.expect_end()


@given(st.text(), st.binary())
def test_text_and_bytes_are_read_with_their_lengths(text, data):
    out = ByteWriter()
    out.bytes(text.encode())
    out.bytes(data)
    reader = ByteReader(out.getvalue())
    assert reader.text(len(text.encode())) == text
    assert (reader.offset, reader.remaining) == (len(text.encode()), len(data))
    assert reader.bytes(len(data)) == data


@pytest.mark.parametrize("field", [*FIELDS, "bytes", "text"])
def test_a_read_past_the_end_names_the_offset_and_the_field(field):
    out = ByteWriter()
    out.u8(1)
    if field in FIELDS:
        getattr(out, field)(2**40 if field == "varint" else 1)
        count = ()
    else:
        out.bytes(b"abc")
        count = (3,)
    whole = out.getvalue()
    for cut in range(1, len(whole)):
        reader = ByteReader(whole[:cut], what="header")
        reader.u8()
        with pytest.raises(TersenetError, match=r"^header: byte \d: the field needs"):
            getattr(reader, field)(*count, field="the field")
    reader = ByteReader(whole)
    reader.u8()
    getattr(reader, field)(*count, field="the field")
    reader.expect_end()


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\x80\x00", b"\x80" * 9 + b"\x00"])
def test_a_varint_with_needless_bytes_is_refused(data):
    with pytest.raises(TersenetError, match="byte 0: varint is spelled with needless bytes"):
        ByteReader(data).varint()
    assert ByteReader(b"\x00").varint() == 0
    assert ByteReader(b"\x80\x01").varint() == 128


def test_a_varint_above_64_bits_is_refused():
    assert ByteReader(b"\xff" * 9 + b"\x01").varint() == 2**64 - 1
    with pytest.raises(TersenetError, match="above"):
        ByteReader(b"\xff" * 9 + b"\x02").varint()
    with pytest.raises(TersenetError, match="longer than 10 bytes"):
        ByteReader(b"\xff" * 11).varint()


@given(st.binary(max_size=12))
def test_every_varint_that_is_read_is_spelled_as_the_writer_spells_it(data):
    reader = ByteReader(data)
    try:
        value = reader.varint()
    except TersenetError:
        return
    out = ByteWriter()
    out.varint(value)
    assert out.getvalue() == data[: reader.offset]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("u8", 256),
        ("u8", -1),
        ("u32", 2**32),
        ("u64", 2**64),
        ("varint", -1),
        ("varint", 2**64),
        ("svarint", 2**63),
        ("svarint", -(2**63) - 1),
    ],
)
def test_a_number_that_does_not_fit_is_not_written(field, value):
    with pytest.raises(TersenetError, match=f"the number {value} came"):
        getattr(ByteWriter(), field)(value)


def test_a_negative_count_a_bad_text_and_trailing_bytes_are_refused():
    with pytest.raises(TersenetError):
        ByteReader(b"abc").bytes(-1)
    with pytest.raises(TersenetError, match="byte 0: name is not UTF-8"):
        ByteReader(b"\xff").text(1, "name")
    with pytest.raises(TersenetError, match="1 bytes follow the end of header"):
        ByteReader(b"x", what="header").expect_end()
