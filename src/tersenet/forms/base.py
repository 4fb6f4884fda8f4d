"""What every form is: a module that stands for one weight while it can still learn."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.storage import Storage

# id -> module:Class, in the order in which a storage tree is offered to them by `lift`.
FORMS: dict[str, str] = {
    "dct": "tersenet.forms.dct:Dct",
    "sparse": "tersenet.forms.sparse:Sparse",
    "binary": "tersenet.forms.binary:Binary",
    "codebook": "tersenet.forms.codebook:Codebook",
    "ternary": "tersenet.forms.ternary:Ternary",
    "fixed_point": "tersenet.forms.fixed_point:FixedPoint",
    "product": "tersenet.forms.product:Product",
    "residual": "tersenet.forms.residual:Residual",
    "uniform": "tersenet.forms.uniform:Uniform",
    "columns": "tersenet.forms.columns:Columns",
    "dense": "tersenet.forms.dense:Dense",
    "masked": "tersenet.forms.masked:Masked",
}


# Of a float in the field's formulas.
FLOAT_BITS = 32


class Form(nn.Module):
    """How one weight tensor is stored while it can still learn.

    shape   of the weight that `forward` gives

    A form owns its parameters; `forward` is differentiable, so that training reaches them.
    """

    shape: tuple[int, ...]

    # The form of this kind that stands nearest to a weight; each has options of its own, by keyword.
    fit: ClassVar[Callable[..., Form]]

    def forward(self) -> Tensor:
        """The dense weight, float32."""
        raise NotImplementedError

    def rate_bits(self) -> Tensor:
        """An estimate of the coded size in bits, a scalar; differentiable where the form has a rate to train."""
        raise NotImplementedError

    def formula_bits(self) -> float | None:
        """What the field's formula says that this very form takes, before any entropy coding; None where it has none.

        b = 32 bits a float, whatever the file does with them. It counts no shapes and no headers, so it is what the
        bytes on disk are to be compared with, never a size.
        """
        return None

    def lower(self, coder: str) -> Storage:
        """Storage that decodes to exactly what `forward` gives; layouts are chosen for `coder`."""
        raise NotImplementedError

    @property
    def columns_together(self) -> int:
        """Columns of the weight, flattened to (rows, columns), whose values are chosen together."""
        return 1

    def nearest(self, values: Float64[Tensor, "rows n"], columns: Int64[Tensor, " n"]) -> Float64[Tensor, "rows n"]:
        """Of what the form can represent with the grid and tables it has, the nearest to each value.

        values    for `columns` of the weight flattened to (rows, columns); a weight of one dimension is one row
        columns   which ones; a group of `columns_together` neighbours, or several such groups
        """
        raise TersenetError(
            f"the form {type(self).__name__.lower()} does not say which of its values is nearest to a number, so error "
            "feedback cannot choose among them; store without calibration, or in another form"
        )

    def snapped(self, weight: Tensor) -> Form:
        """Another weight of this shape with the same grid and tables: each number at its `nearest`."""
        raise TersenetError(
            f"the form {type(self).__name__.lower()} cannot hold another weight by the tables it has; store without "
            "calibration, or in another form"
        )

    @classmethod
    def lift(cls, storage: Storage) -> Form | None:
        """The form back from its storage, or None if the storage is of another form."""
        raise NotImplementedError


def form_class(form: str) -> type[Form]:
    """The class of a form by its id. Raises TersenetError for an unknown one."""
    if form not in FORMS:
        raise TersenetError(f"form '{form}' is unknown; this build knows {', '.join(FORMS)}")
    module, name = FORMS[form].split(":")
    found: type[Form] = getattr(import_module(module), name)
    return found


def lift(storage: Storage) -> Form | None:
    """The first form that recognises a storage tree, or None: then the weight is an ordinary dense one."""
    for form in FORMS:
        lifted = form_class(form).lift(storage)
        if lifted is not None:
            return lifted
    return None


def check_weight(weight: Tensor, what: str) -> Tensor:
    """`weight` detached, float32, on the CPU; refused if it is empty or not finite."""
    weight = weight.detach().to("cpu", torch.float32)
    if weight.numel() == 0:
        raise TersenetError(f"{what}: the weight of shape {tuple(weight.shape)} is empty")
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise TersenetError(f"{what}: {bad} of {weight.numel()} weights are NaN or infinite; repair the network first")
    return weight


def spread_importance(importance: Tensor | None, weight: Tensor, what: str) -> Tensor | None:
    """Importance of each weight: as it came, or from one number a column of the weight's matrix. Refused otherwise."""
    if importance is None:
        return None
    importance = importance.detach().to("cpu", torch.float32)
    if importance.shape == weight.shape:
        return importance
    columns = weight.numel() if weight.ndim < 2 else weight.numel() // weight.shape[0]
    if importance.shape == (columns,):
        return importance.expand(weight.numel() // columns, columns).reshape(weight.shape)
    raise TersenetError(
        f"{what}: importance of shape {tuple(importance.shape)} for a weight of shape {tuple(weight.shape)}; "
        f"give one number a weight, or one for each of its {columns} columns"
    )
