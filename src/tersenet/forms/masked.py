"""A dense weight and a mask over it that may change while it trains; stored as what the mask leaves."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.forms.base import Form, check_weight
from tersenet.forms.sparse import Sparse
from tersenet.storage import Storage


class _ThroughMask(torch.autograd.Function):
    """Masked, with the gradient of the identity (Guo et al. 2016, arXiv:1608.04493, eq. 2)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, values, 0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Masked(Form):
    """values   the weights, those that are cut included; trainable
    mask      bool, shape of the weight: which of them count; changed by who trains, never by training
    made_at   the share of a training at which the mask was last made; float64, a scalar
    regrows   whether the cut ones learn too, from the gradient of their places, so that they may come back
    """

    mask: Tensor
    made_at: Tensor

    def __init__(self, values: Float[Tensor, "..."], mask: Bool[Tensor, "..."], regrows: bool = False) -> None:
        super().__init__()
        if mask.shape != values.shape:
            raise TersenetError(f"a mask of shape {tuple(mask.shape)} for a weight of {tuple(values.shape)}")
        self.shape = tuple(values.shape)
        self.regrows = regrows
        self.values = nn.Parameter(values.clone())
        self.register_buffer("mask", mask.clone())
        self.register_buffer("made_at", torch.zeros((), dtype=torch.float64))

    @classmethod
    def fit(cls, weight: Tensor, *, mask: Tensor | None = None, regrows: bool = False) -> Masked:
        """All weights but those that are zero count, or those that `mask` names."""
        weight = check_weight(weight, "masked")
        return cls(weight, weight != 0 if mask is None else mask.cpu(), regrows)

    def remask(self, mask: Bool[Tensor, "..."], at: float) -> None:
        """Another mask, made when the share `at` of the training was done."""
        self.mask.copy_(mask)
        self.made_at.fill_(at)

    def forward(self) -> Tensor:
        if not self.regrows:
            return torch.where(self.mask, self.values, 0.0)
        masked: Tensor = _ThroughMask.apply(self.values, self.mask)  # type: ignore[no-untyped-call]
        return masked

    def rate_bits(self) -> Tensor:
        return Sparse.fit(self()).rate_bits()

    def formula_bits(self) -> float | None:
        return Sparse.fit(self()).formula_bits()

    def lower(self, coder: str) -> Storage:
        return Sparse.fit(self()).lower(coder)

    @classmethod
    def lift(cls, storage: Storage) -> Masked | None:
        """Never: what it is stored as comes back as Sparse."""
        return None
