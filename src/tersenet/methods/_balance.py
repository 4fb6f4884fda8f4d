"""Steps by channel: finer ones where the loss bends more.

With the loss sum_i S_i t_i^2 and the bits -sum_i log2 t_i, S_i being the curvature of the loss at channel i and t_i its
step, the least loss for given bits has t_i ~ S_i^-1/2 (water-filling). They cost nothing where a scale follows: one step
serves all rows of such a weight, each row is divided by its t_i before rounding, and the scale is multiplied with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from tersenet.graph import Network, WeightedLayer
from tersenet.graph.plan import always_trains
from tersenet.methods._after import line_after
from tersenet.methods._meetings import GEMM, uses
from tersenet.methods.curvature import Outputs, output_curvature

# 1/2 holds for small steps, but many rows are mostly zeros here, and what is lost with a whole row is no noise.
# ResNet-20 at quality 40, 2,000 held-out training images: divergence 0.0273 at 1.708 bits a weight with power 0, 0.0271 at
# 1.677 with 1/4, 0.088 at 1.673 with 1/2.
POWER = 0.25
# Channels that matter less than this share of the largest are as good as dead, and their curvature is noise.
LEAST = 1e-6
# Steps further from their geometric mean than this factor gain nothing more, and their scales take bits.
FARTHEST = 4.0
# Random columns of the loss's second derivative, in place of one for each output.
PROBES = 2


def balance_rows(
    network: Network, batches: Sequence[tuple[Tensor, ...]], outputs: Outputs, seed: int = 0
) -> dict[str, Float64[Tensor, " rows"]]:
    """Divide the rows of each weight that a scale follows by what their steps should differ by; in place.

    The network answers as before, but for rounding of floats. Returns, by weight, what the steps of its rows should
    differ by, within FARTHEST of 1, which is what they were divided by where a scale follows. The last layer is left
    alone: its rows may be classes that the inputs happen to hold or not. Nothing is found where the answers have no
    second derivatives to go by: several of them, integers, or examples that are coupled.
    """
    layers = [layer for layer in network.weighted_layers() if layer.op in GEMM]
    layers = [layer for layer in layers[:-1] if layer.weight != layers[-1].weight]
    found: dict[str, Float64[Tensor, " rows"]] = {}
    if not layers or not _has_curvature(network, batches[0]):
        return found
    for name, curvature in output_curvature(
        network, batches, layers, outputs=outputs, probes=PROBES, seed=seed
    ).items():
        if float(curvature.max()) > 0:
            step = curvature.clamp(min=float(curvature.max()) * LEAST) ** -POWER
            found[name] = (step / step.log().mean().exp()).clamp(1 / FARTHEST, FARTHEST)
    for layer in layers:
        if layer.weight in found and _has_scale(network, layer):
            _divide(network, layer, found[layer.weight])
    return found


def _has_curvature(network: Network, inputs: tuple[Tensor, ...]) -> bool:
    if any(always_trains(node) for node in network.graph.nodes):
        return False
    with torch.no_grad():
        answers = network(*inputs)
    return isinstance(answers, Tensor) and answers.is_floating_point() and answers.ndim > 1


def _has_scale(network: Network, layer: WeightedLayer) -> bool:
    if layer.op not in GEMM or line_after(network, layer).scale is None:
        return False
    return layer.bias is None or uses(network.graph, layer.bias) == 1


def _divide(network: Network, layer: WeightedLayer, step: Float64[Tensor, " rows"]) -> None:
    scale = line_after(network, layer).scale
    assert scale is not None
    for name in (layer.weight, layer.bias):
        if name is not None:
            held = network.dense(name)
            rows = held.double() / step.reshape(-1, *[1] * (held.ndim - 1))
            _set(network, name, rows)
    held = network.dense(scale)
    _set(network, scale, held.double() * step.reshape(held.shape))


def _set(network: Network, name: str, values: Float64[Tensor, "..."]) -> None:
    if network.form(name) is not None:
        network.detach(name)
    network.set_tensor(name, values.to(torch.float32))
