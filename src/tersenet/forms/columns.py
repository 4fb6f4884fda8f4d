"""A step for each column: the weight with its first axis moved behind the others, on a grid with a step for each run.

What reaches a column of a layer differs in size, so that one step for all columns wastes bits: with error feedback the
least loss for given bits has steps ~ cost_j^-1/2, cost_j being the weight of the column's squared error when its turn
comes (reverse water-filling; Cover and Thomas 2006, section 10.3.3).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tersenet.forms.base import Form, check_weight
from tersenet.forms.uniform import Uniform
from tersenet.storage import Permute, Storage


class Columns(Form):
    """turned   levels and steps of shape (*columns, rows) for a weight of shape (rows, *columns)"""

    def __init__(self, turned: Uniform) -> None:
        super().__init__()
        self.shape = (turned.shape[-1], *turned.shape[:-1])
        self.turned = turned

    @classmethod
    def fit(cls, weight: Tensor, **options: Any) -> Form:
        """Each column on a grid of its own, with the options of `Uniform.fit` but `per`.

        A weight of one dimension is one row, which has one step.
        """
        weight = check_weight(weight, "columns")
        if weight.ndim == 1:
            return Uniform.fit(weight, **options)
        return cls(Uniform.fit(weight.movedim(0, -1).contiguous(), per=len(weight), **options))

    def forward(self) -> Tensor:
        found: Tensor = self.turned()
        return found.movedim(-1, 0).contiguous()

    def rate_bits(self) -> Tensor:
        return self.turned.rate_bits()

    def formula_bits(self) -> float | None:
        return self.turned.formula_bits()

    def lower(self, coder: str) -> Storage:
        return Permute(self.turned.lower(coder), _axes(len(self.shape)))

    @classmethod
    def lift(cls, storage: Storage) -> Columns | None:
        if not isinstance(storage, Permute) or storage.axes != _axes(len(storage.shape)):
            return None
        turned = Uniform.lift(storage.source)
        return None if turned is None else cls(turned)


def _axes(dims: int) -> tuple[int, ...]:
    """Which of the turned weight's axes each axis is: the last one first."""
    return (dims - 1, *range(dims - 1))
