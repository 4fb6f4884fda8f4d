"""A small file with every way to store a weight that the tables must understand."""

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.container import Model
from tersenet.ir import Graph, Input, Parameter, Value, make_node
from tersenet.storage import Affine, Floats, Integers, Reshape, Scatter, Table


def ints(values, alphabet):
    return Integers(IntStream(name="x", values=np.asarray(values), alphabet=alphabet))


@pytest.fixture
def model():
    """fc1 (8, 32): 64 non-zeros, gaps of 3, 16 shared values. fc2 (8, 8): 8-bit. fc3 (4, 8): dense."""
    rng = np.random.default_rng(0)
    codes = Table(Floats(np.linspace(-1, 1, 16, dtype=np.float32)), ints(rng.integers(0, 16, 64), 16))
    fc1 = Reshape(Scatter(codes, ints([3] * 64, 32), 256, False), (8, 32))
    one = Floats(np.array([0.01], np.float32))
    fc2 = Reshape(Affine(ints(rng.integers(128, 256, 64), 256), ints([127], 256), one), (8, 8))
    fc3 = Reshape(Floats(rng.standard_normal(32).astype(np.float32)), (4, 8))
    bias = Floats(np.ones(4, np.float32))
    names = ("fc1.weight", "fc2.weight", "fc3.weight", "fc3.bias")
    graph = Graph(
        inputs=(Input("x", "float32", (32,)),),
        nodes=(
            make_node("linear", input=Value(0), weight=Parameter(names[0])),
            make_node("linear", input=Value(1), weight=Parameter(names[1])),
            make_node("linear", input=Value(2), weight=Parameter(names[2]), bias=Parameter(names[3])),
        ),
        outputs=(Value(3),),
        output_names=("y",),
        parameters=dict.fromkeys(names, "float32"),
    )
    return Model(
        graph=graph,
        tensors=dict(zip(names, (fc1, fc2, fc3, bias), strict=True)),
        provenance={"recipe": "none"},
    )
