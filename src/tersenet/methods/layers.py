"""Whole layers and residual branches leave, the one that harms least first, by measured damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tersenet.errors import TersenetError
from tersenet.graph import Bypass, Network, bypass, bypasses
from tersenet.methods.select import select_layers


@dataclass(frozen=True)
class Loss:
    """What left, the quality without it and all that left before, and of how many parts it was the best."""

    part: Bypass
    quality: float
    measured: int


def removable_parts(network: Network, where: str = "*") -> list[Bypass]:
    """The parts all of whose layers `where` names. Refused where there is none."""
    found = _among(network, {layer.name for layer in select_layers(network, where)})
    if not found:
        raise TersenetError(
            f"no layer or residual branch that '{where}' names can leave: a branch is one side of a sum, a layer gives "
            "the shape that it reads, and something with weights must stay"
        )
    return found


def remove_layers(
    network: Network, where: str, count: int, quality: Callable[[Network], float]
) -> tuple[Network, list[Loss]]:
    """A network without `count` parts: each time the one goes without which `quality`, larger is better, is best.

    Every part that is left is measured anew each time. Of equals the first in forward order goes.
    """
    if count < 1:
        raise TersenetError(f"{count} layers or branches are to leave; at least 1 is needed")
    parts = removable_parts(network, where)
    wanted = {layer for part in parts for layer in part.layers}
    losses: list[Loss] = []
    while len(losses) < count:
        if not parts:
            gone = ", ".join(loss.part.name for loss in losses)
            raise TersenetError(
                f"{count} layers or branches are to leave, but after {gone} no other can; ask for fewer"
            )
        scores = [quality(bypass(network, part)) for part in parts]
        best = max(range(len(parts)), key=scores.__getitem__)
        losses.append(Loss(parts[best], scores[best], len(parts)))
        network = bypass(network, parts[best])
        parts = _among(network, wanted)
    return network, losses


def _among(network: Network, wanted: set[str]) -> list[Bypass]:
    return [part for part in bypasses(network) if wanted >= set(part.layers)]
