"""A fully connected head gives way to global average pooling, after Lin et al. 2014, arXiv:1312.4400, section 3.2.

The new 1x1 convolution starts where it answers most nearly what the old head did: a mean of maps is linear in the
means of the channels they are made from, so least squares find weight and bias at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.calibration.batches import checked_inputs
from tersenet.errors import TersenetError
from tersenet.graph import Affine, DenseHead, Network, dense_head, pooled_head
from tersenet.ir import Parameter
from tersenet.ir.sizes import fixed_by
from tersenet.methods.select import select_layers

# With one fully connected layer among them the answer is linear in the maps.
LINEAR = {"linear", "flatten", "reshape", "squeeze", "dropout"}


def replace_head(
    network: Network, where: str = "*", batches: Iterable[Any] | None = None, *, hidden: int = 0, seed: int = 0
) -> tuple[Network, list[str]]:
    """A network with a head of global average pooling, and what a user should know of it.

    where     names every layer of the old head; one that it leaves out is refused
    batches   inputs, to whose old answers the new head is fitted. A head of one layer on maps of one place needs none:
              it is the new one. Without them, other heads of one layer give its sums over places, others a random start
    hidden    outputs of a further 1x1 convolution with a ReLU before the last one, drawn from `seed`; 0: none
    """
    head = dense_head(network)
    named = {layer.name for layer in select_layers(network, where)}
    left_out = [name for name in head.layers if name not in named]
    if left_out:
        raise TersenetError(
            f"the head is {', '.join(head.layers)}; '{where}' leaves out {', '.join(left_out)}, and a head leaves whole"
        )
    notes = []
    before = _drawn(network, head, hidden, seed) if hidden else None
    start, exact = _of_one_layer(network, head) if before is None else (None, False)
    if batches is not None and not exact:
        start = fitted(network, head, batches, before)
    if start is None:
        start = _random(network, head, hidden or head.channels, seed)
        notes.append("the new head starts at random: no training inputs were looked at")
    made = pooled_head(network, head, start, before)
    notes.append(f"{', '.join(head.layers)} left: {_parameters(network):,} parameters are {_parameters(made):,}")
    why = fixed_by(made.graph)
    return made, [*notes, f"other heights and widths do not run: {why}"] if why else notes


def fitted(network: Network, head: DenseHead, batches: Iterable[Any], hidden: Affine | None = None) -> Affine:
    """The least-squares fit of the old head's answers by the mean of each channel; the smallest of equally good ones.

    hidden   the channels are those that this layer and a ReLU make at each place
    """
    size = (head.channels if hidden is None else len(hidden[0])) + 1
    gram = torch.zeros(size, size, dtype=torch.float64)
    cross = torch.zeros(size, head.classes, dtype=torch.float64)
    seen: dict[str, Tensor] = {}

    def means_of(maps: Tensor) -> Tensor:
        if hidden is not None:
            weight, bias = hidden
            maps = nn.functional.conv2d(maps, weight[:, :, None, None], bias).relu()
        return maps.mean((2, 3)).double().cpu()

    watchers = {
        min(head.nodes): lambda maps, _: seen.update(means=means_of(maps)),
        max(head.nodes): lambda _, answers: seen.update(answers=answers.double().cpu()),
    }
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with network.frozen_weights():
            for inputs in checked_inputs(network, batches):
                network.watch(inputs, watchers)
                means = nn.functional.pad(seen["means"], (0, 1), value=1.0)
                gram += means.T @ means
                cross += means.T @ seen["answers"]
    finally:
        for module, training in modes.items():
            module.training = training
    both = torch.linalg.lstsq(gram, cross, driver="gelsd").solution.T.to(_last_weight(network, head))
    return both[:, :-1], both[:, -1]


def _of_one_layer(network: Network, head: DenseHead) -> tuple[Affine | None, bool]:
    """A head of one layer as a start: the sum of its weights over places; and whether that answers the same."""
    nodes = [network.graph.nodes[position] for position in head.nodes]
    weight = _last_weight(network, head)
    if len(head.layers) > 1 or not {node.op for node in nodes} <= LINEAR:
        return None, False
    bias = network.graph.nodes[max(head.nodes)].get("bias")
    shift = network.dense(bias.name) if isinstance(bias, Parameter) else weight.new_zeros(head.classes)
    by_place = weight.reshape(head.classes, head.channels, -1)
    return (by_place.sum(2), shift), by_place.shape[2] == 1


def _last_weight(network: Network, head: DenseHead) -> Float[Tensor, "classes features"]:
    return network.dense(f"{head.layers[-1]}.weight")


def _drawn(network: Network, head: DenseHead, outputs: int, seed: int) -> Affine:
    """A layer that keeps a ReLU's signal (He et al. 2015, arXiv:1502.01852, eq. 10)."""
    generator = torch.Generator().manual_seed(seed)
    like = _last_weight(network, head)
    weight = torch.randn(outputs, head.channels, generator=generator) * (2 / head.channels) ** 0.5
    return weight.to(like), like.new_zeros(outputs)


def _random(network: Network, head: DenseHead, inputs: int, seed: int) -> Affine:
    """As PyTorch starts a convolution: uniform within the root of the reciprocal of its inputs."""
    generator = torch.Generator().manual_seed(seed)
    like = _last_weight(network, head)
    weight = (2 * torch.rand(head.classes, inputs, generator=generator) - 1) / inputs**0.5
    return weight.to(like), like.new_zeros(head.classes)


def _parameters(network: Network) -> int:
    return sum(network.dense(name).numel() for name in network.graph.parameters if name not in network.graph.buffers)
