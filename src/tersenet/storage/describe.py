"""A short name for what a storage tree does, for ledgers and error messages."""

from __future__ import annotations

from tersenet.storage.grammar import (
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
    children,
)


def describe(node: Storage) -> str:
    """For example "sparse(codebook)": the forms seen in the tree, from the outside in."""
    if isinstance(node, (Reshape, Permute)):
        return describe(node.source)
    if isinstance(node, Scatter):
        inner = describe(node.values)
        return inner if inner.startswith("sparse") else f"sparse({inner})"
    if isinstance(node, Floats):
        return f"dense({node.values.dtype.name})"
    if isinstance(node, Table):
        return "codebook"
    if isinstance(node, Affine):
        return "uniform"
    if isinstance(node, Integers):
        return "integers"
    if isinstance(node, (Sum, Concat, Transform)):
        return f"{type(node).__name__.lower()}({', '.join(sorted({describe(child) for child in children(node)}))})"
    raise TypeError(f"not a storage node: {type(node).__name__}")
