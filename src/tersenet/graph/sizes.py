"""Inputs of other heights and widths than the captured ones: whether a network runs on them."""

from __future__ import annotations

from collections.abc import Sequence

from tersenet.errors import TersenetError
from tersenet.graph.network import Network
from tersenet.graph.shapes import value_shapes
from tersenet.ir.sizes import resized


def check_sizes(network: Network, shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse inputs of these shapes, each of one example, where the network cannot run on them."""
    resized(network.graph, shapes)
    try:
        value_shapes(network, inputs=shapes)
    except RuntimeError as error:
        sizes = ", ".join("x".join(map(str, shape)) for shape in shapes)
        raise TersenetError(
            f"inputs of {sizes} do not run through this network: {str(error).splitlines()[0]}"
        ) from error
