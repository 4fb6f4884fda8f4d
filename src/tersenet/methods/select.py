"""Which weights a step means: patterns over names and operations, and settings by pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tersenet.errors import TersenetError
from tersenet.forms import Form
from tersenet.graph import Network, WeightedLayer
from tersenet.graph.patterns import choose, matches

T = TypeVar("T")


def select_layers(network: Network, where: str) -> list[WeightedLayer]:
    """The layers a pattern names, several patterns joined by commas. Refused if there are none."""
    return choose(list({layer.weight: layer for layer in network.weighted_layers()}.values()), where)


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
