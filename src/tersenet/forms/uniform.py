"""Weights on an even grid: an integer times a step, one step a tensor or one an output row.

After Jacob et al. 2018, arXiv:1712.05877, section 2.1. The integers are signed here, so that 0 is a level of every
grid; a zero point appears only in the file, where levels count from the least one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tersenet.bits import IntStream, entropy_bits
from tersenet.errors import TersenetError
from tersenet.forms.base import Form, check_weight
from tersenet.forms.dense import smallest_floats
from tersenet.storage import Affine, Integers, Reshape, Storage, decode

# The file's limit on levels and zero points: differences of smaller integers are exact in float32.
MAX_LEVELS = 2**24
MAX_BITS = 16


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


class Uniform(Form):
    """level   the integer of each weight, signed, fixed after fit; int16 or int32, shape of the weight
    step       float32, (1,) or one for each row of the first axis; trainable
    """

    level: Tensor

    def __init__(self, level: Tensor, step: Tensor) -> None:
        super().__init__()
        self.shape = tuple(level.shape)
        if step.ndim != 1 or not len(step) or level.numel() % len(step):
            raise TersenetError(f"steps of shape {tuple(step.shape)} for levels of shape {self.shape}")
        low, high = (int(level.min()), int(level.max())) if level.numel() else (0, 0)
        if max(high, 0) - min(low, 0) >= MAX_LEVELS:
            raise TersenetError(f"levels from {low} to {high}; they span less than {MAX_LEVELS}: take a larger step")
        self.register_buffer("level", level.to(torch.int16 if -(2**15) <= low <= high < 2**15 else torch.int32))
        self.step = nn.Parameter(step.detach().to(torch.float32).clone())

    @classmethod
    def fit(
        cls, weight: Tensor, *, bits: int = 8, per: Literal["tensor", "row"] = "tensor", symmetric: bool = True
    ) -> Uniform:
        """Round to the nearest of at most 2**bits levels over the range of the tensor, or of each row.

        symmetric   levels from -(2**(bits-1) - 1) to its opposite; otherwise from the least weight (or 0) to the
                    largest (or 0), 0 staying exact (section 2.1)
        """
        weight = check_weight(weight, "uniform")
        if not 2 <= bits <= MAX_BITS:
            raise TersenetError(f"uniform weights of {bits} bits; 2 to {MAX_BITS} can be")
        if per not in ("tensor", "row"):
            raise TersenetError(f"a step per {per}; there is one per tensor or per row")
        rows = weight.reshape(weight.shape[0] if per == "row" else 1, -1)
        if symmetric:
            span, levels = rows.abs().amax(1), 2 ** (bits - 1) - 1
        else:
            span, levels = rows.amax(1).clamp(min=0) - rows.amin(1).clamp(max=0), 2**bits - 1
        return cls.nearest(weight, usable_step(span / levels))

    @classmethod
    def nearest(cls, weight: Tensor, step: Tensor) -> Uniform:
        """Each weight's nearest multiple of its step, ties to even; steps as `usable_step` gives them."""
        weight = check_weight(weight, "uniform")
        if not bool((torch.isfinite(step) & (step > 0)).all()):
            raise TersenetError("a step is 0, negative or not finite; steps of a grid are positive")
        runs = weight.reshape(len(step), -1).double() / step[:, None].double()
        return cls(runs.round().to(torch.int64).reshape(weight.shape), step)

    def forward(self) -> Tensor:
        scaled: Tensor = _Scale.apply(self.step, self.level)  # type: ignore[no-untyped-call]
        return scaled

    def rate_bits(self) -> Tensor:
        _, counts = torch.unique(self.level, return_counts=True)
        return torch.tensor(float(entropy_bits(counts=counts.cpu().numpy())) + 32.0 * len(self.step))

    def lower(self, coder: str) -> Storage:
        level = self.level.cpu().reshape(-1).numpy().astype(np.int64)
        low, high = int(level.min(initial=0)), int(level.max(initial=0))
        levels = Integers(IntStream(name="levels", values=level - low, alphabet=max(high - low + 1, 2)))
        zero = Integers(IntStream(name="zero", values=np.array([-low]), alphabet=max(1 - low, 2)))
        tree = Affine(levels, zero, smallest_floats(self.step.detach().cpu().numpy(), coder))
        return tree if len(self.shape) == 1 else Reshape(tree, self.shape)

    @classmethod
    def lift(cls, storage: Storage) -> Uniform | None:
        tree = storage.source if isinstance(storage, Reshape) else storage
        if not (isinstance(tree, Affine) and isinstance(tree.levels, Integers)):
            return None
        step = decode(tree.step)
        level = tree.levels.stream.values.astype(np.int64).reshape(len(step), -1)
        level = level - decode(tree.zero).astype(np.int64)[:, None]
        return cls(torch.from_numpy(level.reshape(storage.shape)), torch.from_numpy(step.astype(np.float32)))


def usable_step(step: Tensor) -> Tensor:
    """Steps rounded to float16 where that is a normal number, else to float32; 1 in place of 0.

    Rounded before the levels are chosen, a step loses nothing by its short form.
    """
    step = torch.where(step > 0, step, torch.ones_like(step)).to(torch.float32)
    half = step.to(torch.float16).to(torch.float32)
    limits = torch.finfo(torch.float16)
    fits = bool(((half >= limits.tiny) & (half <= limits.max)).all())
    return half if fits else step
