"""A short name for what a storage tree does, for ledgers and error messages."""

from __future__ import annotations

import numpy as np

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
        return _grid_name(node)
    if isinstance(node, Integers):
        return "integers"
    if isinstance(node, (Sum, Concat, Transform)):
        names = sorted({describe(child) for child in children(node)})
        if isinstance(node, Sum) and names == ["product"]:
            return "residual"
        if isinstance(node, Concat) and names in (["product"], ["residual"]):
            return names[0]
        return f"{type(node).__name__.lower()}({', '.join(names)})"
    raise TypeError(f"not a storage node: {type(node).__name__}")


def _grid_name(node: Affine) -> str:
    """Of an affine: by the levels that are counted, and where among them zero lies."""
    if isinstance(node.levels, Table):
        entries = node.levels.entries
        signs = isinstance(entries, Integers) and tuple(entries.stream.values) == (0, 2)
        return "binary" if signs else "codebook"
    if not (isinstance(node.levels, Integers) and isinstance(node.zero, Integers) and isinstance(node.step, Floats)):
        return "uniform"
    alphabet, zero = node.levels.alphabet, node.zero.stream.values
    if len(zero) != 1 or int(zero[0]) != alphabet // 2:
        return "uniform"
    if alphabet == 3:
        return "ternary"
    steps = np.frexp(node.step.values.astype(np.float32))[0]
    power_of_two = alphabet >= 4 and alphabet & (alphabet - 1) == 0 and len(steps) == 1 and steps[0] == 0.5
    return "fixed_point" if power_of_two else "uniform"
