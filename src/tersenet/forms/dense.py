"""Every weight for itself, as float32 or float16."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.forms.base import Form, check_weight
from tersenet.storage import Floats, Reshape, Storage, size_bytes

DTYPES = {"float32": torch.float32, "float16": torch.float16}


def smallest_floats(values: np.ndarray, coder: str) -> Floats:
    """A table of the values without loss, as float16 where all of them are, in its smallest spelling."""
    if values.dtype == np.float32:
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if half.astype(np.float32).tobytes() == values.tobytes():
            values = half
    return smallest_spelling(values, coder)


def smallest_spelling(values: np.ndarray, coder: str) -> Floats:
    """A table of the values in their own dtype: their bytes, or byte planes where those are smaller under `coder`."""
    plain, planes = Floats(values), Floats(values, planes=True)
    return planes if size_bytes(planes, coder) < size_bytes(plain, coder) else plain


class _ThroughFloat16(torch.autograd.Function):
    """Rounded, with the gradient of the identity (Bengio et al. 2013, arXiv:1308.3432)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.to(torch.float16).to(torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def through_float16(values: Tensor) -> Tensor:
    """float32 values as float16 would hold them; gradients pass as if they were not rounded."""
    rounded: Tensor = _ThroughFloat16.apply(values)  # type: ignore[no-untyped-call]
    return rounded


def check_range(weight: Tensor, dtype: str) -> None:
    """Refuse weights that float16 cannot hold, where that is asked for."""
    largest = float(weight.abs().max())
    if dtype == "float16" and largest > torch.finfo(torch.float16).max:
        raise TersenetError(f"a weight of {largest:g} is above float16's range; store it as float32")


class Dense(Form):
    """values   the weights; trainable
    dtype    "float32", or "float16": training sees the rounded values, gradients pass through
    """

    def __init__(self, values: Tensor, dtype: str = "float32") -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise TersenetError(f"dense weights are float32 or float16; got {dtype}")
        self.shape = tuple(values.shape)
        self.dtype = dtype
        self.values = nn.Parameter(values.clone())

    @classmethod
    def fit(cls, weight: Tensor, *, dtype: str = "float32") -> Dense:
        weight = check_weight(weight, "dense")
        check_range(weight, dtype)
        return cls(weight, dtype)

    def forward(self) -> Tensor:
        return self.values if self.dtype == "float32" else through_float16(self.values)

    def formula_bits(self) -> float:
        return float(self.values.numel() * torch.finfo(DTYPES[self.dtype]).bits)

    def rate_bits(self) -> Tensor:
        return torch.tensor(float(self.values.numel() * torch.finfo(DTYPES[self.dtype]).bits))

    def lower(self, coder: str) -> Storage:
        flat = self.values.detach().cpu().to(DTYPES[self.dtype]).reshape(-1).numpy()
        floats = smallest_floats(flat, coder)
        return floats if len(self.shape) == 1 else Reshape(floats, self.shape)

    def nearest(self, values: Float64[Tensor, "rows n"], columns: Int64[Tensor, " n"]) -> Float64[Tensor, "rows n"]:
        limit = torch.finfo(DTYPES[self.dtype]).max
        return values.clamp(-limit, limit).to(DTYPES[self.dtype]).to(torch.float64)

    def snapped(self, weight: Tensor) -> Dense:
        rounded = self.nearest(weight.detach().double().reshape(1, -1), torch.arange(weight.numel()))
        return Dense(rounded.to(torch.float32).reshape(self.shape), self.dtype)

    @classmethod
    def lift(cls, storage: Storage) -> Dense | None:
        floats = storage.source if isinstance(storage, Reshape) else storage
        if not isinstance(floats, Floats):
            return None
        values = torch.from_numpy(floats.values.astype(np.float32)).reshape(storage.shape)
        return cls(values, floats.values.dtype.name)
