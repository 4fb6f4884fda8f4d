"""Whole files: what is written is read, the ledger adds up, and both readers agree."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.container import (
    Model,
    Row,
    decode,
    decode_dense,
    default_limit,
    encode,
    read,
    read_dense,
    with_graph,
    write,
)
from tersenet.container.file import MAX_PROVENANCE_BYTES
from tersenet.errors import TersenetError
from tersenet.ir import Graph, Input
from tersenet.storage import Affine, Floats, Integers, Reshape
from tersenet.storage import decode as decode_storage


def integers(values, alphabet):
    return Integers(IntStream(name="x", values=np.asarray(values, np.int64), alphabet=alphabet))


def model(provenance=None, **tensors) -> Model:
    dtypes = {name: "float32" if tensor.kind == "float" else "int64" for name, tensor in tensors.items()}
    return Model(graph=Graph((), (), (), (), dtypes), tensors=tensors, provenance=provenance)


def example(provenance=None) -> Model:
    weight = Affine(integers(np.arange(600) % 16, 16), integers([8], 16), Floats(np.array([0.1], np.float32)))
    return model(
        provenance,
        **{"a.weight": Reshape(weight, (20, 30)), "a.bias": Floats(np.ones(20, np.float32)), "n": integers([7], 8)},
    )


def sealed(*sections: tuple[int, bytes], decoded_bytes: int = 0, version: int = 1) -> bytes:
    """A file of these sections with right checksums."""
    head = b"\x89terse" + bytes([version, len(sections)]) + decoded_bytes.to_bytes(8, "little")
    for kind, data in sections:
        head += (kind | len(data) << 8).to_bytes(8, "little") + zlib.crc32(data).to_bytes(4, "little")
    return head + zlib.crc32(head).to_bytes(4, "little") + b"".join(data for _, data in sections)


EMPTY_GRAPH = b"\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("coder", ["raw", "huffman", "rans"])
@pytest.mark.parametrize("provenance", [None, {}, {"seed": 0, "scores": {"accuracy": 0.5}, "name": "é"}])
def test_a_model_survives_its_file(tmp_path, coder, provenance):
    wrote = example(provenance)
    path = tmp_path / "model.terse"
    write(path, wrote, coder)
    contents = read(path)
    assert contents.model.provenance == provenance and contents.model.graph == wrote.graph
    assert contents.file_bytes == path.stat().st_size == sum(row.size_bytes for row in contents.ledger)
    dense = read_dense(path)
    assert list(dense) == list(wrote.tensors)
    for name, tensor in wrote.tensors.items():
        want = decode_storage(tensor)
        assert decode_storage(contents.model.tensors[name]).tobytes() == want.tobytes()
        wanted = want.astype(wrote.graph.parameters[name])
        assert (dense[name].dtype, dense[name].shape) == (wanted.dtype, tensor.shape)
        assert dense[name].tobytes() == wanted.tobytes()
        assert dense[name].flags.writeable


def test_a_file_of_nothing_is_a_file():
    assert decode(encode(model())).model.tensors == {}
    assert decode_dense(encode(model())) == {}


@pytest.mark.parametrize(
    "dtype, stored, want",
    [
        ("float32", Floats(np.array([0.5], np.float16)), np.array([0.5], np.float32)),
        ("float16", Floats(np.array([1.5, -0.0], np.float16)), np.array([1.5, -0.0], np.float16)),
        ("float64", Floats(np.array([0.1], np.float32)), np.array([np.float32(0.1)], np.float64)),
        ("bfloat16", Floats(np.array([2.0], np.float32)), np.array([2.0], np.float32)),
        ("int64", integers([2**32 - 1], 2**32), np.array([2**32 - 1], np.int64)),
        ("int32", integers([5], 6), np.array([5], np.int32)),
        ("bool", integers([0, 1], 2), np.array([False, True])),
    ],
    ids=str,
)
def test_dense_arrays_have_the_dtype_of_the_graph(dtype, stored, want):
    data = encode(Model(graph=Graph((), (), (), (), {"x": dtype}), tensors={"x": stored}))
    got = decode_dense(data)["x"]
    assert (got.dtype, got.tobytes()) == (want.dtype, want.tobytes())


def test_both_readers_hold_to_the_limit():
    data = encode(example())
    for reader in (decode, decode_dense):
        with pytest.raises(TersenetError, match=r"header declares .* above the limit"):
            reader(data, max_bytes=example().decoded_bytes - 1)
        reader(data, max_bytes=example().decoded_bytes + 8)
    with pytest.raises(TersenetError, match="int64"):
        decode_dense(data, max_bytes=example().decoded_bytes)  # an int64 takes eight bytes


def test_the_default_limit_has_a_floor_and_a_ceiling():
    assert default_limit(0) == 64 << 20 and default_limit(1 << 20) == 1000 << 20 and default_limit(1 << 40) == 16 << 30


@pytest.mark.parametrize("reader", [decode, decode_dense], ids=["numpy", "cpp"])
@pytest.mark.parametrize(
    "data, sentence",
    [
        (sealed(), "section graph is missing"),
        (sealed() + b"x", "section header ends"),
        (sealed((1, EMPTY_GRAPH)), "section weights is missing"),
        (sealed((1, EMPTY_GRAPH), (1, EMPTY_GRAPH), (2, b"")), "section graph is there twice"),
        (sealed((1, EMPTY_GRAPH), (2, b"x")), "section weights: "),
        (sealed((1, EMPTY_GRAPH), (2, b""), decoded_bytes=4), "header declares 4"),
        (sealed((1, EMPTY_GRAPH + b"x"), (2, b"")), "section graph: "),
        (sealed((1, EMPTY_GRAPH), (2, b""), version=3), "format version 3"),
        (
            sealed((1, b"\x00\x01\x00\x00\x01a" + b"\x00" * 3), (2, b"\x04\x00\x00\x00\x00")),
            "section weights: .*float32",
        ),
        (sealed((1, EMPTY_GRAPH * 10_000_000), (2, b"")), "section graph: "),
        (b"", "section header is cut"),
        (b"PK\x03\x04" + b"x" * 100, "not a .terse file"),
    ],
    ids=[
        "no sections",
        "no sections and a byte",
        "no weights",
        "graph twice",
        "byte after the weights",
        "declares more than it has",
        "byte after the graph",
        "newer version",
        "ints for floats",
        "huge graph",
        "empty file",
        "zip",
    ],
)
def test_well_sealed_nonsense_is_refused_with_its_section(reader, data, sentence):
    with pytest.raises(TersenetError, match=sentence):
        reader(data, max_bytes=1 << 20)


def test_an_unknown_section_is_skipped_but_checked():
    data = sealed((1, EMPTY_GRAPH), (2, b""), (77, b"later"))
    assert decode(data).ledger[-1] == Row("section 77", "unknown", "", "", 5)
    with pytest.raises(TersenetError, match=r"section 77 \(unknown\) is damaged"):
        decode(data[:-1] + b"R")


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"1",
        b"{",
        b"",
        b'{"a":' + b"[" * 5000,
        b'{"a":' + b"9" * 5000 + b"}",
        b"\xff",
        '{"a":1}'.encode("utf-16"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_provenance_that_is_not_a_record_is_refused(text):
    data = sealed((1, EMPTY_GRAPH), (2, b""), (3, zlib.compress(text)))
    with pytest.raises(TersenetError, match="section provenance: "):
        decode(data)


def test_provenance_that_unpacks_to_too_much_is_refused():
    bomb = zlib.compress(b'{"a":"' + b" " * (64 << 20) + b'"}', 9)
    for packed in (bomb, zlib.compress(b"{}") + b"x", zlib.compress(b"{}")[:-1]):
        with pytest.raises(TersenetError, match=r"section provenance: .*1048576"):
            decode(sealed((1, EMPTY_GRAPH), (2, b""), (3, packed)))


@pytest.mark.parametrize(
    "bad", [{"a": float("nan")}, {"a": {1, 2}}, {"a": "x" * MAX_PROVENANCE_BYTES}], ids=["nan", "set", "long"]
)
def test_provenance_that_could_not_be_read_is_not_written(bad):
    with pytest.raises(TersenetError, match="provenance"):
        encode(model(bad))


def test_provenance_as_long_as_may_be_is_read():
    longest = {"a": "x" * (MAX_PROVENANCE_BYTES - len(json.dumps({"a": ""}, separators=(",", ":"))))}
    assert decode(encode(model(longest))).model.provenance == longest


@pytest.mark.parametrize("tree", [b"\x01\x05", b"\x01\x00\x00"], ids=["cut", "byte after it"])
@pytest.mark.parametrize("reader", [decode, decode_dense], ids=["numpy", "cpp"])
def test_a_tensor_that_ends_elsewhere_is_named(reader, tree):
    data = sealed((1, b"\x00\x01\x00\x00\x03abc" + b"\x00" * 3), (2, bytes([len(tree)]) + tree), decoded_bytes=20)
    with pytest.raises(TersenetError, match="section weights: abc: "):
        reader(data)


def test_an_unknown_coder_is_refused():
    with pytest.raises(TersenetError, match="unknown coder 'zip'"):
        encode(example(), "zip")


def test_another_graph_takes_the_place_of_the_first_and_the_rest_stays():
    data = encode(example({"seed": 3}))
    before = decode(data)
    given = Input("x", "float32", (1, 2, 3))
    changed = decode(with_graph(data, lambda graph: replace(graph, inputs=(given,))))
    assert changed.model.graph.inputs == (given,) and changed.model.provenance == {"seed": 3}
    for name, tensor in before.model.tensors.items():
        assert decode_storage(tensor).tobytes() == decode_storage(changed.model.tensors[name]).tobytes()
    assert with_graph(data, lambda graph: graph) == data


def test_a_damaged_file_gets_no_other_graph():
    data = bytearray(encode(example()))
    data[-1] ^= 1
    with pytest.raises(TersenetError, match="weights is damaged"):
        with_graph(bytes(data), lambda graph: graph)
    with pytest.raises(TersenetError, match="above the limit of 10"):
        with_graph(encode(example()), lambda graph: graph, max_bytes=10)
