"""Laws for every node of the grammar: three decoders, the same bits; sizes that add up."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tersenet.bits import ByteReader, IntStream, dtype_for
from tersenet.errors import TersenetError
from tersenet.storage import (
    Affine,
    Budget,
    Concat,
    Floats,
    Integers,
    Permute,
    Reshape,
    Scatter,
    Storage,
    Sum,
    Table,
    Transform,
    decode,
    read,
    size_bytes,
    walk,
    working_bytes,
    write,
)
from tersenet.storage.decode import dct_basis
from tersenet.storage.fast import decode_bytes
from tersenet.storage.memory import dtype_of, result_bytes

ROOM = 1 << 24
CODERS = ("raw", "huffman", "rans", "range")
KINDS = (Integers, Floats, Affine, Table, Scatter, Sum, Concat, Reshape, Permute, Transform)
# Zeros of both signs, subnormals, the largest, infinities, NaNs of both signs, quiet and signalling.
HARD_FLOATS = np.array(
    [
        0,
        1 << 31,
        1,
        0x80000001,
        0x7F7FFFFF,
        0x3F800000,
        0xBF800001,
        0x7F800000,
        0xFF800000,
        0x7FC00000,
        0xFFC00000,
        0x7F800001,
        0xFFBFFFFF,
        0x7FFFFFFF,
        0x33800000,
    ],
    np.uint32,
).view(np.float32)
HARD_HALVES = np.array(
    [0, 0x8000, 1, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0x3C00, 0x7C00, 0xFC00, 0x7E00, 0xFE00, 0x7C01, 0xFDFF], np.uint16
).view(np.float16)


def integers(values, alphabet: int) -> Integers:
    return Integers(IntStream(name="x", values=np.asarray(values, dtype_for(alphabet)), alphabet=alphabet))


def gaps(places, size: int, span: int) -> Integers:
    """The gap stream of ascending places, with fillers; alphabet span + 1."""
    symbols, at = [], 0
    for place in places:
        fillers, rest = divmod(place - at, span)
        symbols += [span] * fillers + [rest]
        at = place + 1
    return integers(symbols, span + 1)


@st.composite
def int_leaf(draw, n=None, most=2**32):
    n = draw(st.integers(0, 20)) if n is None else n
    alphabet = draw(st.sampled_from([a for a in (1, 2, 3, 17, 256, 257, 65536, 65537, 2**24, 2**32) if a <= most]))
    top = draw(st.sampled_from([0, alphabet - 1])) if draw(st.booleans()) else None
    seed = draw(st.integers(0, 2**16))
    values = np.full(n, top, np.uint64) if top is not None else np.random.default_rng(seed).integers(0, alphabet, n)
    return integers(values, alphabet)


@st.composite
def float_leaf(draw, n=None):
    n = draw(st.integers(0, 20)) if n is None else n
    half = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if draw(st.booleans()):
        hard = HARD_HALVES if half else HARD_FLOATS
        values = hard[rng.integers(0, len(hard), n)]
    else:
        values = rng.normal(size=n).astype(np.float16 if half else np.float32)
    return Floats(values, planes=draw(st.booleans()))


def leaf_like(draw, kind: str, shape, most=2**32) -> Storage:
    n = prod(shape)
    return Reshape(draw(float_leaf(n) if kind == "float" else int_leaf(n, most)), tuple(shape))


@st.composite
def trees(draw, kind=None, depth=3, most=2**32):
    kind = kind or draw(st.sampled_from(["int", "float"]))
    names = ["leaf", "table", "scatter", "concat", "reshape", "permute"]
    names += ["affine", "sum", "transform"] if kind == "float" else []
    name = draw(st.sampled_from(names)) if depth else "leaf"
    if name == "leaf":
        return draw(float_leaf() if kind == "float" else int_leaf(most=most))
    if name == "affine":
        levels = draw(trees("int", depth - 1, 2**24))
        runs = draw(st.sampled_from([m for m in range(1, max(levels.numel, 1) + 1) if levels.numel % m == 0]))
        zero = draw(int_leaf(draw(st.sampled_from([1, runs])), 2**24))
        return Affine(levels, zero, draw(float_leaf(runs)))
    if name == "table":
        entries = draw(trees(kind, depth - 1, most).filter(lambda t: 1 <= len(t.shape) <= 4))
        n = draw(st.integers(0, 8)) if entries.shape[0] else 0
        k = max(entries.shape[0], 1)
        index: Storage = integers(np.random.default_rng(n).integers(0, k, n), draw(st.sampled_from([k, k + 1])))
        if draw(st.booleans()):
            index = Reshape(index, draw(st.sampled_from([(n, 1), (1, n)] + [()] * (n == 1))))
        return Table(entries, index)
    if name == "scatter":
        values = draw(trees(kind, depth - 1, most).filter(lambda t: len(t.shape) >= 1))
        m = values.shape[0]
        size = m + draw(st.integers(0, 9))
        places = sorted(draw(st.permutations(range(size)))[:m])
        if draw(st.booleans()):
            mask = np.zeros(size, np.uint8)
            mask[places] = 1
            return Scatter(values, integers(mask, 2), size, True)
        return Scatter(values, gaps(places, size, draw(st.integers(1, 5))), size, False)
    first = draw(trees(kind, depth - 1, most).filter(lambda t: len(t.shape) <= 5))
    if name == "sum":
        count = draw(st.integers(0, 2))
        return Sum((first, *(leaf_like(draw, "float", first.shape) for _ in range(count))))
    if name == "concat":
        if not first.shape:
            first = Reshape(first, (1,))
        axis = draw(st.integers(0, len(first.shape) - 1))
        parts = [first]
        for _ in range(draw(st.integers(0, 2))):
            shape = list(first.shape)
            shape[axis] = draw(st.integers(0, 3))
            parts.append(leaf_like(draw, kind, shape, most))
        return Concat(tuple(parts), axis)
    if name == "permute":
        return Permute(first, tuple(draw(st.permutations(range(len(first.shape))))))
    if name == "transform":
        axes = draw(st.sampled_from([1, 2]))
        sizes = [draw(st.integers(1, 9)) for _ in range(axes)]
        return Transform(leaf_like(draw, "float", [draw(st.integers(0, 3)), *sizes]), axes)
    n = first.numel
    shapes = [(n,), (1, n), (n, 1, 1)] + [(2, n // 2)] * (n % 2 == 0) + [()] * (n == 1) + [(0, 5)] * (n == 0)
    return Reshape(first, draw(st.sampled_from(shapes)))


def as_triple(array):
    return array.dtype, array.shape, array.tobytes()


def check_every_decoder(tree: Storage, oracle, coder: str) -> None:
    data, parts = write(tree, coder)
    want = as_triple(decode(tree))
    assert (dtype_of(tree), tree.shape) == want[:2] and result_bytes(tree) == len(want[2])
    back, read_parts = read(ByteReader(data), "x", Budget(ROOM))
    assert as_triple(decode(back)) == want
    assert as_triple(decode_bytes(data, ROOM)) == want
    with np.errstate(all="ignore"):
        assert as_triple(oracle.Trees(ROOM).node(oracle.Reader(data))[0]) == want
    assert write(back, coder) == (data, parts)
    assert read_parts == parts
    assert size_bytes(tree, coder) == len(data)
    assert sum(part.size_bytes for part in parts) <= len(data)


@pytest.mark.parametrize("coder", CODERS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees())
def test_numpy_cpp_and_the_oracle_decode_to_the_same_bits(coder, tree, oracle):
    check_every_decoder(tree, oracle, coder)


def small_examples() -> dict[str, Storage]:
    i, f = integers([2, 0, 1, 2, 2, 0], 3), Floats(np.array([0.5, -0.0, np.nan], np.float32))
    six = Floats(np.arange(6, dtype=np.float32))
    return {
        "Integers": i,
        "Floats": f,
        "Affine": Affine(i, integers([1], 2), Floats(np.array([0.1, 3], np.float32))),
        "Table": Table(f, i),
        "Scatter": Scatter(six, gaps([0, 1, 9, 10, 40, 41], 42, 7), 42, False),
        "Sum": Sum((six, six, six)),
        "Concat": Concat((Reshape(six, (2, 3)), Reshape(f, (1, 3))), 0),
        "Reshape": Reshape(six, (3, 1, 2)),
        "Permute": Permute(Reshape(six, (3, 1, 2)), (2, 0, 1)),
        "Transform": Transform(Reshape(six, (2, 3)), 2),
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_an_example_that_decodes_alike(kind, oracle):
    tree = small_examples()[kind.__name__]
    assert isinstance(tree, kind)
    for coder in CODERS:
        check_every_decoder(tree, oracle, coder)


HURTFUL = {
    "no values": np.zeros(0, np.int64),
    "one value": np.array([1]),
    "all equal": np.full(300, 1),
    "all largest": np.full(300, 6),
    "one rare": np.array([0] * 299 + [6]),
    "long": np.random.default_rng(0).binomial(6, 0.3, 9_001),
}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("name", HURTFUL)
def test_hurtful_streams_decode_alike(name, coder, oracle):
    check_every_decoder(Table(Floats(np.arange(7, dtype=np.float32)), integers(HURTFUL[name], 7)), oracle, coder)


@pytest.mark.parametrize("alphabet", [1, 2, 255, 256, 257, 65535, 65536, 65537, 2**24, 2**32])
def test_the_largest_value_of_an_alphabet_survives(alphabet, oracle):
    check_every_decoder(integers([0, alphabet - 1, alphabet // 2], alphabet), oracle, "huffman")


def test_a_stream_long_enough_for_all_lanes_decodes_alike(oracle):
    values = np.random.default_rng(1).binomial(15, 0.4, 200_000)
    for coder in CODERS:
        data, _ = write(integers(values, 16), coder)
        assert decode_bytes(data, ROOM).tobytes() == values.astype(np.uint8).tobytes()


@pytest.mark.parametrize("planes", [False, True])
def test_every_float16_widens_exactly_with_its_nan_payload(planes, oracle):
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    tree = Floats(every, planes)
    check_every_decoder(tree, oracle, "raw")
    wide = decode(tree)
    numbers = ~np.isnan(every)
    assert wide[numbers].tobytes() == every.astype(np.float64)[numbers].astype(np.float32).tobytes()
    nans = wide.view(np.uint32)[~numbers]
    assert (nans >> 13 & 0x3FF == every.view(np.uint16)[~numbers] & 0x3FF).all() and (nans >> 23 & 0xFF == 0xFF).all()


def test_a_nan_that_arithmetic_gives_has_one_spelling(oracle):
    hard = Floats(HARD_FLOATS)
    zeros = integers(np.zeros(len(HARD_FLOATS)), 2)
    for tree in (Affine(zeros, integers([0], 1), hard), Sum((hard, hard)), Transform(hard, 1)):
        check_every_decoder(tree, oracle, "raw")
        got = decode(tree)
        assert np.isnan(got).any() and set(got.view(np.uint32)[np.isnan(got)]) == {0x7FC00000}


@pytest.mark.parametrize("size", range(1, 65))
def test_transforms_of_every_size_decode_alike_and_are_orthonormal(size, oracle):
    x = np.random.default_rng(size).normal(size=3 * size).astype(np.float32)
    check_every_decoder(Transform(Reshape(Floats(x), (3, size)), 1), oracle, "raw")
    basis = dct_basis(size).astype(np.float64)
    assert np.abs(basis.T @ basis - np.eye(size)).max() < 1e-5


def test_no_entry_of_a_transform_is_so_near_to_a_half_that_a_cosine_s_last_bit_matters():
    for size in range(1, 65):
        t, f = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
        exact = np.where(f == 0, np.sqrt(1 / size), np.sqrt(2 / size)) * np.cos(np.pi * f * (2 * t + 1) / (2 * size))
        scaled = exact * 2.0**20
        from_half = np.abs(scaled - np.floor(scaled) - 0.5)
        assert from_half.min() > 1e-6, size  # the error of a double here is below 1e-9


# --- what is refused, by both readers ---------------------------------------------------------------------------


def refused_by_all(data: bytes, oracle) -> None:
    with pytest.raises(TersenetError):
        reader = ByteReader(data)
        tree, _ = read(reader, "x", Budget(ROOM))
        reader.expect_end()
        decode(tree)
    with pytest.raises(TersenetError):
        decode_bytes(data, ROOM)
    with pytest.raises(oracle.Refused):
        reader = oracle.Reader(data)
        oracle.Trees(ROOM).node(reader)
        reader.end()


def test_an_index_outside_its_table_is_refused(oracle):
    data, _ = write(Table(Floats(np.zeros(3, np.float32)), integers([0, 3], 4)), "raw")
    refused_by_all(data, oracle)


@pytest.mark.parametrize(
    "values, position, size",
    [
        (2, integers([0], 8), 9),
        (1, integers([0, 0], 8), 9),
        (1, integers([6], 8), 6),
        (1, integers([7, 6], 8), 13),
        (0, integers([0], 8), 9),
    ],
    ids=["too few", "too many", "past the end", "past the end after a filler", "none wanted"],
)
def test_a_scatter_whose_gaps_do_not_fit_is_refused(values, position, size, oracle):
    data, _ = write(Scatter(Floats(np.ones(values, np.float32)), position, size, False), "raw")
    refused_by_all(data, oracle)
    data, _ = write(
        Scatter(Table(Floats(np.ones(1, np.float32)), integers([0] * values, 1)), position, size, False), "raw"
    )
    refused_by_all(data, oracle)


def test_gaps_that_do_fit_to_the_last_place_are_taken(oracle):
    check_every_decoder(Scatter(Floats(np.ones(1, np.float32)), integers([7, 6], 8), 14, False), oracle, "raw")


@pytest.mark.parametrize("bits", [[1, 1, 0], [0, 0, 0]])
def test_a_bitmask_with_another_count_is_refused(bits, oracle):
    data, _ = write(Scatter(Floats(np.ones(1, np.float32)), integers(bits, 2), 3, True), "raw")
    refused_by_all(data, oracle)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


HUGE = varint(2**40)
EMPTY_INTS, EMPTY_FLOATS = b"\x00\x00\x00\x00", b"\x01\x00"
BAD = {
    "nothing": b"",
    "unknown node": b"\x0a",
    "unknown coder": b"\x40\x00\x00\x00",
    "huge raw stream": b"\x00\x01" + HUGE + b"\x00",
    "huge stream of no bits": b"\x00\x00" + HUGE + b"\x00",
    "huge huffman stream of one symbol": b"\x10\x01" + HUGE + b"\x01\x00",
    "huge rans stream of one symbol": b"\x20\x01" + HUGE + b"\x01\x00",
    "huge payload": b"\x00\x01\x01" + HUGE,
    "huge floats": b"\x01" + HUGE,
    "huge float planes": b"\x31" + HUGE + b"\x00\xff\x01" + HUGE + b"\x00",
    "huge scatter": b"\x04" + HUGE + b"\x00\x01\x00\x00" + EMPTY_FLOATS,
    "scatter past 2**48": b"\x04" + varint(2**49) + b"\x00\x01\x00\x00" + EMPTY_FLOATS,
    "huge sum": b"\x05" + HUGE + EMPTY_FLOATS,
    "sum of nothing": b"\x05\x00",
    "huge concat": b"\x06" + HUGE + EMPTY_FLOATS,
    "concat of nothing": b"\x06\x00",
    "reshape that overflows": b"\x37" + varint(2**32) * 2 + b"\x01" + EMPTY_FLOATS,
    "reshape of a huge empty shape": b"\x27\x00" + varint(2**60) + EMPTY_FLOATS,
    "reshape to 9 dimensions": b"\x97" + b"\x01" * 9 + b"\x01\x01\0\0\0\0",
    "permute twice the same axis": b"\x18\x01" + EMPTY_FLOATS,
    "permute of too few axes": b"\x08" + EMPTY_FLOATS,
    "transform of no axes": b"\x09" + EMPTY_FLOATS,
    "transform of nothing": b"\x19" + EMPTY_FLOATS,
    "transform of integers": b"\x19\x00\x00\x01\x00",
    "alphabet past 2**32": b"\x00" + varint(2**32) + b"\x00\x00",
    "huffman alphabet": b"\x10" + varint(2**16) + b"\x00\x00",
    "varint with a needless byte": b"\x01\x80\x00",
    "varint too long": b"\x01" + b"\x80" * 10 + b"\x01",
    "varint past 2**64": b"\x01" + b"\xff" * 9 + b"\x02",
    "raw padding": b"\x00\x01\x01\x01\x02",
    "raw value outside": b"\x00\x02\x01\x01\x03",
    "raw too long": b"\x00\x01\x01\x02\x00\x00",
    "planes within planes": b"\x21\x00" * 3000,
    "deep": b"\x07" * 40 + b"\x01\x01\0\0\0\0",
    "deepest but one": b"\x19" * 32 + b"\x01\x01\0\0\0\0",
    "more after the end": EMPTY_FLOATS + b"\x00",
    "affine of floats": b"\x02" + EMPTY_FLOATS * 3,
    "affine of no steps": b"\x02" + EMPTY_INTS + EMPTY_INTS + EMPTY_FLOATS,
    "affine of inexact levels": b"\x02\x00" + varint(2**24) + b"\x00\x00" + b"\x00\x00\x01\x00" + b"\x01\x01\0\0\0\0",
    "table of float index": b"\x03" + EMPTY_FLOATS * 2,
    "table of 0-d entries": b"\x03\x07\x01\x01\0\0\0\0" + EMPTY_INTS,
    "sum of integers": b"\x05\x01" + EMPTY_INTS,
    "concat of both kinds": b"\x06\x02" + EMPTY_INTS + EMPTY_FLOATS,
    "concat along no axis": b"\x16\x01" + EMPTY_FLOATS,
    "bitmask of another size": b"\x14\x02\x00\x01\x01\x01\x00" + EMPTY_FLOATS,
    "gaps of alphabet one": b"\x04\x02" + EMPTY_INTS + EMPTY_FLOATS,
    "positions that are a tree": b"\x04\x02\x17\x00" + EMPTY_INTS + EMPTY_FLOATS,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_are_refused_by_all_three(name, oracle):
    refused_by_all(BAD[name], oracle)


def test_a_tree_as_deep_as_can_be_is_taken_and_a_deeper_one_is_not_written(oracle):
    tree: Storage = Floats(np.ones(1, np.float32))
    for _ in range(31):
        tree = Reshape(tree, (1,))
    check_every_decoder(tree, oracle, "raw")
    with pytest.raises(TersenetError, match="deeper than 32"):
        write(Reshape(tree, (1,)), "raw")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees(), coder=st.sampled_from(CODERS), seed=st.integers(0, 2**32 - 1))
def test_damaged_bytes_give_the_same_bits_or_a_refusal_from_both(tree, coder, seed, oracle):
    rng = np.random.default_rng(seed)
    data = bytearray(write(tree, coder)[0])
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(0, len(data) + 1)
        choice = rng.integers(0, 3)
        if choice == 0 and at < len(data):
            data[at] ^= 1 << rng.integers(0, 8)
        elif choice == 1:
            data[at:at] = rng.bytes(1)
        else:
            del data[at : at + rng.integers(1, 4)]
    results = []
    for attempt in (by_numpy, by_cpp, lambda data: by_oracle(data, oracle)):
        results.append(attempt(bytes(data)))
    assert results[0] == results[1] == results[2]


def by_numpy(data):
    try:
        reader = ByteReader(data)
        tree, _ = read(reader, "x", Budget(ROOM))
        reader.expect_end()
        return as_triple(decode(tree))
    except TersenetError:
        return "refused"


def by_cpp(data):
    try:
        return as_triple(decode_bytes(data, ROOM))
    except TersenetError:
        return "refused"


def by_oracle(data, oracle):
    try:
        reader, trees = oracle.Reader(data), oracle.Trees(ROOM)
        with np.errstate(all="ignore"):
            array, _ = trees.node(reader)
        reader.end()
        return as_triple(array)
    except oracle.Refused:
        return "refused"


# --- memory -----------------------------------------------------------------------------------------------------


def test_the_working_memory_is_what_the_limit_must_be():
    tree = small_examples()["Scatter"]
    data, _ = write(tree, "huffman")
    nodes = 1024 * len(list(walk(tree)))
    enough = working_bytes(tree) + nodes
    assert decode_bytes(data, enough).shape == tree.shape
    with pytest.raises(TersenetError, match="limit"):
        decode_bytes(data, enough - 1)


def test_a_file_made_to_waste_time_is_refused():
    # Each part is 13 bytes that stand for 4 MB of zeros; only two of them are ever held at once.
    part = b"\x04" + varint(2**20) + b"\x00\x01\x00\x00" + EMPTY_FLOATS
    few, many = (b"\x05" + varint(count) + part * count for count in (4, 200))
    limit = 1 << 24
    assert not decode_bytes(few, limit).any()
    for attempt in (lambda: decode_bytes(many, limit), lambda: read(ByteReader(many), "x", Budget(limit))):
        with pytest.raises(TersenetError, match=r"work|writes"):
            attempt()
