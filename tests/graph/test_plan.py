"""The op table agrees with PyTorch: names, order, defaults, number of outputs."""

import pytest
import torch

from tersenet.graph.plan import operator
from tersenet.ir import OPS, REQUIRED

OWN = ("to_float",)  # not an operator of PyTorch's dispatcher: Tensor.float()
DECIDED_BY_MODE = {"training", "train", "cudnn_enabled"}
# Where our default is the usual module's, PyTorch's operator has none: (op, argument).
NO_DEFAULT = {
    ("batch_norm", "momentum"),
    ("batch_norm", "eps"),
    ("dropout", "p"),
    ("feature_dropout", "p"),
    ("flatten", "start_dim"),
}


@pytest.mark.parametrize("name", [name for name in OPS if name not in OWN])
def test_an_operation_has_the_arguments_of_its_operator(name):
    op = OPS[name]
    schema = operator(op.target)._schema
    theirs = {argument.name: argument for argument in schema.arguments}
    assert [argument.name for argument in op.arguments] == [
        one for one in theirs if one in {a.name for a in op.arguments}
    ]
    assert len(schema.returns) == op.outputs
    for argument in op.arguments:
        other = theirs[argument.name]
        if argument.default is REQUIRED or (name, argument.name) in NO_DEFAULT:
            continue
        if not other.has_default_value():  # an optional tensor or number
            assert argument.default is None
            continue
        default = other.default_value
        if isinstance(argument.default, tuple):
            default = default if isinstance(default, (list, tuple)) else [default]
            assert set(argument.default) == set(default)
        else:
            assert argument.default == default
    for argument in schema.arguments:
        known = {one.name for one in op.arguments}
        assert argument.name in known | DECIDED_BY_MODE or argument.has_default_value()


@pytest.mark.parametrize("name", [name for name in OPS if name not in OWN])
def test_an_operation_has_kinds_that_its_operator_takes(name):
    theirs = {argument.name: str(argument.type) for argument in operator(OPS[name].target)._schema.arguments}
    kinds = {
        "x": ("Tensor",),
        "x*": ("List[Tensor]",),
        "i": ("int", "SymInt"),
        "I": ("List[int]", "List[SymInt]"),
        "f": ("float",),
        "n": ("number", "Scalar"),
        "b": ("bool",),
        "s": ("str",),
    }
    for argument in OPS[name].arguments:
        given = theirs[argument.name].removeprefix("Optional[")
        if argument.kind.endswith("?"):
            assert theirs[argument.name].startswith("Optional[")
            given = given.removesuffix("]")
        elif theirs[argument.name].startswith("Optional["):
            given = given.removesuffix("]")
        assert given in kinds[argument.kind.rstrip("?")], (argument, theirs[argument.name])


def test_the_law_can_fail():
    assert [one.name for one in operator("add.Tensor")._schema.arguments] != ["self", "alpha", "other"]


def test_codes_are_distinct_and_fit_a_byte():
    codes = [op.code for op in OPS.values()]
    assert len(set(codes)) == len(codes) and max(codes) < 256


def test_an_operator_is_found_by_its_name():
    assert operator("relu.default") is torch.ops.aten.relu.default
