"""The graph section: what is written is read back, and what cannot be meant is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.bits import ByteWriter
from tersenet.errors import TersenetError
from tersenet.ir import OPS, REQUIRED, Graph, Input, Parameter, Preprocess, Value, make_node, read, write

SPEC = Path(__file__).parents[2] / "spec"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"spec_{name}", SPEC / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DECODER = load("decoder")
DECODER_OPERATIONS = DECODER.operations(SPEC / "operations.md")


def lenet(preprocess: Preprocess | None = None) -> Graph:
    nodes = (
        make_node("conv2d", input=Value(0), weight=Parameter("conv1.weight"), bias=Parameter("conv1.bias")),
        make_node("max_pool2d", self=Value(1), kernel_size=[2, 2], stride=[2, 2]),
        make_node("flatten", self=Value(2)),
        make_node("linear", input=Value(3), weight=Parameter("fc.weight"), bias=Parameter("fc.bias")),
    )
    names = ("conv1.weight", "conv1.bias", "fc.weight", "fc.bias")
    inputs = (Input("x", "float32", (1, 28, 28)),)
    return Graph(inputs, nodes, (Value(4),), ("y",), dict.fromkeys(names, "float32"), preprocess)


INTEGERS = st.integers(-(2**62) + 1, 2**62 - 1)
FLOATS = st.floats(allow_nan=False)
BY_KIND = {
    "i": INTEGERS,
    "I": st.lists(INTEGERS, max_size=3).map(tuple),
    "f": FLOATS,
    "n": st.one_of(INTEGERS, FLOATS),
    "b": st.booleans(),
    "s": st.text(max_size=5),
}
NAMES = st.lists(
    st.sampled_from(
        ["a", "a.weight", "c/d-1.weight", "a.bias", "ab.weight", "ab.running_mean", "b.0.weight", "b.1.weight", "x"]
    ),
    unique=True,
    min_size=1,
)


@st.composite
def graphs(draw):
    parameters = {name: draw(st.sampled_from(["float32", "int64", "bool", "bfloat16"])) for name in draw(NAMES)}
    inputs = tuple(
        Input(f"in{i}", "float32", tuple(draw(st.lists(st.integers(0, 2**31 - 1), max_size=4))))
        for i in range(draw(st.integers(1, 2)))
    )
    values, nodes = len(inputs), []
    tensor = st.deferred(
        lambda: st.one_of(st.integers(0, values - 1).map(Value), st.sampled_from(list(parameters)).map(Parameter))
    )
    for name in draw(st.lists(st.sampled_from(list(OPS)), max_size=6)):
        given_arguments = {}
        for argument in OPS[name].arguments:
            base = argument.kind.rstrip("?")
            if argument.default is not REQUIRED and draw(st.booleans()):
                continue
            if base == "x":
                given_arguments[argument.name] = draw(tensor)
            elif base == "x*":
                given_arguments[argument.name] = draw(st.lists(tensor, max_size=3))
            else:
                given_arguments[argument.name] = draw(BY_KIND[base])
        nodes.append(make_node(name, **given_arguments))
        values += OPS[name].outputs
    outputs = tuple(draw(st.lists(st.integers(0, values - 1).map(Value), max_size=2)))
    preprocess = draw(
        st.one_of(
            st.none(),
            st.builds(
                Preprocess,
                scale=FLOATS,
                mean=st.lists(FLOATS, max_size=3).map(tuple),
                std=st.lists(FLOATS, max_size=3).map(tuple),
                channels=st.sampled_from(["rgb", "bgr"]),
                resize=st.integers(0, 2**16 - 1),
                crop=st.integers(0, 2**16 - 1),
            ),
        )
    )
    names = tuple(f"out{i}" for i in range(len(outputs)))
    buffers = frozenset(draw(st.sets(st.sampled_from(list(parameters)))))
    return Graph(inputs, tuple(nodes), outputs, names, parameters, preprocess, buffers)


@settings(max_examples=200, deadline=None)
@given(graph=graphs())
def test_a_graph_survives_its_bytes(graph):
    data = write(graph)
    back = read(data)
    assert back == graph and list(back.parameters) == list(graph.parameters)
    assert write(back) == data


@settings(max_examples=100, deadline=None)
@given(graph=graphs())
def test_the_spec_decoder_reads_the_same_graph(graph):
    got = DECODER.read_graph(write(graph), DECODER_OPERATIONS)

    def plain(given):
        if isinstance(given, Value):
            return given.number
        if isinstance(given, Parameter):
            return given.name
        return [plain(one) for one in given] if isinstance(given, tuple) else given

    assert got["parameters"] == graph.parameters and got["buffers"] == graph.buffers
    assert got["inputs"] == [(one.name, one.dtype, one.shape) for one in graph.inputs]
    assert got["outputs"] == [(name, value.number) for name, value in zip(graph.output_names, graph.outputs)]
    want = [(node.op, {name: plain(given) for name, given in node.arguments.items()}) for node in graph.nodes]
    assert got["nodes"] == want
    if graph.preprocess is not None:
        assert got["preprocess"] == vars(graph.preprocess)


def test_the_table_of_operations_in_the_spec_is_up_to_date():
    page = (SPEC / "operations.md").read_text(encoding="utf-8")
    assert page == load("make_operations").operations(), "run python spec/make_operations.py"


def test_codes_are_distinct_and_fit_a_byte():
    codes = [op.code for op in OPS.values()]
    assert len(set(codes)) == len(codes) and max(codes) < 256 and min(codes) >= 0


@pytest.mark.parametrize("cut", range(1, len(write(lenet(Preprocess(scale=1 / 256))))))
def test_every_cut_graph_is_refused(cut):
    with pytest.raises(TersenetError):
        read(write(lenet(Preprocess(scale=1 / 256)))[:-cut])


@settings(max_examples=400, deadline=None)
@given(graph=graphs(), data=st.data())
def test_damaged_bytes_give_a_graph_or_a_refusal_and_the_spec_decoder_agrees(graph, data):
    raw = bytearray(write(graph))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    try:
        back = read(bytes(raw))
    except TersenetError:
        return
    assert isinstance(back, Graph)
    DECODER.read_graph(bytes(raw), DECODER_OPERATIONS)


@pytest.mark.parametrize(
    "name", ["", ".", "a.", "../a", "/a", "a/", "a/../b", "a//b", "é", "a b", "a" * 1025, "a\0", "\\a", "C:a"]
)
def test_a_name_that_could_be_a_path_is_refused(name):
    with pytest.raises(TersenetError, match="dotted name"):
        Graph((), (), (), (), {name: "float32"})


def test_names_that_grow_without_bytes_to_match_are_refused():
    # Every name repeats the 1000 characters of the one before: 6 bytes of file for 1 KB of text.
    letters = range(97, 123)
    triples = [bytes([a, b, c]) for a in letters for b in letters for c in letters]

    def names(count: int) -> bytes:
        out = ByteWriter()
        out.varint(0)
        out.varint(count + 1)
        out.bytes(b"\x00\x00\xe8\x07" + b"a" * 1000)
        out.bytes(b"".join(b"\x00\xe8\x07\x03" + triple for triple in triples[:count]))
        return out.getvalue()

    assert len(read(names(60) + b"\x00\x00\x00").parameters) == 61
    with pytest.raises(TersenetError, match="too long"):
        read(names(10_000) + b"\x00\x00\x00")


@pytest.mark.parametrize(
    "bad",
    [
        {"inputs": (Input("x", "float32", (1,) * 8),)},
        {"inputs": (Input("x", "float32", (2**31,)),)},
        {"inputs": (Input("x", "complex64", ()),)},
        {"outputs": (Value(0),)},
        {"nodes": (make_node("relu", self=Value(0)),)},
        {"nodes": (make_node("relu", self=Parameter("w")),)},
        {"nodes": (make_node("relu"),)},
        {"buffers": frozenset("w")},
        {"parameters": {"w": "int4"}},
    ],
    ids=str,
)
def test_a_graph_that_does_not_hold_together_is_refused(bad):
    whole = {"inputs": (), "nodes": (), "outputs": (), "output_names": (), "parameters": {}, **bad}
    with pytest.raises(TersenetError):
        Graph(**whole)


def test_a_node_of_an_unknown_operation_or_with_an_unknown_argument_is_not_made():
    with pytest.raises(TersenetError, match="operation 'rely' is unknown"):
        make_node("rely", self=Value(0))
    with pytest.raises(TersenetError, match="linear has no argument biass"):
        make_node("linear", input=Value(0), weight=Parameter("w"), biass=Parameter("b"))


@pytest.mark.parametrize("bad", [{"channels": "gray"}, {"resize": -1}, {"crop": 2**16}], ids=str)
def test_preprocessing_out_of_range_is_refused(bad):
    with pytest.raises(TersenetError):
        Preprocess(**bad)
