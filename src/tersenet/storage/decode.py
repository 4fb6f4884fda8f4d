"""Storage to a numpy array: the plain meaning of every node of the grammar."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tersenet.errors import TersenetError
from tersenet.storage.grammar import (
    MAX_TRANSFORM,
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
)
from tersenet.storage.memory import dtype_of

BLOCK = 1 << 16  # elements of an affine worked on at once, so that its int32 copy stays in the cache
QUIET_NAN = np.uint32(0x7FC00000).view(np.float32)


def decode(node: Storage) -> np.ndarray:
    """The dense array a tree stands for: float32, or an unsigned integer type for int trees.

    It may be the tree's own array: copy it before writing into it.
    """
    if isinstance(node, Integers):
        return node.stream.values
    if isinstance(node, Floats):
        return _widened(node.values)
    if isinstance(node, Affine):
        return _affine(decode(node.levels), decode(node.zero), decode(node.step))
    if isinstance(node, Table):
        return _table(decode(node.entries), decode(node.index))
    if isinstance(node, Scatter):
        return _scatter(node, decode(node.values))
    if isinstance(node, Sum):
        return _sum(node)
    if isinstance(node, Concat):
        return _concat(node)
    if isinstance(node, Reshape):
        return decode(node.source).reshape(node.shape)
    if isinstance(node, Permute):
        return np.ascontiguousarray(decode(node.source).transpose(node.axes)).reshape(node.shape)
    if isinstance(node, Transform):
        return _inverse_dct(decode(node.source), node.axes)
    raise TypeError(f"not a storage node: {type(node).__name__}")


def _widened(values: np.ndarray) -> np.ndarray:
    """Float32 as it is; float16 exactly, a NaN with its sign and payload, which some processors would change."""
    if values.dtype == np.float32:
        return values
    half = values.view(np.uint16).astype(np.uint32)
    wide = values.astype(np.float32)
    bits = (half & 0x8000) << 16 | 0x7F800000 | (half & 0x3FF) << 13
    wide.view(np.uint32)[...] = np.where((half & 0x7FFF) > 0x7C00, bits, wide.view(np.uint32))
    return wide


def _quiet(x: np.ndarray) -> np.ndarray:
    """One spelling for the NaNs that arithmetic made: processors differ in their sign and payload."""
    np.copyto(x, QUIET_NAN, where=np.isnan(x))
    return x


def _affine(levels: np.ndarray, zero: np.ndarray, step: np.ndarray) -> np.ndarray:
    runs = levels.reshape(len(step), -1)
    out = np.empty(runs.shape, np.float32)
    zeros = np.broadcast_to(zero.astype(np.int32), step.shape)[:, None]
    rows = max(1, BLOCK // max(runs.shape[1], 1))
    with np.errstate(all="ignore"):
        for i in range(0, len(runs), rows):
            for j in range(0, runs.shape[1], BLOCK):
                part = slice(i, i + rows), slice(j, j + BLOCK)
                exact = runs[part].astype(np.int32) - zeros[i : i + rows]
                out[part] = _quiet(exact.astype(np.float32) * step[i : i + rows, None])
    return out.reshape(levels.shape)


def _table(entries: np.ndarray, index: np.ndarray) -> np.ndarray:
    if index.size and int(index.max()) >= len(entries):
        raise TersenetError(f"an index of {int(index.max())} into a table of {len(entries)} entries")
    return np.asarray(entries[index])  # asarray: a 0-d index gives a scalar


def positions(node: Scatter) -> np.ndarray:
    """Where each block of a scatter goes, ascending int64; checked against the declared sizes."""
    symbols = decode(node.position)
    if node.bitmask:
        places = np.flatnonzero(symbols)
    else:
        alphabet = node.position.alphabet  # type: ignore[attr-defined]
        if alphabet * symbols.size >= 2**62:
            raise TersenetError(f"{symbols.size} gaps below {alphabet} can add up to more than 2**62")
        filler = symbols == alphabet - 1
        # A gap of s moves s + 1 places, a filler span; the place itself is one before the next start.
        places = np.cumsum(symbols.astype(np.int64) + ~filler)[~filler] - 1
    count = node.values.shape[0]
    if len(places) != count:
        raise TersenetError(f"a scatter names {len(places)} places for {count} values")
    if len(places) and places[-1] >= node.size:
        raise TersenetError(f"a scatter names place {places[-1]}, but there are {node.size}")
    return places


def _scatter(node: Scatter, values: np.ndarray) -> np.ndarray:
    out = np.zeros(node.shape, dtype=values.dtype)
    out[positions(node)] = values
    return out


def _sum(node: Sum) -> np.ndarray:
    total = decode(node.parts[0])
    if len(node.parts) == 1:
        return total
    total = total.copy()
    with np.errstate(all="ignore"):
        for part in node.parts[1:]:
            total += decode(part)
    return _quiet(total)


def _concat(node: Concat) -> np.ndarray:
    out = np.empty(node.shape, dtype_of(node))
    start = 0
    along = np.moveaxis(out, node.axis, 0)
    for part in node.parts:
        stop = start + part.shape[node.axis]
        along[start:stop] = np.moveaxis(decode(part), node.axis, 0)
        start = stop
    return out


@lru_cache(maxsize=MAX_TRANSFORM)
def dct_basis(size: int) -> np.ndarray:
    """Entry (t, f) of the fixed inverse transform, float32 multiples of 2**-20."""
    t, f = np.arange(size)[:, None], np.arange(size)[None, :]
    scale = np.full(size, np.sqrt(2 / size))
    scale[0] = np.sqrt(1 / size)
    exact = scale * np.cos(np.pi * f * (2 * t + 1) / (2 * size))
    return (np.rint(exact * 2.0**20) * 2.0**-20).astype(np.float32)


def _inverse_dct(x: np.ndarray, axes: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        for axis in range(x.ndim - 1, x.ndim - 1 - axes, -1):
            moved = np.moveaxis(x, axis, 0)
            basis = dct_basis(len(moved))
            out = np.zeros_like(moved)
            for f, plane in enumerate(moved):
                out += basis[:, f].reshape(-1, *[1] * plane.ndim) * plane
            x = np.moveaxis(out, 0, axis)
    return _quiet(np.ascontiguousarray(x))
