"""What layers inside a network give, seen while it runs.

READ FIRST
  1. Of an nn.Module the layers are its modules, and a layer's output is what the module returns, the last time it is
     called in a pass.
  2. Of a Network they are the weighted layers. A layer's output is that of its operation with what follows before
     anything else reads it: BatchNorm, activations, sums. So the last convolution of a residual block gives the block.
  3. Looking changes nothing: no hook outlives the pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.graph.shapes import SAME
from tersenet.ir import Value

FOLLOWED = SAME | {"add"}


class Inside:
    """A network, and those of its layers that are looked at."""

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        self.network = network
        known = _positions(network) if isinstance(network, Network) else dict(network.named_modules())
        self._layers: dict[str, Any] = {}
        for name in dict.fromkeys(names):
            if name not in known or not name:
                close = difflib.get_close_matches(name, known, 3, 0.4) or [one for one in known if one][:8]
                raise TersenetError(f"there is no layer '{name}'; near it are {', '.join(close)}")
            self._layers[name] = known[name]

    def run(self, *inputs: Tensor) -> tuple[Any, dict[str, Any]]:
        """What the network answers, and by name what its layers gave."""
        found: dict[str, Any] = {}
        if isinstance(self.network, Network):
            # Several names may stand for one place, as the two ends of a sum do.
            names: dict[int, list[str]] = {}
            for name, position in self._layers.items():
                names.setdefault(position, []).append(name)

            def watcher(here: list[str]) -> Any:
                return lambda source, output: found.update(dict.fromkeys(here, output))

            answer = self.network.watch(inputs, {position: watcher(here) for position, here in names.items()})
        else:

            def hook(name: str) -> Any:
                return lambda module, given, output: found.__setitem__(name, output)

            handles = [module.register_forward_hook(hook(name)) for name, module in self._layers.items()]
            try:
                answer = self.network(*inputs)
            finally:
                for handle in handles:
                    handle.remove()
        absent = [name for name in self._layers if name not in found]
        if absent:
            raise TersenetError(f"layer '{absent[0]}' was not run; name one that the network uses")
        return answer, found


@torch.no_grad()
def layer_shapes(network: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape, without the batch, of what each layer gives, in the order in which the layers are done.

    Left out: what gives no floating tensor of the batch, and what gives the network's answer.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        names = list(_positions(network)) if isinstance(network, Network) else _run_modules(network, example)
        answer, found = Inside(network, names).run(example)
    finally:
        for module, training in modes.items():
            module.training = training
    order = {name: number for number, name in enumerate(names)}
    kept = [
        name
        for name in sorted(found, key=order.__getitem__)
        if isinstance(found[name], Tensor)
        and found[name] is not answer
        and found[name].is_floating_point()
        and found[name].ndim > 1
        and len(found[name]) == len(example)
    ]
    return {name: tuple(found[name].shape[1:]) for name in kept}


def _run_modules(network: nn.Module, example: Tensor) -> list[str]:
    """Names of all modules that a pass goes through, in the order in which they are done for the last time."""
    done: dict[str, None] = {}

    def hook(name: str) -> Any:
        def note(module: nn.Module, given: Any, output: Any) -> None:
            done.pop(name, None)
            done[name] = None

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules() if name]
    try:
        network(example)
    finally:
        for handle in handles:
            handle.remove()
    return list(done)


def _positions(network: Network) -> dict[str, int]:
    """Where the output of each weighted layer is computed: the position of a node, in rising order."""
    graph = network.graph
    readers: dict[int, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        for tensor in node.tensors():
            if isinstance(tensor, Value):
                readers.setdefault(tensor.number, []).append(position)
    answers = {output.number for output in graph.outputs}
    found = {}
    for layer in network.weighted_layers():
        position = layer.index
        while True:
            value = graph.first_value(position)
            following = readers.get(value, [])
            if value in answers or len(following) != 1 or graph.nodes[following[0]].op not in FOLLOWED:
                break
            position = following[0]
        found[layer.name] = position
    return dict(sorted(found.items(), key=lambda item: item[1]))
