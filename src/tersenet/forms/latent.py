"""Dense weights that learn while what counts is a form made anew of them at each step.

Gradients pass straight through (Courbariaux et al. 2015, arXiv:1511.00363, algorithm 1; Bengio et al. 2013,
arXiv:1308.3432): small moves of the dense, latent weights add up until a weight takes another level. After training
only the form is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.forms.base import Form, check_weight
from tersenet.storage import Storage


class Quantiser(nn.Module):
    """How latent weights become a form, and how the gradient comes back."""

    def settled(self, values: Tensor) -> Form:
        """The form that latent weights stand for now."""
        raise NotImplementedError

    def rate_bits(self, values: Tensor) -> Tensor:
        """An estimate of the coded size in bits of what latent weights stand for now, a scalar."""
        return self.settled(values.detach()).rate_bits()

    def forward(self, values: Tensor) -> Tensor:
        """The bits that `settled(values)` computes, differentiable in the latent weights."""
        through: Tensor = _Through.apply(values, self.settled(values)())  # type: ignore[no-untyped-call]
        return through


class Refit(Quantiser):
    """The form is fitted anew at each step, its scales too: BinaryConnect, ternary weight networks."""

    def __init__(self, fit: Callable[[Tensor], Form]) -> None:
        super().__init__()
        self.fit = fit

    def settled(self, values: Tensor) -> Form:
        return self.fit(values).to(values.device)


class _Through(torch.autograd.Function):
    """The second argument, with the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor, fixed: Tensor) -> Tensor:
        return fixed.detach().clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Latent(Form):
    """values      latent weights, float32; trainable
    quantiser   what makes a form of them; may train too (a learned step)
    """

    def __init__(self, values: Tensor, quantiser: Quantiser) -> None:
        super().__init__()
        self.shape = tuple(values.shape)
        self.values = nn.Parameter(check_weight(values, "latent").clone())
        self.quantiser = quantiser

    @classmethod
    def fit(cls, weight: Tensor, *, fit: Callable[[Tensor], Form]) -> Latent:
        """Latent weights that `fit` makes a form of."""
        return cls(weight, Refit(fit))

    def settled(self) -> Form:
        """The form that is left when training ends; it computes the same bits."""
        return self.quantiser.settled(self.values.detach())

    def forward(self) -> Tensor:
        weight: Tensor = self.quantiser(self.values)
        return weight

    def rate_bits(self) -> Tensor:
        return self.quantiser.rate_bits(self.values)

    def formula_bits(self) -> float | None:
        return self.settled().formula_bits()

    def lower(self, coder: str) -> Storage:
        return self.settled().lower(coder)

    @classmethod
    def lift(cls, storage: Storage) -> Latent | None:
        """Never: what it is stored as comes back as the form that it settles into."""
        return None
