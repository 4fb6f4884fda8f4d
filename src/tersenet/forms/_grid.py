"""What forms on an even grid share: an integer for each weight, and a step for each of equal runs of them.

READ FIRST
  1. Integers are signed, 0 is the value 0. A zero point appears only in the file, where levels count from the least.
  2. With m steps the flattened weight falls into m equal runs: all of it, its rows, or groups along each row.
  3. `low` and `high` bound the integers of each run; a value beyond them has the nearer end as its nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tersenet.bits import IntStream, entropy_bits
from tersenet.errors import TersenetError
from tersenet.forms.base import FLOAT_BITS, Form, check_weight
from tersenet.forms.dense import smallest_floats
from tersenet.storage import Affine, Integers, Reshape, Storage, decode, size_bytes

# The file's limit on levels and zero points: differences of smaller integers are exact in float32.
MAX_LEVELS = 2**24
# Steps that are larger multiples of what divides them all are floats.
MAX_TIMES = 2**16


class _Scale(torch.autograd.Function):
    """level * step, a step for each of equal runs; the gradient of a step is that of its weights times their levels."""

    @staticmethod
    def forward(ctx: Any, step: Tensor, level: Tensor) -> Tensor:
        ctx.save_for_backward(level)
        ctx.steps = len(step)
        return (level.reshape(len(step), -1).to(torch.float32) * step[:, None]).reshape(level.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (level,) = ctx.saved_tensors
        grad = grads[0]
        runs = grad.reshape(ctx.steps, -1).double() * level.reshape(ctx.steps, -1)
        return runs.sum(1).to(grad.dtype), None


class Grid(Form):
    """level   the integer of each weight, signed, fixed after fit; int8, int16 or int32, shape of the weight
    step       float32, (m,), one for each of m equal runs; trainable
    low, high  int64, (m,): the integers that each run may take; those that occur, and 0, unless given
    """

    level: Tensor
    step: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        level: Int[Tensor, "..."],
        step: Float[Tensor, " m"],
        low: Int[Tensor, " m"] | None = None,
        high: Int[Tensor, " m"] | None = None,
        *,
        step_trains: bool = True,
    ) -> None:
        super().__init__()
        self.shape = tuple(level.shape)
        if step.ndim != 1 or not len(step) or level.numel() % len(step):
            raise TersenetError(f"steps of shape {tuple(step.shape)} for levels of shape {self.shape}")
        runs = level.reshape(len(step), -1).to(torch.int64)
        if low is None:
            low = runs.amin(1).clamp(max=0) if level.numel() else torch.zeros(len(step), dtype=torch.int64)
        if high is None:
            high = runs.amax(1).clamp(min=0) if level.numel() else torch.zeros(len(step), dtype=torch.int64)
        least, most = int(low.min()), int(high.max())
        if most - least >= MAX_LEVELS:
            raise TersenetError(f"levels from {least} to {most}; they span less than {MAX_LEVELS}: take a larger step")
        self.register_buffer("level", level.to(_smallest_dtype(least, most)))
        self.register_buffer("low", low.clone(), persistent=False)
        self.register_buffer("high", high.clone(), persistent=False)
        step = step.detach().to(torch.float32).clone()
        if step_trains:
            self.step = nn.Parameter(step)
        else:
            self.register_buffer("step", step)

    def forward(self) -> Tensor:
        scaled: Tensor = _Scale.apply(self.step, self.level)  # type: ignore[no-untyped-call]
        return scaled

    def rate_bits(self) -> Tensor:
        _, counts = torch.unique(self.level, return_counts=True)
        return torch.tensor(float(entropy_bits(counts=counts.cpu().numpy())) + 32.0 * len(self.step))

    def formula_bits(self) -> float:
        """n bits + m b: a code of whole bits for each weight, and m steps."""
        width = int((self.high - self.low).max()).bit_length()
        return float(self.level.numel() * width + len(self.step) * FLOAT_BITS)

    def nearest(self, values: Float[Tensor, "rows n"], columns: Int[Tensor, " n"]) -> Float[Tensor, "rows n"]:
        steps = self.step.detach().double()
        run = runs_at(self.shape, len(steps), columns)
        level = (values / steps[run]).round().clamp(self.low[run], self.high[run])
        return level * steps[run]

    def snapped(self, weight: Tensor) -> Form:
        weight = check_weight(weight, type(self).__name__.lower())
        runs = weight.reshape(len(self.step), -1).double() / self.step.detach().cpu()[:, None].double()
        low, high = self.low.cpu(), self.high.cpu()
        level = runs.round().clamp(low[:, None], high[:, None]).to(torch.int64)
        return type(self)(level.reshape(self.shape), self.step, low, high)

    def lower(self, coder: str) -> Storage:
        """Levels count from the least of all, or, where that saves bytes, from the least of each run."""
        runs, step = self.levels_by_run(), smallest_steps(self.step.detach().cpu().numpy(), coder)
        low, high = runs.min(1, initial=0), runs.max(1, initial=0)
        tree = affine(runs, low.min(keepdims=True), step)
        if len(low) > 1 and _width(high - low) < _width(high.max() - low.min()):
            tree = min(tree, affine(runs, low, step), key=lambda one: size_bytes(one, coder))
        return tree if len(self.shape) == 1 else Reshape(tree, self.shape)

    def levels_by_run(self) -> Int[np.ndarray, "m n"]:
        return self.level.cpu().numpy().astype(np.int64).reshape(len(self.step), -1)


def runs_at(shape: tuple[int, ...], runs: int, columns: Int[Tensor, " n"]) -> Int[Tensor, "rows n"]:
    """Which run each place lies in, for some columns of a weight as the matrix (rows, columns); (1, n) where all rows
    have the same. A weight of one dimension is one row.
    """
    rows = matrix_rows(shape)
    width = int(np.prod(shape)) // max(rows, 1)
    if runs == 1:
        return torch.zeros(1, len(columns), dtype=torch.int64, device=columns.device)
    first = torch.arange(rows, device=columns.device)[:, None] * width
    return (first + columns[None, :].to(torch.int64)) // (rows * width // runs)


Per = Literal["tensor", "row"] | int
"""What has a step of its own: the tensor, each row, or each group of so many weights along a row."""


def run_count(shape: tuple[int, ...], per: Per) -> int:
    """How many equal runs a weight falls into. Groups are of the largest divisor of the row's length at most `per`."""
    rows = matrix_rows(shape)
    if per == "tensor":
        return 1
    if per == "row":
        return rows
    if isinstance(per, bool) or not isinstance(per, int) or per < 1:
        raise TersenetError(f"a scale per {per}; there is one per tensor, per row, or per so many weights of a row")
    width = int(np.prod(shape)) // rows
    return rows * (width // group_width(width, per))


def group_width(width: int, most: int) -> int:
    """The largest divisor of `width` that is at most `most`."""
    return next(size for size in range(min(most, width), 0, -1) if width % size == 0)


def matrix_rows(shape: tuple[int, ...]) -> int:
    """How many rows a weight has as a matrix: of its first axis, and one where there is no other."""
    return shape[0] if len(shape) > 1 else 1


@dataclass(frozen=True)
class StoredGrid:
    """A grid as a file has it.

    level      the integer of each weight, signed, shape of the weight
    zero       the zero points, one or one for each run
    alphabet   of the levels as they are counted in the file
    step       float32, one for each run
    """

    level: Int[Tensor, "..."]
    zero: tuple[int, ...]
    alphabet: int
    step: Float[Tensor, " m"]


def stored_grid(tree: Storage) -> StoredGrid | None:
    """What an affine of a stream of levels says; None for another tree."""
    node = tree.source if isinstance(tree, Reshape) else tree
    if not (isinstance(node, Affine) and isinstance(node.levels, Integers)):
        return None
    step, zero = decode(node.step).astype(np.float32), decode(node.zero).astype(np.int64)
    level = node.levels.stream.values.astype(np.int64).reshape(len(step), -1) - zero[:, None]
    return StoredGrid(
        level=torch.from_numpy(level.reshape(tree.shape)),
        zero=tuple(int(one) for one in zero),
        alphabet=node.levels.alphabet,
        step=torch.from_numpy(step),
    )


def usable_step(step: Tensor) -> Tensor:
    """Steps rounded to float16 where that is a normal number, else to float32; 1 in place of 0.

    Rounded before the levels are chosen, a step loses nothing by its short form.
    """
    step = torch.where(step > 0, step, torch.ones_like(step)).to(torch.float32)
    half = step.to(torch.float16).to(torch.float32)
    limits = torch.finfo(torch.float16)
    fits = ((half >= limits.tiny) & (half <= limits.max)).all()  # not read, for which a GPU would have to be waited for
    return torch.where(fits, half, step)


def smallest_steps(step: Float[np.ndarray, " m"], coder: str) -> Storage:
    """Steps without loss: floats, or, where that saves bytes, integers times the largest number that divides them."""
    floats = smallest_floats(step, coder)
    # A float32 is an integer of up to 24 bits times a power of two.
    least = int(np.frexp(step)[1].min(initial=0)) - 24
    whole = np.ldexp(step.astype(np.float64), -least)
    if len(step) < 2 or not (whole < 2.0**62).all():
        return floats
    divisor = np.gcd.reduce(whole.astype(np.int64))
    times = whole.astype(np.int64) // divisor
    if times.max() >= MAX_TIMES:
        return floats
    unit = np.ldexp(np.array([divisor], np.float64), least).astype(np.float32)
    multiples = affine(times[None], np.zeros(1, np.int64), smallest_floats(unit, coder))
    return min(floats, multiples, key=lambda one: size_bytes(one, coder))


def affine(runs: Int[np.ndarray, "m n"], low: Int[np.ndarray, " k"], step: Storage, alphabet: int = 1) -> Affine:
    """Levels counted from `low`, one for all runs or one each, and the zero points that say so.

    An alphabet of one, of levels that are all alike, has no bits: they take no bytes under any coder.
    """
    levels = (runs - low[:, None]).reshape(-1)
    stream = IntStream(name="levels", values=levels, alphabet=max(int(levels.max(initial=0)) + 1, alphabet))
    zero = IntStream(name="zero", values=-low, alphabet=max(1 - int(low.min()), 2))
    return Affine(Integers(stream), Integers(zero), step)


def _width(span: np.ndarray | np.integer[Any]) -> int:
    return int(np.max(span)).bit_length()


def _smallest_dtype(low: int, high: int) -> torch.dtype:
    for dtype in (torch.int8, torch.int16):
        if torch.iinfo(dtype).min <= low <= high <= torch.iinfo(dtype).max:
            return dtype
    return torch.int32
