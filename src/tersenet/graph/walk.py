"""A forward pass in the hands of its caller: one node at a time, all batches at once.

For methods that change a network from its input to its output and want to see, at each layer, what the layers before
it have become, at the cost of one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tersenet.graph.network import Network
from tersenet.graph.plan import always_trains, make_plan
from tersenet.ir import Parameter, Value


class Walk:
    """The values of a network in eval mode, node by node, without gradients.

    A stored tensor is read when the node that uses it runs, so that it may change until then. A value stays until
    the last node that reads it has run, so memory is that of one forward pass over all batches together.
    """

    def __init__(self, network: Network, batches: Sequence[tuple[Tensor, ...]]) -> None:
        self.network = network
        self.plan = make_plan(network.graph)
        self.position = 0
        self._values: list[list[Any]] = []
        for inputs in batches:
            values: list[Any] = [None] * self.plan.slots
            values[: len(inputs)] = inputs
            self._values.append(values)

    def fork(self, network: Network) -> Walk:
        """Another pass from here on, with the tensors of `network`, which has the same graph."""
        other = Walk(network, [])
        other.position = self.position
        other._values = [values.copy() for values in self._values]
        return other

    def value(self, value: Value) -> list[Tensor]:
        """A value in each batch; it must have been computed, and still have a reader or be an output."""
        return [values[value.number] for values in self._values]

    def step(self) -> None:
        """Run the next node."""
        node = self.network.graph.nodes[self.position]
        tensors = {one.name: self.network.dense(one.name) for one in node.tensors() if isinstance(one, Parameter)}
        flag = self.plan.flags.get(self.position)
        with torch.no_grad():
            for values in self._values:
                for name, tensor in tensors.items():
                    values[self.plan.tensors[name]] = tensor
                if flag is not None:
                    values[flag] = always_trains(node)
                self.plan.steps[self.position](values)
                for name in tensors:
                    values[self.plan.tensors[name]] = None
                for slot in self.plan.dead[self.position]:
                    values[slot] = None
        self.position += 1
