"""A packed file holds the same model as a plain one, in fewer bytes."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from tests.container.test_small import lenet5

from tersenet.bits import ByteWriter
from tersenet.coding.packed import pack
from tersenet.container import decode, decode_dense, encode, with_graph
from tersenet.container.file import Contents
from tersenet.container.sections import CHECKED_FROM, GRAPH, PACKED, PAYLOAD, PLAIN, WEIGHTS, split
from tersenet.errors import TersenetError
from tersenet.storage import decode as decode_storage

LIMIT = 1 << 30


def arrays(contents: Contents) -> dict[str, np.ndarray]:
    return {name: decode_storage(tree) for name, tree in contents.model.tensors.items()}


@pytest.fixture(scope="module")
def model():
    return lenet5()


def test_the_coder_range_packs_and_the_others_do_not(model):
    assert split(encode(model, "range"), LIMIT).version == PACKED
    for coder in ("raw", "huffman", "rans"):
        assert split(encode(model, coder), LIMIT).version == PLAIN


def test_header_graph_and_structure_take_less(model):
    data = encode(model, "range")
    sections = split(data, LIMIT).by_kind
    before = 44 + len(sections[GRAPH]) + len(sections[WEIGHTS])
    assert sum(row.size_bytes for row in decode(data).ledger if row.name in ("header", "graph")) < 0.6 * before


def test_a_packed_file_holds_the_same_model(model):
    plain, packed = decode(encode(model, "huffman")), decode(encode(model, "range"))
    assert packed.model.graph == plain.model.graph
    want, found = arrays(plain), arrays(packed)
    assert list(found) == list(want) and all(np.array_equal(found[name], want[name]) for name in want)
    dense = decode_dense(encode(model, "range"))
    assert all(np.array_equal(dense[name], want[name]) for name in want)


def test_the_ledger_adds_up_and_names_all_that_lies_apart(model):
    data = encode(model, "range")
    ledger = decode(data).ledger
    assert sum(row.size_bytes for row in ledger) == len(data)
    payload = split(data, LIMIT).by_kind[PAYLOAD]
    assert sum(row.size_bytes for row in ledger if row.name in model.tensors) == len(payload)


def test_provenance_is_kept_as_it_is(model):
    data = encode(type(model)(graph=model.graph, tensors=model.tensors, provenance={"seed": 3}), "range")
    assert decode(data).model.provenance == {"seed": 3}


def test_another_graph_over_the_same_tensors_stays_packed(model):
    data = encode(model, "range")
    graph = model.graph
    renamed = type(graph)(
        graph.inputs, graph.nodes, graph.outputs, ("found",), graph.parameters, graph.preprocess, graph.buffers
    )
    changed = with_graph(data, lambda _: renamed)
    assert split(changed, LIMIT).version == PACKED and decode(changed).model.graph.output_names == ("found",)
    assert split(changed, LIMIT).by_kind[PAYLOAD] == split(data, LIMIT).by_kind[PAYLOAD]
    assert with_graph(data, lambda same: same) is data


def sealed(numbers, *parts: bytes) -> bytes:
    out = ByteWriter()
    for number in numbers:
        out.varint(number)
    for part in parts:
        out.bytes(part)
    return b"\x89terse\x02" + zlib.crc32(out.getvalue()).to_bytes(4, "little") + out.getvalue()


@pytest.mark.parametrize("read", [decode, decode_dense])
@pytest.mark.parametrize("place, number, refusal", [
    (0, 2**60, "above the limit"),
    (1, 2**40, "times as much memory"),
    (2, 2**40, "a structure of"),
    (3, 2**40, "are left"),
    (4, 2**40, "are left"),
    (4, 2**64 - 1, "are left"),
])  # fmt: skip
def test_sizes_are_checked_before_they_are_used(model, read, place, number, refusal):
    data = encode(model, "range")
    sections = split(data, LIMIT).by_kind
    code = pack(bytes(sections[GRAPH]) + bytes(sections[WEIGHTS]))
    numbers = [decode(data).model.decoded_bytes // 4, len(sections[GRAPH]), len(sections[WEIGHTS]), len(code), 0]
    assert sealed(numbers, code, bytes(sections[PAYLOAD])) == data
    numbers[place] = number
    with pytest.raises(TersenetError, match=refusal):
        read(sealed(numbers, code, bytes(sections[PAYLOAD])))


@pytest.mark.parametrize("read", [decode, decode_dense])
def test_a_few_bytes_cannot_ask_for_a_long_structure(model, read):
    # Two MiB of zeros pack into some hundred bytes, and would take two seconds to unpack.
    graph = bytes(split(encode(model, "range"), LIMIT).by_kind[GRAPH])
    structure = bytes(1 << 21)
    code = pack(graph + structure)
    data = sealed([0, len(graph), len(structure), len(code), 0], code)
    assert len(data) < 1000
    with pytest.raises(TersenetError, match="a structure of 2,097,152 bytes is declared for 0 decoded bytes"):
        read(data, max_bytes=LIMIT)


def test_all_bytes_are_under_the_checksum(model):
    data = encode(model, "range")
    for at in range(len(b"\x89terse"), CHECKED_FROM + 40):
        damaged = bytearray(data)
        damaged[at] ^= 4
        with pytest.raises(TersenetError, match="section header"):
            decode(bytes(damaged))
