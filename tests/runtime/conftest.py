"""Networks of one operation, and no cache of kernels but a test's own."""

from __future__ import annotations

import numpy as np
import pytest

import tersenet.runtime as runtime
from tersenet.bits import IntStream
from tersenet.container import Model, encode
from tersenet.ir import Graph, Input, Parameter, Value, make_node
from tersenet.ir.ops import OPS
from tersenet.storage import Floats, Integers, Reshape


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", "")


def stored(array: np.ndarray):
    """A parameter as storage: floats, or integers of a small alphabet."""
    flat = array.reshape(-1)
    if array.dtype == np.float32:
        tree = Floats(flat)
    else:
        tree = Integers(
            IntStream(name="x", values=flat.astype(np.int64), alphabet=max(int(flat.max(initial=0)) + 1, 1))
        )
    return tree if array.ndim == 1 else Reshape(tree, array.shape)


def one_operation(op: str, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray], **arguments) -> bytes:
    """A file whose network is one node. `inputs` and `parameters` name tensor arguments; lists are name.0, name.1."""
    given: dict[str, object] = {}
    dtypes: dict[str, str] = {}
    tensors = {}

    def put(name: str, ref: object) -> None:
        base, _, index = name.partition(".")
        given[base] = (*given.get(base, ()), ref) if index else ref

    for number, name in enumerate(inputs):
        put(name, Value(number))
    for name, array in parameters.items():
        key = "p." + name.replace(".", "_")
        dtypes[key] = str(array.dtype)
        tensors[key] = stored(array)
        put(name, Parameter(key))
    node = make_node(op, **given, **arguments)
    outputs = OPS[op].outputs
    graph = Graph(
        tuple(Input(f"x{i}", str(array.dtype), array.shape[1:]) for i, array in enumerate(inputs.values())),
        (node,),
        tuple(Value(len(inputs) + k) for k in range(outputs)),
        tuple(f"y{k}" for k in range(outputs)),
        dtypes,
    )
    return encode(Model(graph=graph, tensors=tensors), "raw")


@pytest.fixture
def run_operation(tmp_path):
    """Outputs of a network of one operation, from its file."""

    def run(op, inputs, parameters, arguments, given=None, **options) -> list[np.ndarray]:
        path = tmp_path / "one.terse"
        path.write_bytes(one_operation(op, inputs, parameters, **arguments))
        outputs = runtime.open(path, **options)(*(inputs.values() if given is None else given))
        return list(outputs) if isinstance(outputs, tuple) else [outputs]

    return run
