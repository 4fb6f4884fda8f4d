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
        return "product" if len(node.entries.shape) > 1 else "codebook"
    if isinstance(node, Affine):
        return "codebook" if isinstance(node.levels, Table) else "uniform"
    if isinstance(node, Integers):
        return "integers"
    if isinstance(node, (Sum, Concat, Transform)):
        inner = sorted({describe(child) for child in children(node)})
        if isinstance(node, Sum) and inner == ["product"]:
            return "residual"
        if isinstance(node, Concat) and inner in (["product"], ["residual"]):
            return inner[0]
        return f"{type(node).__name__.lower()}({', '.join(inner)})"
    raise TypeError(f"not a storage node: {type(node).__name__}")
