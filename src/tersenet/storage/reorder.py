"""The same one-dimensional values in another order, without leaving their storage."""

from __future__ import annotations

import numpy as np

from tersenet.bits import IntStream
from tersenet.errors import TersenetError
from tersenet.storage.grammar import Affine, Floats, Integers, Storage, Sum, Table


def reorder(node: Storage, order: np.ndarray) -> Storage:
    """Storage whose element i is element order[i] of `node`.

    Integers and floats are moved; tables, sums and an affine of one step follow their leaves. Raises
    TersenetError where the order is part of the meaning (several steps, nested placements).
    """
    if isinstance(node, Integers):
        stream = node.stream
        return Integers(IntStream(name=stream.name, values=stream.values[order], alphabet=stream.alphabet))
    if isinstance(node, Floats):
        return Floats(node.values[order], node.planes)
    if isinstance(node, Table) and len(node.index.shape) == 1:
        return Table(node.entries, reorder(node.index, order))
    if isinstance(node, Affine) and node.step.numel == 1:
        return Affine(reorder(node.levels, order), node.zero, node.step)
    if isinstance(node, Sum):
        return Sum(tuple(reorder(part, order) for part in node.parts))
    raise TersenetError(f"a {type(node).__name__.lower()} of shape {node.shape} cannot be put in another order")
