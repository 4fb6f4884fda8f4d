"""A matrix on a grid of one step is held row by row or column by column, and means the same."""

from __future__ import annotations

from torch import Tensor

from tersenet.forms._grid import Grid
from tersenet.forms.base import Form
from tersenet.forms.columns import Columns
from tersenet.forms.dct import Dct
from tersenet.forms.uniform import Uniform
from tersenet.storage import size_bytes

# What another order takes of a packed structure.
ORDER_BYTES = 2


def one_step(form: object) -> Tensor | None:
    """The step, (1,), of a weight that lies on one grid, in either order; None where there is none, or are several."""
    grid = form.turned if isinstance(form, Columns) else form
    return grid.step.detach() if isinstance(grid, Grid) and len(grid.step) == 1 else None


def shorter_order(form: Form, coder: str) -> Form:
    """The form, or its frequencies, in the order that takes fewer bytes under `coder`; not lossy.

    What is alike may lie in columns, and contexts of the coder `range` look back along runs. Takes an encoding of each.
    """
    if isinstance(form, Dct):
        return Dct(shorter_order(form.coefficients, coder), form.axes)
    if not isinstance(form, Uniform) or len(form.step) > 1 or len(form.shape) < 2:
        return form
    turned = Uniform(form.level.movedim(0, -1).contiguous(), form.step, form.low, form.high)
    saved = size_bytes(form.lower(coder), coder) - size_bytes(turned.lower(coder), coder)
    return Columns(turned) if saved > ORDER_BYTES else form
