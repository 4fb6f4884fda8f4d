"""What a file spends on everything but weights, at the size where it matters: LeNet-5."""

from __future__ import annotations

import numpy as np

from tersenet.bits import IntStream
from tersenet.container import Model, decode, encode
from tersenet.ir import Graph, Input, Parameter, Preprocess, Value, make_node
from tersenet.storage import Floats, Integers, Reshape, Scatter, Table

SHAPES = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "ip1": (500, 800), "ip2": (10, 500)}
PROVENANCE = {
    "tersenet": "0.1.0",
    "source": "lenet5",
    "seed": 0,
    "recipe": {
        "name": "han2016",
        "coder": "huffman",
        "steps": [
            {"id": "prune", "where": "conv*.weight", "quality": 0.7, "epochs": 20, "retrain": True},
            {"id": "prune", "where": "ip*.weight", "quality": 1.2, "epochs": 20, "retrain": True},
            {"id": "store", "where": "conv*.weight", "form": "sparse", "values": "codebook", "k": 256, "epochs": 10},
            {"id": "store", "where": "ip*.weight", "form": "sparse", "values": "codebook", "k": 32, "epochs": 10},
        ],
    },
    "scores": {"accuracy": 0.9926, "baseline_accuracy": 0.992, "examples": 10000, "loss": 0.0241983},
    "data": "mnist",
    "created": "2025-01-31T12:00:00Z",
}


def lenet5_graph() -> Graph:
    def layer(op, name, value):
        return make_node(op, input=Value(value), weight=Parameter(f"{name}.weight"), bias=Parameter(f"{name}.bias"))

    nodes = (
        layer("conv2d", "conv1", 0),
        make_node("max_pool2d", self=Value(1), kernel_size=(2, 2), stride=(2, 2)),
        layer("conv2d", "conv2", 2),
        make_node("max_pool2d", self=Value(3), kernel_size=(2, 2), stride=(2, 2)),
        make_node("flatten", self=Value(4)),
        layer("linear", "ip1", 5),
        make_node("relu", self=Value(6)),
        layer("linear", "ip2", 7),
    )
    names = [f"{layer}.{what}" for layer in SHAPES for what in ("weight", "bias")]
    return Graph(
        (Input("x", "float32", (1, 28, 28)),),
        nodes,
        (Value(8),),
        ("logits",),
        dict.fromkeys(names, "float32"),
        Preprocess(scale=1 / 256),
    )


def lenet5(provenance=None) -> Model:
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in SHAPES.items():
        n = int(np.prod(shape))
        table = Floats(rng.normal(size=32).astype(np.float32))
        index = Integers(IntStream(name=name, values=rng.integers(0, 32, n // 12), alphabet=32))
        gaps = Integers(IntStream(name=name, values=rng.integers(0, 10, n // 12), alphabet=32))
        tensors[f"{name}.weight"] = Reshape(Scatter(Table(table, index), gaps, n, False), shape)
        tensors[f"{name}.bias"] = Floats(rng.normal(size=shape[0]).astype(np.float16))
    return Model(graph=lenet5_graph(), tensors=tensors, provenance=provenance)


def around_the_weights(model: Model) -> int:
    """Bytes of the header, the graph and the provenance, which are those that belong to no tensor."""
    contents = decode(encode(model))
    assert sum(row.size_bytes for row in contents.ledger) == contents.file_bytes
    around = [row.size_bytes for row in contents.ledger if row.name in ("header", "graph", "provenance")]
    assert contents.model.graph == model.graph
    return sum(around)


def test_lenet5_spends_at_most_150_bytes_around_its_weights_without_provenance():
    assert around_the_weights(lenet5()) <= 150


def test_lenet5_spends_at_most_512_bytes_around_its_weights_with_provenance():
    assert 150 < around_the_weights(lenet5(PROVENANCE)) <= 512


def test_structure_costs_a_few_bytes_for_each_tensor():
    rows = [row for row in decode(encode(lenet5())).ledger if row.role == "structure"]
    assert len(rows) == 8 and all(row.size_bytes <= 16 for row in rows)
