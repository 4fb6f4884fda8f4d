"""Which layers a pattern means: globs over names and operations, "first" and "last"."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from tersenet.errors import TersenetError
from tersenet.graph.network import WeightedLayer


def matches(layer: WeightedLayer, pattern: str, layers: Sequence[WeightedLayer]) -> bool:
    """Whether a pattern names a layer: a glob over its name or its weight's, "op:" and a glob, "first", "last"."""
    if pattern in ("first", "last"):
        return layer.weight == layers[0 if pattern == "first" else -1].weight
    if pattern.startswith("op:"):
        return fnmatchcase(layer.op, pattern[3:])
    return fnmatchcase(layer.name, pattern) or fnmatchcase(layer.weight, pattern)


def choose(layers: Sequence[WeightedLayer], where: str) -> list[WeightedLayer]:
    """Those of the layers that a pattern names, several patterns joined by commas. One that names none is refused."""
    patterns = [pattern.strip() for pattern in where.split(",")]
    for pattern in patterns:
        if not any(matches(layer, pattern, layers) for layer in layers):
            names = [layer.name for layer in layers]
            near = difflib.get_close_matches(pattern.removesuffix(".weight"), names, 3, 0.4) or names[:8]
            raise TersenetError(
                f"no layer matches '{pattern}'; the network has {len(names)} layers with weights, "
                f"for example {', '.join(near)}"
            )
    return [layer for layer in layers if any(matches(layer, pattern, layers) for pattern in patterns)]
