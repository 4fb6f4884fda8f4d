"""Static ranges: what layers multiply becomes integers on a grid that is fixed beforehand, from a few inputs.

After Jacob et al. 2018, arXiv:1712.05877, sections 2.1 and 3.1: r = S q with q of so many bits; the S of each value comes
from what it was seen to be. The zero point is 0, so that a zero stays one: levels run from 0 up where nothing seen is
negative, else to both sides, as the runtime's eight-bit kernels have them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tersenet.calibration.batches import checked_inputs
from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.graph.patterns import choose
from tersenet.graph.rounding import ROUNDS, Grid, maker, read_value, round_inputs

INTEGER_OPS = ("linear", "conv1d", "conv2d")
# Of one value and batch, looked at for a percentile.
MOST_SEEN = 1 << 16


def round_activations(
    network: Network, where: str, batches: Iterable[Any], *, bits: int = 8, percentile: float = 100.0
) -> tuple[Network, list[str]]:
    """The network with the inputs of its layers rounded to `bits`, and what a user should know.

    where        patterns of layers; those that the runtime multiplies as integers take part: linear layers and
                 convolutions but for those with one input channel a group
    batches      inputs that stand for all others; labels behind them stay unread
    percentile   of the magnitudes seen that lie inside the range; the others go to its end. 100: from end to end

    A layer whose input is rounded already, or is stored, stays as it is. It trains on: gradients pass the rounding
    unchanged, and none where a value went to an end.
    """
    if not 50 < percentile <= 100:
        raise TersenetError(f"percentile {percentile:g}; give one above 50, up to 100 for the whole range")
    found = [layer for layer in choose(network.weighted_layers(), where) if _multiplies_integers(network, layer)]
    places = {layer.index: read_value(network, layer.index) for layer in found}
    open_places = {
        index: value for index, value in places.items() if value is not None and not _rounded(network, value)
    }
    if not open_places:
        return network, [f"no layer that '{where}' names reads a value that could be rounded; nothing was changed"]
    seen = _seen(network, open_places, batches)
    grids = {index: _grid(seen[value], bits, percentile) for index, value in open_places.items()}
    dead = [layer.name for layer in found if layer.index in grids and grids[layer.index] is None]
    usable = {index: grid for index, grid in grids.items() if grid is not None}
    notes = [f"{', '.join(dead)}: nothing but zeros came in; left as they are"] if dead else []
    return round_inputs(network, usable), notes


def _multiplies_integers(network: Network, layer: WeightedLayer) -> bool:
    single = layer.op != "linear" and network.dense(layer.weight).shape[1] == 1
    return layer.op in INTEGER_OPS and not single


def _rounded(network: Network, value: int) -> bool:
    node = maker(network, value)
    return node is not None and node.op == ROUNDS


class _Range:
    """The least value seen, and magnitudes, at most MOST_SEEN of each batch."""

    def __init__(self) -> None:
        self.least, self.most, self.magnitudes = 0.0, 0.0, list[Tensor]()

    def add(self, given: Tensor) -> None:
        values = given.detach().flatten().float()
        self.least = min(self.least, float(values.min()))
        self.most = max(self.most, float(values.abs().max()))
        self.magnitudes.append(values[:: -(-len(values) // MOST_SEEN)].abs().cpu())


def _seen(network: Network, places: dict[int, int], batches: Iterable[Any]) -> dict[int, _Range]:
    """By number of the value, in eval mode."""
    ranges = {value: _Range() for value in places.values()}
    first = {value: index for index, value in reversed(places.items())}
    watchers = {index: _watcher(ranges[value]) for value, index in first.items()}
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad(), network.frozen_weights():
            for inputs in checked_inputs(network, batches):
                network.watch(inputs, watchers)
    finally:
        for module, training in modes.items():
            module.training = training
    return ranges


def _watcher(range_: _Range) -> Any:
    def watch(given: Tensor, result: Tensor) -> None:
        if not torch.isfinite(given).all():
            raise TersenetError("a layer meets NaN or infinite values; look at the weights and the data")
        if given.numel():
            range_.add(given)

    return watch


def _grid(seen: _Range, bits: int, percentile: float) -> Grid | None:
    """Levels from 0 to 2^bits - 1, or from -2^(bits - 1) to 2^(bits - 1) - 1; None where there were but zeros."""
    signed = seen.least < 0
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    most = seen.most
    if percentile < 100:
        together = torch.cat(seen.magnitudes)
        most = float(together.kthvalue(max(1, round(percentile / 100 * len(together)))).values) or seen.most
    # As float32, which is what computes with it.
    scale = float(torch.tensor(most / high, dtype=torch.float32))
    return Grid(scale, low, high) if scale > torch.finfo(torch.float32).tiny else None
