"""Inputs of other heights and widths than the captured ones: which run, and what to say of the others."""

from __future__ import annotations

from collections.abc import Sequence

from tersenet.errors import TersenetError
from tersenet.graph.network import Network
from tersenet.graph.shapes import value_shapes
from tersenet.ir.sizes import PICTURE_DIMS, fixed_by


def check_sizes(network: Network, shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse inputs of these shapes, batch first, where the network cannot run on them."""
    given = network.graph.inputs
    for one, shape in zip(given, shapes):
        expected = f"expected (batch, {', '.join(map(str, one.shape))})"
        picture = len(one.shape) == PICTURE_DIMS and len(shape) == 1 + PICTURE_DIMS and shape[1] == one.shape[0]
        if shape[1:] == one.shape:
            continue
        why = fixed_by(network.graph) if picture else ""
        if why or not picture:
            more = f"; other heights and widths do not run: {why}" if why else ""
            raise TersenetError(f"input '{one.name}' has shape {tuple(shape)}; {expected}{more}")
    try:
        value_shapes(network, inputs=[tuple(shape[1:]) for shape in shapes])
    except RuntimeError as error:
        sizes = ", ".join("x".join(map(str, shape[2:])) for shape in shapes if len(shape) == 1 + PICTURE_DIMS)
        raise TersenetError(
            f"pictures of {sizes} do not run through this network: {str(error).splitlines()[0]}; larger ones may"
        ) from error
