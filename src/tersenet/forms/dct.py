"""Kernels in their frequencies: the cosine transform of each kernel, held by another form.

Trained kernels are smoother than chance, so their orthonormal DCT-II has a few large coefficients and many small ones,
which take fewer bits at the same error: 0.02 to 1 bit a weight in the layers of a published ResNet-20 (half the
logarithm of arithmetic over geometric mean of the variances by frequency; Jayant and Noll 1984, section 12.1). Oktay et
al. 2020, arXiv:1906.06624, train kernels so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.forms.base import Form, check_weight, lift
from tersenet.forms.uniform import Uniform
from tersenet.storage import Storage, Transform
from tersenet.storage.decode import dct_basis
from tersenet.storage.grammar import MAX_TRANSFORM


class Dct(Form):
    """coefficients   a form of the weight's shape, that of each kernel's frequencies
    axes           1 or 2: how many of the last axes are a kernel's
    """

    def __init__(self, coefficients: Form, axes: int) -> None:
        super().__init__()
        self.shape = coefficients.shape
        self.coefficients = coefficients
        self.axes = axes

    @classmethod
    def fit(cls, weight: Tensor, *, coefficients: Callable[[Tensor], Form] = Uniform.fit) -> Form:
        """The frequencies in the form that `coefficients` makes of them.

        A weight without kernels of more than one place, or with larger ones than the file takes, has that form itself.
        """
        weight = check_weight(weight, "dct")
        axes = kernel_axes(tuple(weight.shape))
        return cls(coefficients(frequencies(weight, axes)), axes) if axes else coefficients(weight)

    def forward(self) -> Tensor:
        return kernels(self.coefficients(), self.axes)

    def rate_bits(self) -> Tensor:
        return self.coefficients.rate_bits()

    def formula_bits(self) -> float | None:
        return self.coefficients.formula_bits()

    def lower(self, coder: str) -> Storage:
        return Transform(self.coefficients.lower(coder), self.axes)

    @classmethod
    def lift(cls, storage: Storage) -> Dct | None:
        coefficients = lift(storage.source) if isinstance(storage, Transform) else None
        return None if coefficients is None else cls(coefficients, storage.axes)  # type: ignore[attr-defined]


def kernel_axes(shape: tuple[int, ...]) -> int:
    """How many of a weight's last axes are those of a kernel: 2, 1 of a one-dimensional convolution, 0 where there is
    none of more than one place, or a larger one than the file takes.
    """
    axes = min(max(len(shape) - 2, 0), 2)
    kernel = shape[len(shape) - axes :]
    return axes if axes and max(kernel) > 1 and max(kernel) <= MAX_TRANSFORM else 0


def kernels(coefficients: Float[Tensor, "..."], axes: int) -> Float[Tensor, "..."]:
    """Weights from frequencies, in the very float32 operations of the file (spec/format.md, section 4); differentiable."""
    found: Tensor = _Kernels.apply(coefficients, axes)  # type: ignore[no-untyped-call]
    return found


class _Kernels(torch.autograd.Function):
    """The file's sums, one after the other; their gradient, which no file has, by products of matrices."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, axes: int) -> Tensor:
        ctx.axes = axes
        found = coefficients
        for axis in range(coefficients.ndim - 1, coefficients.ndim - 1 - axes, -1):
            basis = _basis(found.shape[axis], found.dtype, found.device)
            total = torch.zeros_like(found).movedim(axis, 0)
            for frequency, plane in enumerate(found.unbind(axis)):
                total = total + basis[:, frequency].reshape(-1, *[1] * plane.ndim) * plane
            found = total.movedim(0, axis)
        return found.contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _along_axes(grads[0], ctx.axes), None


def frequencies(weight: Float[Tensor, "..."], axes: int) -> Float[Tensor, "..."]:
    """The orthonormal cosine transform of each kernel, in float64 and back in the weight's dtype."""
    return _along_axes(weight.double(), axes).to(weight.dtype).contiguous()


def _along_axes(found: Tensor, axes: int) -> Tensor:
    for axis in range(found.ndim - axes, found.ndim):
        basis = _basis(found.shape[axis], found.dtype, found.device)
        found = torch.tensordot(found, basis, ([axis], [0])).movedim(-1, axis)
    return found


@cache
def _basis(size: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "n n"]:
    return torch.from_numpy(dct_basis(size)).to(device, dtype)
