"""Whole files to damage, and a way to seal damaged sections with right checksums."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.container import Model, encode
from tersenet.container.sections import PACKED, joined, split
from tersenet.ir import Graph, Input, Parameter, Preprocess, Value, make_node
from tersenet.storage import Affine, Concat, Floats, Integers, Permute, Reshape, Scatter, Sum, Table, Transform


def integers(values, alphabet):
    return Integers(IntStream(name="x", values=np.asarray(values, np.int64), alphabet=alphabet))


def network(provenance=None, scale: int = 1) -> Model:
    """A small network with every kind of storage node and most kinds of argument."""
    rng = np.random.default_rng(0)
    n = 24 * scale
    floats = Floats(rng.normal(size=8).astype(np.float32))
    sparse = Scatter(
        Table(floats, integers(rng.integers(0, 8, n), 8)), integers(rng.integers(0, 3, n), 4), 6 * n, False
    )
    mask = np.arange(n) % 3 == 0
    tensors = {
        "conv.weight": Reshape(sparse, (2 * n, 3, 1)),
        "conv.bias": Floats(rng.normal(size=2).astype(np.float16), planes=True),
        "fc.weight": Affine(
            integers(rng.binomial(15, 0.5, 4 * n), 16), integers([7, 8], 16), Floats(np.ones(2, np.float32))
        ),
        "fc.bias": Scatter(Floats(np.ones(int(mask.sum()), np.float16)), integers(mask, 2), n, True),
        "bn.running_mean": Sum((floats, Transform(Reshape(floats, (8,)), 1))),
        "bn.running_var": Permute(Concat((Reshape(floats, (2, 4)), Reshape(floats, (2, 4))), 1), (1, 0)),
        "steps": integers([12345], 2**20),
    }
    dtypes = dict.fromkeys(tensors, "float32") | {"steps": "int64"}
    nodes = (
        make_node(
            "conv2d", input=Value(0), weight=Parameter("conv.weight"), bias=Parameter("conv.bias"), stride=[2, 2]
        ),
        make_node("batch_norm", input=Value(1), running_mean=Parameter("bn.running_mean"), eps=0.001),
        make_node("cat", tensors=[Value(1), Value(2)], dim=1),
        make_node("gelu", self=Value(3), approximate="tanh"),
        make_node("clamp", self=Value(4), min=0, max=6.0),
        make_node("mean", self=Value(5), dim=[2, 3], keepdim=True),
        make_node("linear", input=Value(6), weight=Parameter("fc.weight")),
    )
    preprocess = Preprocess(scale=1 / 255, mean=(0.5,), std=(0.25,), channels="bgr", resize=32, crop=28)
    graph = Graph(
        (Input("x", "float32", (3, 32, 32)),),
        nodes,
        (Value(7),),
        ("y",),
        dtypes,
        preprocess,
        frozenset({"bn.running_mean", "bn.running_var", "steps"}),
    )
    return Model(graph=graph, tensors=tensors, provenance=provenance)


def resealed(data: bytes, kind: int, section: bytes) -> bytes:
    """The file with another section of this kind, and checksums that fit."""
    found = split(data, 1 << 40)
    seal = joined if found.version == PACKED else sealed
    return seal({**{k: bytes(v) for k, v in found.by_kind.items()}, kind: section}, found.decoded_bytes)


def sealed(sections: dict[int, bytes], decoded_bytes: int) -> bytes:
    head = b"\x89terse" + bytes([1, len(sections)]) + decoded_bytes.to_bytes(8, "little")
    for kind, data in sections.items():
        head += (kind | len(data) << 8).to_bytes(8, "little") + zlib.crc32(data).to_bytes(4, "little")
    return head + zlib.crc32(head).to_bytes(4, "little") + b"".join(sections.values())


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """Whole files: without and with provenance, of all coders."""
    provenance = {"recipe": "han2016", "seed": 0}
    return {
        "raw": encode(network(), "raw"),
        "huffman": encode(network(provenance), "huffman"),
        "rans": encode(network(provenance, scale=5), "rans"),
        "range": encode(network(provenance, scale=5), "range"),
    }


@pytest.fixture(scope="session")
def seal():
    return sealed


@pytest.fixture(scope="session")
def reseal():
    return resealed
