"""A numpy twin of cpp/tersenet/kernels/int8.h: bytes of inputs, integers of weights, with their scales."""

from __future__ import annotations

import numpy as np

F32 = np.float32


def twin_inputs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, scales and zeros of each row, as int8.h says."""
    low, high = x.min(1, initial=0), x.max(1, initial=0)
    limit = np.where(low < 0, F32(127), F32(255))
    zero = np.where(low < 0, 128, 0)
    most = np.maximum(high, 0 - low)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = (limit / most).astype(F32)
    usable = inverse <= F32(3.4e38)
    scale = np.where(usable, most / limit, F32(0)).astype(F32)
    inverse = np.where(usable, inverse, F32(0))
    return np.rint(x * inverse[:, None]).astype(np.int64) + zero[:, None], scale, zero


def twin_step(values: np.ndarray) -> F32:
    """The largest step of which all values are multiples, up to 127 of them; else 127 to the largest magnitude."""
    most = float(np.abs(values).max(initial=0))
    if most == 0:
        return F32(0)
    steps = most / np.arange(1, 128)
    levels = values.astype(np.float64) / steps[:, None]
    on_grid = np.abs(levels - np.rint(levels)).max(1) <= 127 / 2**23
    return F32(steps[on_grid.argmax()] if on_grid.any() else steps[-1])


def twin_weights(weight) -> tuple[np.ndarray, np.ndarray]:
    """Integers and a step a row; one step for all where fewer than 64 values are shared."""
    if weight.codebook is not None and weight.step is None and len(weight.codebook) < 64:
        steps = np.full(len(weight.dense), twin_step(weight.codebook))
    else:
        steps = np.array([twin_step(row) for row in weight.dense], F32)
    safe = np.where(steps > 0, steps, 1).astype(np.float64)[:, None]
    return np.clip(np.rint(weight.dense.astype(np.float64) / safe), -127, 127).astype(np.int64), steps
