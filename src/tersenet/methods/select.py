"""Which weights a step means: patterns over names and operations, and settings by pattern."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from tersenet.errors import TersenetError
from tersenet.forms import Form
from tersenet.graph import Network, WeightedLayer

T = TypeVar("T")


def matches(layer: WeightedLayer, pattern: str, layers: list[WeightedLayer]) -> bool:
    """Whether a pattern names a layer: a glob over its name or its weight's, "op:" and a glob, "first", "last"."""
    if pattern in ("first", "last"):
        return layer.weight == layers[0 if pattern == "first" else -1].weight
    if pattern.startswith("op:"):
        return fnmatchcase(layer.op, pattern[3:])
    return fnmatchcase(layer.name, pattern) or fnmatchcase(layer.weight, pattern)


def select_layers(network: Network, where: str) -> list[WeightedLayer]:
    """The layers a pattern names, several patterns joined by commas. Refused if there are none."""
    layers = network.weighted_layers()
    unique = list({layer.weight: layer for layer in layers}.values())
    patterns = [pattern.strip() for pattern in where.split(",")]
    found = [layer for layer in unique if any(matches(layer, pattern, unique) for pattern in patterns)]
    if not found:
        names = [layer.name for layer in unique]
        near = difflib.get_close_matches(where.removesuffix(".weight"), names, 3, 0.4) or names[:8]
        raise TersenetError(
            f"no layer matches '{where}'; the network has {len(names)} layers with weights, for example {', '.join(near)}"
        )
    return found


def setting(value: T | Mapping[str, T], layer: WeightedLayer, network: Network, what: str) -> T:
    """A setting for one layer: the value itself, or that of the first pattern that names the layer."""
    if not isinstance(value, Mapping):
        return value
    layers = network.weighted_layers()
    for pattern, chosen in value.items():
        if any(matches(layer, one.strip(), layers) for one in pattern.split(",")):
            found: T = chosen
            return found
    raise TersenetError(f"{what} names no value for layer '{layer.name}'; its patterns are {', '.join(value)}")


def replace_form(network: Network, name: str, form: Form) -> None:
    """Hold weight `name` by `form`, whatever held it before."""
    if network.form(name) is not None:
        network.detach(name)
    network.attach(name, form)
