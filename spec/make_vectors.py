"""Writes vectors/: one small file for every node kind and coder of the format, and expected.json.

    python spec/make_vectors.py

normal    what a writer makes every day
uncommon  allowed and rare: empty, 0-d, NaN, all lanes, deepest, unknown section
packed    a name of these: a file of version 2
faulty    to be refused; expected.json names the section and a phrase of our message

A file that a released version could read stays for ever: new versions add files. expected.json holds for each
tensor the SHA-256 of "<dtype> <shape>\\n" and the little-endian bytes, as stored (float32 or unsigned).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from tersenet.bits import ByteWriter, IntStream, dtype_for
from tersenet.coding.packed import pack
from tersenet.coding.reference import huffman as huffman_reference
from tersenet.coding.reference import range as range_reference
from tersenet.coding.reference import rans as rans_reference
from tersenet.coding.reference import trellis
from tersenet.coding.reference.range_model import ORDERED, TREE, Head
from tersenet.ir import Graph, Input, Parameter, Preprocess, Value, make_node
from tersenet.ir import write as write_graph
from tersenet.storage import (
    Affine,
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
    write,
    write_to,
)

FOLDER = Path(__file__).with_name("vectors")
GRAPH, WEIGHTS, PROVENANCE = 1, 2, 3
VERSION = 1


def numbers(n: int, below: int, seed: int = 1) -> np.ndarray:
    """n numbers below `below`, small ones more often; from 64-bit integers, so that no library can change them."""
    state, out = seed, []
    for _ in range(2 * n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append((state >> 33) % below)
    return np.minimum(out[:n], out[n:]).astype(dtype_for(below))


def ints(values: object, alphabet: int) -> Integers:
    return Integers(IntStream(name="x", values=np.asarray(values, dtype_for(alphabet)), alphabet=alphabet))


def floats(n: int, seed: int = 1) -> Floats:
    return Floats(((numbers(n, 2001, seed).astype(np.float32) - 700) / 512).astype(np.float32))


def sealed(sections: list[tuple[int, bytes]], decoded_bytes: int, version: int = VERSION) -> bytes:
    """A file of these sections: format.md section 2."""
    head = ByteWriter()
    head.bytes(b"\x89terse")
    head.u8(version)
    head.u8(len(sections))
    head.u64(decoded_bytes)
    for kind, data in sections:
        head.u64(kind | len(data) << 8)
        head.u32(zlib.crc32(data))
    head.u32(zlib.crc32(head.getvalue()))
    return head.getvalue() + b"".join(data for _, data in sections)


def packed(graph: bytes, trees: list[Storage], coder: str, provenance: bytes = b"") -> bytes:
    """A file of version 2."""
    payload = ByteWriter()
    structure = ByteWriter(apart=payload)
    for tree in trees:
        write_to(structure, tree, coder)
    elements = sum(tree.numel for tree in trees)
    return sealed_packed(elements, graph, structure.getvalue(), payload.getvalue(), provenance)


def sealed_packed(
    elements: int,
    graph: bytes,
    structure: bytes,
    payload: bytes = b"",
    provenance: bytes = b"",
    *,
    declared: int | None = None,
    code: bytes | None = None,
) -> bytes:
    """declared   how long the structure is said to be; code   what is there in place of the packed bytes"""
    code = pack(graph + structure) if code is None else code
    out = ByteWriter()
    for number in (elements, len(graph), len(structure) if declared is None else declared, len(code), len(provenance)):
        out.varint(number)
    for part in (code, payload, provenance):
        out.bytes(part)
    return b"\x89terse\x02" + zlib.crc32(out.getvalue()).to_bytes(4, "little") + out.getvalue()


def weights(*trees: bytes) -> bytes:
    out = ByteWriter()
    for tree in trees:
        out.varint(len(tree))
        out.bytes(tree)
    return out.getvalue()


def graph_of(dtypes: dict[str, str]) -> bytes:
    return write_graph(Graph((), (), (), (), dtypes))


def file_of(*trees: Storage, coder: str = "raw", dtypes: tuple[str, ...] = ()) -> bytes:
    """A file without operations whose tensors a, b, ... are these."""
    kinds = dtypes or tuple("float32" if tree.kind == "float" else "int64" for tree in trees)
    graph = graph_of({chr(97 + i): dtype for i, dtype in enumerate(kinds)})
    data = weights(*(write(tree, coder)[0] for tree in trees))
    return sealed([(GRAPH, graph), (WEIGHTS, data)], sum(4 * tree.numel for tree in trees))


def sparse(n: int, size: int, alphabet: int) -> Scatter:
    """Few values of a table among zeros: gaps with fillers."""
    gaps = numbers(n, alphabet + 1, 5) % alphabet
    values = int((gaps < alphabet - 1).sum())
    return Scatter(Table(floats(16), ints(numbers(values, 16, 7), 16)), ints(gaps, alphabet), size, False)


def nodes() -> dict[str, Storage]:
    """The smallest telling example of each kind."""
    six = Reshape(floats(6), (2, 3))
    mask = numbers(40, 2, 3)
    return {
        "integers": ints(numbers(50, 11), 11),
        "floats32": floats(9),
        "floats16": Floats(floats(9).values.astype(np.float16)),
        "floats32_planes": Floats(floats(60).values, planes=True),
        "floats16_planes": Floats(floats(60).values.astype(np.float16), planes=True),
        "affine": Affine(ints(numbers(24, 16), 16), ints([8], 16), Floats(np.array([0.1], np.float32))),
        "affine_runs": Affine(Reshape(ints(numbers(24, 300), 300), (4, 6)), ints([1, 299, 0, 7], 300), floats(4)),
        "table": Table(floats(7), ints(numbers(30, 7), 7)),
        "table_of_blocks": Table(Reshape(floats(12), (4, 3)), Reshape(ints(numbers(10, 4), 4), (5, 2))),
        "table_of_integers": Table(ints([900, 5, 70], 1000), ints(numbers(30, 3), 3)),
        "scatter_gaps": sparse(30, 120, 8),
        "scatter_bitmask": Scatter(floats(int(mask.sum())), ints(mask, 2), 40, True),
        "scatter_blocks": Scatter(Reshape(floats(6), (3, 2)), ints([1, 4, 0, 2], 5), 11, False),
        "sum": Sum((floats(8), Table(floats(3), ints(numbers(8, 3), 3)), floats(8, 9))),
        "concat": Concat((six, Reshape(floats(4), (2, 2))), 1),
        "concat_of_integers": Concat((ints(numbers(5, 9), 9), ints(numbers(5, 999), 999)), 0),
        "reshape": Reshape(floats(24), (2, 3, 4)),
        "permute": Permute(Reshape(floats(24), (2, 3, 4)), (2, 0, 1)),
        "transform_1": Transform(Reshape(floats(24), (3, 8)), 1),
        "transform_2": Transform(Reshape(floats(48), (3, 4, 4)), 2),
    }


def streams() -> dict[str, Integers]:
    """What makes coders choose: alphabets, lengths, how flat the counts are, holes in the alphabet."""
    return {
        "small": ints(numbers(300, 16), 16),
        "flat": ints(numbers(600, 40), 64),
        "holes": ints(numbers(400, 12) * 11 + 60, 256),
        "two": ints(numbers(900, 4) // 3, 2),
        "wide": ints(numbers(700, 64).astype(np.int64) * 997, 65536),
        "one_symbol": ints(np.full(5000, 6), 9),
    }


def lenet() -> tuple[Graph, dict[str, Storage]]:
    """A small network with the three forms of Deep Compression in it."""

    def layer(op: str, name: str, value: int, **more: object):
        parameters = {"weight": Parameter(f"{name}.weight"), "bias": Parameter(f"{name}.bias")}
        return make_node(op, input=Value(value), **parameters, **more)

    operations = (
        layer("conv2d", "conv1", 0, padding=[1, 1]),
        make_node(
            "batch_norm",
            input=Value(1),
            running_mean=Parameter("bn.running_mean"),
            running_var=Parameter("bn.running_var"),
        ),
        make_node("max_pool2d", self=Value(2), kernel_size=[2, 2], stride=[2, 2]),
        make_node("relu", self=Value(3)),
        make_node("flatten", self=Value(4)),
        layer("linear", "fc.0", 5),
    )
    tensors: dict[str, Storage] = {
        "conv1.weight": Reshape(sparse(20, 36, 4), (4, 1, 3, 3)),
        "conv1.bias": floats(4),
        "bn.running_mean": floats(4, 2),
        "bn.running_var": Floats(np.array([1, 2, 0.5, 4], np.float16)),
        "fc.0.weight": Reshape(Table(floats(8), ints(numbers(640, 8), 8)), (10, 64)),
        "fc.0.bias": floats(10),
    }
    graph = Graph(
        (Input("image", "float32", (1, 8, 8)),),
        operations,
        (Value(6),),
        ("logits",),
        dict.fromkeys(tensors, "float32"),
        Preprocess(scale=1 / 256, mean=(0.5,), std=(0.25,), channels="bgr", resize=10, crop=8),
        frozenset({"bn.running_mean", "bn.running_var"}),
    )
    return graph, tensors


def whole_network(*, provenance: bool) -> bytes:
    graph, tensors = lenet()
    sections = [
        (GRAPH, write_graph(graph)),
        (WEIGHTS, weights(*(write(tree, "huffman")[0] for tree in tensors.values()))),
    ]
    if provenance:  # stored, not packed: packers differ from one zlib to another
        sections.append((PROVENANCE, zlib.compress('{"recipe":"han2016","seed":0,"note":"é"}'.encode(), 0)))
    return sealed(sections, sum(4 * tree.numel for tree in tensors.values()))


def packed_network(*, provenance: bool) -> bytes:
    graph, tensors = lenet()
    kept = zlib.compress('{"recipe":"smallest","seed":0,"note":"é"}'.encode(), 0) if provenance else b""
    return packed(write_graph(graph), list(tensors.values()), "range", kept)


def path(numbered: np.ndarray, states: int, run: int) -> np.ndarray:
    """Signed numbers of magnitudes to the magnitudes that the states of a trellis allow."""
    found, state = [], 0
    for i, number in enumerate(numbered.tolist()):
        state = state if i % run else 0
        far = 2 * abs(number) - (state & 1) if number else 0
        found.append(far if number > 0 else -far)
        state = trellis.after(states, state, found[-1], 0)
    return np.array(found)


def adaptive() -> Iterator[tuple[str, bytes]]:
    """Every kind of head of the range coder, among them those that its encoder chooses rarely."""
    ramp = np.cumsum(numbers(300, 5, 3)) % 256
    rows = (numbers(600, 15, 2).reshape(50, 12) * (np.arange(12) % 3 == 0)).reshape(-1) + 8
    made = streams() | {"ramp": ints(ramp, 256), "rows": ints(rows, 24)}
    for name, stream in made.items():
        yield f"range_{name}", file_of(stream, coder="range")
    along = path(numbers(640, 7, 4).astype(int) - 3, 5, 32) + 12
    yield "range_trellis", file_of(ints(along, 24), coder="range")
    for states in range(trellis.FEWEST, trellis.MOST + 1):
        values = path(numbers(96, 9, states).astype(int) - 4, states, 24) + 12
        one = Head(ORDERED, 12, rate=14, period=4, row=8, states=states, run=24)
        data = range_reference.encode_as(one, values.tolist(), 24)
        yield f"range_head_trellis_{2**states}", raw_file(coded_tree(3, ints(values, 24), data), 4 * 96, "int64")
    for name, one in {
        "tree": Head(TREE, 8, period=64, row=5),
        "ordered": Head(ORDERED, 8, rate=16, row=75),
        "ordered_lowest": Head(ORDERED, 0, rate=13, period=12),
        "ordered_highest": Head(ORDERED, 23),
        "tree_of_differences": Head(TREE, 3, differences=True, period=12, row=12),
        "ordered_differences": Head(ORDERED, 12, differences=True),
    }.items():
        stream = made["rows"]
        data = range_reference.encode_as(one, stream.stream.values.tolist(), stream.alphabet)
        yield f"range_head_{name}", raw_file(coded_tree(3, stream, data), 4 * len(rows), "int64")


def normal() -> Iterator[tuple[str, bytes]]:
    for name, tree in nodes().items():
        yield f"node_{name}", file_of(tree)
    for name, stream in streams().items():
        for coder in ("raw", "huffman", "rans"):
            yield f"{coder}_{name}", file_of(stream, coder=coder)
    yield from adaptive()
    yield "network", whole_network(provenance=False)
    yield "network_with_provenance", whole_network(provenance=True)
    yield "packed_network", packed_network(provenance=False)
    yield "packed_network_with_provenance", packed_network(provenance=True)
    for name in ("integers", "floats16", "floats32_planes", "affine_runs", "table_of_blocks", "scatter_gaps", "concat"):
        tree = nodes()[name]
        dtype = "float32" if tree.kind == "float" else "int64"
        yield f"packed_{name}", packed(graph_of({"a": dtype}), [tree], "range")


def coded_tree(coder: int, stream: Integers, data: bytes) -> bytes:
    out = ByteWriter()
    out.u8(coder << 4)
    out.varint(stream.alphabet - 1)
    out.varint(len(stream.stream.values))
    out.varint(len(data))
    out.bytes(data)
    return out.getvalue()


def many_lanes() -> Iterator[tuple[str, bytes]]:
    """Short streams in as many lanes as only long ones get from our writers: a reader takes any number."""
    for n in (1, 7, 8, 9, 500):
        stream = ints(np.append(numbers(n, 20), [0, 19]), 20)
        values, alphabet = stream.stream.values, stream.alphabet
        with mock.patch.object(huffman_reference, "LANES_MIN_BITS", 0):
            data = huffman_reference.encode(values, alphabet)
        yield f"huffman_8_lanes_{n + 2}", raw_file(coded_tree(1, stream, data), 4 * (n + 2), "int64")
        for log2 in (1, 3, 5):
            with mock.patch.object(rans_reference, "lane_bits", lambda _, log2=log2: log2):
                data = rans_reference.encode(values, alphabet)
            yield f"rans_{1 << log2}_lanes_{n + 2}", raw_file(coded_tree(2, stream, data), 4 * (n + 2), "int64")


def raw_file(tree: bytes, decoded_bytes: int, dtype: str = "float32") -> bytes:
    return sealed([(GRAPH, graph_of({"a": dtype})), (WEIGHTS, weights(tree))], decoded_bytes)


def uncommon() -> Iterator[tuple[str, bytes]]:
    none = Floats(np.zeros(0, np.float32))
    hard = np.array(
        [0, 1 << 31, 1, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x7F800001, 0x7F7FFFFF], np.uint32
    ).view(np.float32)
    half = np.array([0, 0x8000, 1, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFFFF], np.uint16)
    deep: Storage = floats(1)
    for axis in range(31):
        deep = Reshape(deep, (1,) * (axis % 9))
    yield "nothing", sealed([(GRAPH, graph_of({})), (WEIGHTS, b"")], 0)
    yield (
        "weights_before_graph",
        sealed([(WEIGHTS, weights(write(floats(2), "raw")[0])), (GRAPH, graph_of({"a": "float32"}))], 8),
    )
    yield "unknown_section", sealed([(GRAPH, graph_of({})), (WEIGHTS, b""), (200, b"from a later version")], 0)
    yield "empty_floats", file_of(none)
    yield "empty_integers", file_of(ints([], 5), coder="huffman")
    yield "empty_with_shape", file_of(Reshape(none, (3, 0, 2)))
    yield "empty_scatter", file_of(Scatter(none, ints([], 2), 5, False))
    yield "empty_table", file_of(Table(none, ints([], 1)))
    yield "scalar", file_of(Reshape(floats(1), ()))
    yield "scalar_index", file_of(Table(floats(3), Reshape(ints([2], 3), ())))
    yield "scalar_permuted", file_of(Permute(Reshape(floats(1), ()), ()))
    yield "eight_dimensions", file_of(Permute(Reshape(floats(16), (2, 1, 2, 1, 2, 1, 2, 1)), (7, 6, 5, 4, 3, 2, 1, 0)))
    yield "deepest", file_of(deep)
    yield "hard_float32", file_of(Floats(hard), Floats(hard, planes=True))
    yield "hard_float16", file_of(Floats(half.view(np.float16)), Floats(half.view(np.float16), planes=True))
    yield (
        "nan_from_arithmetic",
        file_of(
            Affine(ints(np.arange(9), 16), ints([4], 8), Floats(hard)),
            Sum((Floats(hard), Floats(hard[::-1].copy()))),
            Transform(Reshape(Floats(hard), (3, 3)), 2),
        ),
    )
    yield "minus_zero", file_of(Affine(ints([0, 1, 2], 3), ints([1], 3), Floats(np.array([-0.0], np.float32))))
    yield "one_step_for_each", file_of(Affine(ints(numbers(5, 9), 9), ints([3], 9), floats(5)))
    yield "alphabet_2_to_32", file_of(ints([0, 2**32 - 1, 2**31, 1], 2**32))
    yield "alphabet_one", file_of(ints([0] * 70, 1))
    yield "fillers_at_the_end", file_of(Scatter(floats(1), ints([3, 1, 3, 3], 4), 6, False))
    yield "last_place", file_of(Scatter(floats(1), ints([3, 3, 2], 4), 9, False))
    yield "full_bitmask", file_of(Scatter(floats(4), ints([1] * 4, 2), 4, True))
    yield (
        "dtypes",
        file_of(
            floats(2),
            ints([7, 2**31], 2**32),
            ints([0, 1], 2),
            Floats(floats(2).values.astype(np.float16)),
            ints([5, 6], 8),
            floats(2, 3),
            Floats(np.array([1.5, 2], np.float32)),
            dtypes=("float32", "int64", "bool", "float16", "int32", "float64", "bfloat16"),
        ),
    )
    yield "packed_nothing", packed(graph_of({}), [], "raw")
    yield "packed_one_number", packed(graph_of({"a": "float32"}), [floats(1)], "raw")
    yield "packed_empty", packed(graph_of({"a": "float32"}), [none], "raw")
    yield "largest_transform", file_of(Transform(Reshape(floats(128), (2, 64)), 1))
    yield from many_lanes()


FLOAT = b"\x01\x01\x00\x00\x80\x3f"
SIZES = {"too_few_places": 12, "wrong_bitmask": 8}  # decoded bytes of the faulty trees that have not one element


def faulty() -> Iterator[tuple[str, bytes, str, str]]:
    """Name, bytes, section, and a phrase of tersenet's message."""
    good = whole_network(provenance=True)
    header = 16 + 12 * 3 + 4
    sizes = [int.from_bytes(good[16 + 12 * i + 1 : 24 + 12 * i], "little") for i in range(3)]

    def flipped(at: int) -> bytes:
        return good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :]

    yield "empty_file", b"", "header", "is cut"
    yield "another_format", b"PK\x03\x04" + bytes(100), "header", "not a .terse file"
    yield "flip_in_header", flipped(9), "header", "checksum does not match"
    yield "flip_in_graph", flipped(header + 3), "graph", "checksum does not match"
    yield "flip_in_weights", flipped(header + sizes[0] + 3), "weights", "checksum does not match"
    yield "flip_in_provenance", flipped(len(good) - 1), "provenance", "checksum does not match"
    yield "cut_in_header", good[:20], "header", "is cut"
    yield "cut_in_graph", good[: header + 3], "graph", "is cut"
    yield "cut_in_weights", good[: header + sizes[0]], "weights", "is cut"
    yield "cut_in_provenance", good[:-1], "provenance", "is cut"
    yield "one_byte_more", good + b"\x00", "provenance", "1 bytes follow"
    empty = graph_of({})
    yield "newer_version", sealed([(GRAPH, empty), (WEIGHTS, b"")], 0, 2), "header", "checksum does not match"
    yield "version_3", sealed([(GRAPH, empty), (WEIGHTS, b"")], 0, 3), "header", "format version 3"
    yield "no_weights", sealed([(GRAPH, empty)], 0), "weights", "missing"
    yield "two_graphs", sealed([(GRAPH, empty), (GRAPH, empty), (WEIGHTS, b"")], 0), "graph", "twice"
    yield "declares_too_much", sealed([(GRAPH, empty), (WEIGHTS, b"")], 2**42), "header", "above the limit"
    yield "declares_more_than_it_has", sealed([(GRAPH, empty), (WEIGHTS, b"")], 4), "weights", "declares 4"

    def graph(data: bytes) -> bytes:
        return sealed([(GRAPH, data), (WEIGHTS, b"")], 0)

    yield "unknown_operation", graph(b"\x00\x00\x01\xff\x00\x00"), "graph", "unknown operation code 255"
    yield "later_value", graph(b"\x00\x00\x01\x0a\x00\x00\x00"), "graph", "does not come before it"
    yield "undeclared_tensor", graph(b"\x00\x00\x01\x0a\x01\x00\x00"), "graph", "tensor number 0"
    yield "name_that_is_a_path", graph(b"\x00\x01\x00\x00\x04../a\x00\x00\x00"), "graph", "not a dotted name"
    yield "name_twice", graph(b"\x00\x02\x00\x00\x01a\x00\x01\x00\x00\x00\x00"), "graph", "declared twice"
    yield "byte_after_graph", graph(b"\x00\x00\x00\x00\x00\x00"), "graph", "1 bytes follow"
    yield "unknown_dtype", graph(b"\x00\x01\x70\x00\x01a\x00\x00\x00"), "graph", "unknown dtype"
    for name, text in (("not_json", b"{"), ("list", b"[]"), ("bomb", b'{"a":"' + bytes(1 << 21) + b'"}')):
        sections = [(GRAPH, empty), (WEIGHTS, b""), (PROVENANCE, zlib.compress(text, 0 if len(text) < 99 else 9))]
        yield f"provenance_{name}", sealed(sections, 0), "provenance", "section provenance: it "

    huge = b"\x80\x80\x80\x80\x80\x20"  # 2**40
    for name, tree, phrase in (
        ("unknown_node", b"\x0f", "unknown storage node 15"),
        ("unknown_variant", b"\x12" + FLOAT, "unknown variant 1"),
        ("unknown_coder", b"\x30\x01\x01\x01\x00", ""),  # unknown until 3 became range; cut for it
        ("later_coder", b"\x40\x01\x01\x01\x00", "coder number 4"),
        ("huge_stream", b"\x10\x01" + huge + b"\x01\x00", "limit"),
        ("huge_scatter", b"\x04" + huge + b"\x00\x01\x00\x00\x01\x00", "work"),
        ("huge_payload", b"\x00\x01\x01" + huge, "remain"),
        ("huge_sum", b"\x05" + huge + FLOAT, "parts declared"),
        ("too_deep", b"\x07" * 33 + FLOAT, "nested deeper"),
        ("overflowing_shape", b"\x27" + huge * 2 + FLOAT, "at most 281474976710656"),
        ("reshape_to_another_size", b"\x17\x02" + FLOAT, "cannot be reshaped"),
        ("permute_twice_the_same", b"\x28\x00\x00\x27\x01\x01" + FLOAT, "are not an order"),
        ("index_outside_table", b"\x03" + FLOAT + b"\x00\x01\x01\x01\x01", "an index of 1 into a table of 1"),
        ("place_past_the_end", b"\x04\x01\x00\x03\x01\x01\x02" + FLOAT, "place 2"),
        ("too_few_places", b"\x04\x03\x00\x03\x01\x01\x03" + FLOAT, "0 places for 1 values"),
        ("wrong_bitmask", b"\x14\x02\x00\x01\x02\x01\x03" + FLOAT, "2 places for 1 values"),
        ("affine_without_steps", b"\x02\x00\x01\x01\x01\x00\x00\x00\x01\x00\x01\x00", "step is 1-D"),
        ("needless_varint_byte", b"\x01\x81\x00\x00\x00\x80\x3f", "needless"),
        ("raw_padding", b"\x03" + FLOAT + b"\x00\x01\x01\x01\x02", "padding"),
        ("byte_after_tensor", FLOAT + b"\x00", "1 bytes follow"),
        ("huffman_cut", b"\x03" + FLOAT + b"\x10\x03\x05\x01\x2a", ""),
        ("rans_cut", b"\x03" + FLOAT + b"\x20\x03\x05\x01\x50", ""),
        ("range_cut", b"\x03" + FLOAT + b"\x30\x03\x05\x02\x21\x00", ""),
        ("range_trellis_of_two_states", b"\x03" + FLOAT + b"\x30\x03\x05\x05\x42\x01\x01\x05\x21", "trellis"),
        ("range_trellis_of_broken_runs", b"\x03" + FLOAT + b"\x30\x03\x05\x05\x42\x01\x03\x03\x21", "trellis"),
        ("range_trellis_in_a_tree", b"\x03" + FLOAT + b"\x30\x03\x05\x05\x41\x01\x03\x05\x21", ""),
    ):
        yield f"tree_{name}", raw_file(tree, SIZES.get(name, 4)), "weights", phrase
    yield (
        "tensor_of_another_kind",
        raw_file(b"\x00\x01\x01\x01\x01", 4),
        "weights",
        "declared float32 but stored as int",
    )


def faulty_packed() -> Iterator[tuple[str, bytes, str, str]]:
    good, one = packed_network(provenance=True), graph_of({"a": "float32"})
    checksum = "checksum does not match"
    yield "packed_flip", good[:40] + bytes([good[40] ^ 16]) + good[41:], "header", checksum
    yield "packed_cut", good[:-1], "header", checksum
    yield "packed_one_byte_more", good + b"\x00", "header", checksum
    yield "packed_declares_too_much", sealed_packed(2**40, one, FLOAT), "header", "above the limit"
    yield "packed_structure_too_long", sealed_packed(1, one, FLOAT, declared=2**40), "weights", "above the limit"
    yield "packed_code_too_short", sealed_packed(1, one, FLOAT, code=b"\x12"), "graph", "ends before"
    yield (
        "packed_code_too_long",
        sealed_packed(1, one, FLOAT, code=pack(one + FLOAT) + b"\x00"),
        "graph",
        "as its encoder",
    )
    yield "packed_code_outside", sealed_packed(1, one, FLOAT, code=b"\xff" * 8), "graph", "outside its range"
    yield "packed_nothing_for_bytes", sealed_packed(1, one, FLOAT, code=b""), "graph", "cannot hold"
    yield "packed_provenance_past_the_end", b"\x89terse\x02" + _checked(b"\x00\x00\x00\x00\x09"), "header", "are left"
    yield "packed_payload_is_short", sealed_packed(2, one, b"\x01\x02", bytes(7)), "weights", "remain"
    yield "packed_payload_is_long", sealed_packed(2, one, b"\x01\x02", bytes(9)), "weights", "1 bytes"
    yield "packed_byte_after_tensor", sealed_packed(1, one, FLOAT + b"\x00"), "weights", "1 bytes"


def _checked(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little") + data


def digest(array: np.ndarray) -> str:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{array.dtype.name} {array.shape}\n".encode() + little.tobytes()).hexdigest()


def decoded(data: bytes) -> dict[str, str]:
    from tersenet.container import decode as decode_file

    tensors = decode_file(data, max_bytes=1 << 26).model.tensors
    return {name: digest(np.asarray(decode(tree))) for name, tree in tensors.items()}


def vectors() -> tuple[dict[str, bytes], dict[str, dict]]:
    """Every file by its path below vectors/, and what is expected of it."""
    files: dict[str, bytes] = {}
    expected: dict[str, dict] = {}
    groups: tuple[tuple[str, Callable[[], Iterator]], ...] = (
        ("normal", normal),
        ("uncommon", uncommon),
        ("faulty", faulty),
        ("faulty", faulty_packed),
    )
    for group, make in groups:
        for name, data, *refusal in make():
            version = 2 if name.startswith("packed_") else VERSION
            path = f"{group}/v{version}_{name}.terse"
            assert path not in files, path
            files[path] = data
            if refusal:
                expected[path] = {"section": refusal[0], "phrase": refusal[1]}
            else:
                expected[path] = {"tensors": decoded(data)}
    return files, expected


def main() -> None:
    files, expected = vectors()
    for path, data in files.items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(data)
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    main()
