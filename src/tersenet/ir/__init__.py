"""A network as a list of typed operations: the part of a file that says what is computed."""

from tersenet.ir.graph import DTYPES, Graph, Input, Node, Parameter, Preprocess, Value, make_node
from tersenet.ir.ops import OPS, REQUIRED, Argument, Op
from tersenet.ir.serial import read, write

__all__ = [
    "DTYPES",
    "OPS",
    "REQUIRED",
    "Argument",
    "Graph",
    "Input",
    "Node",
    "Op",
    "Parameter",
    "Preprocess",
    "Value",
    "make_node",
    "read",
    "write",
]
