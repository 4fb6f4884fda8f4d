"""What a small change of a layer's output does to the loss: factors of the loss's second derivatives, sent back.

READ FIRST
  1. The loss of one example is convex in the network's outputs z, its Hessian there is S S^T. Gauss-Newton takes the
     Hessian in anything earlier for J^T S S^T J, J being the derivative of z: one backward pass for each column of S
     (Schraudolph 2002, https://doi.org/10.1162/08997660260028683). No labels are needed.
  2. classes: cross-entropy, S = diag(sqrt p) - p sqrt(p)^T with p the softmax, because S S^T = diag(p) - p p^T.
     values: mean squared error over K outputs, S = sqrt(2 / K).
  3. Where z has many columns, S r with random signs r stands for them: E[S r r^T S^T] = S S^T (Hutchinson 1990).
  4. Squares are taken example by example, before the sum over a batch. So nothing may couple examples: eval mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.calibration.batches import checked_inputs
from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.graph.plan import always_trains

Outputs = Literal["classes", "values"]
Seen = list[tuple[WeightedLayer, Tensor, Tensor]]
"""A layer, its input, and the gradient at its output, both with the examples as axis 0."""


def sent_back(
    network: Network,
    batches: Iterable[Any],
    layers: Sequence[WeightedLayer],
    *,
    outputs: Outputs,
    probes: int | None,
    seed: int,
) -> Iterator[tuple[int, Iterator[Seen]]]:
    """For each batch its number of examples, and for each column of S what arrives at the layers, one at a time.

    probes   random columns in place of all of them; None takes all
    """
    if probes is not None and probes < 1:
        raise TersenetError(f"{probes} probes; at least 1 is needed, or none for the exact sum")
    network = differentiable(network)
    generator = torch.Generator().manual_seed(seed)
    for inputs in checked_inputs(network, batches):
        seen: dict[int, tuple[Tensor, Tensor]] = {}

        def watcher(index: int, seen: dict[int, tuple[Tensor, Tensor]] = seen) -> Any:
            return lambda given, result: seen.__setitem__(index, (given, result))

        with torch.enable_grad():
            z = checked_output(network.watch(inputs, {layer.index: watcher(layer.index) for layer in layers}), outputs)
        met = [(layer, *seen[layer.index]) for layer in layers]
        yield len(z), _columns(z, met, outputs, probes, generator)


def _columns(
    z: Tensor,
    met: list[tuple[WeightedLayer, Tensor, Tensor]],
    outputs: Outputs,
    probes: int | None,
    generator: torch.Generator,
) -> Iterator[Seen]:
    results = [result for _, _, result in met]
    for column in _factor_columns(z.detach(), outputs, probes, generator):
        back = torch.autograd.grad(z, results, column, retain_graph=True, allow_unused=True)
        yield [(layer, given.detach(), g) for (layer, given, _), g in zip(met, back) if g is not None]


def _factor_columns(
    z: Float[Tensor, "examples outputs *places"], outputs: Outputs, probes: int | None, generator: torch.Generator
) -> Iterator[Float[Tensor, "examples outputs *places"]]:
    """The columns of S for each example, or `probes` random mixtures of them."""
    shape = z.shape[1:]
    if probes is not None:
        for _ in range(probes):
            signs = torch.randint(0, 2, z.shape, generator=generator).to(z) * 2 - 1
            yield _times_factor(z, signs / probes**0.5, outputs)
        return
    for number in range(shape.numel()):
        one = torch.zeros(shape.numel(), dtype=z.dtype, device=z.device)
        one[number] = 1
        yield _times_factor(z, one.reshape(1, *shape).expand_as(z), outputs)


def _times_factor(z: Tensor, r: Tensor, outputs: Outputs) -> Tensor:
    """S r for each example; the loss is a mean over its places."""
    if outputs == "values":
        return r * (2 / z[0].numel()) ** 0.5
    p = z.softmax(1)
    scaled = p.sqrt() * r
    return (scaled - p * scaled.sum(1, keepdim=True)) / z.shape[2:].numel() ** 0.5


def output_diagonal(z: Tensor, outputs: Outputs) -> Tensor:
    """The diagonal of S S^T: second derivatives of an example's loss by each of its outputs."""
    if outputs == "values":
        return torch.full_like(z, 2 / z[0].numel())
    p = z.softmax(1)
    return p * (1 - p) / z.shape[2:].numel()


def differentiable(network: Network) -> Network:
    """A copy in eval mode of which everything is differentiable. Refused where a layer couples its examples."""
    if any(always_trains(node) for node in network.graph.nodes):
        raise TersenetError("a BatchNorm without running statistics couples the examples; their curvatures have no sum")
    return network.clone().eval().requires_grad_()


def checked_output(z: Any, outputs: Outputs) -> Tensor:
    if not isinstance(z, Tensor) or not z.is_floating_point() or z.ndim < 2:
        what = f"shape {tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
        raise TersenetError(f"the network gives {what}; second derivatives need one float tensor (examples, {outputs})")
    if not torch.isfinite(z).all():
        raise TersenetError("the network answers with NaN or infinite values; look at its weights and data")
    return z


def output_curvature(
    network: Network,
    batches: Iterable[Any],
    layers: Sequence[WeightedLayer],
    *,
    outputs: Outputs = "classes",
    probes: int | None = None,
    seed: int = 0,
) -> dict[str, Float[Tensor, " out"]]:
    """By weight: the second derivative of the mean loss by each output channel, places of a channel summed.

    A change that adds noise of variance v to channel i costs v / 2 times its entry.
    """
    count, sums = 0, {layer.weight: torch.zeros(()) for layer in layers}
    for examples, columns in sent_back(network, batches, layers, outputs=outputs, probes=probes, seed=seed):
        count += examples
        for seen in columns:
            for layer, _, g in seen:
                by_channel = g if layer.op != "linear" else g.movedim(-1, 1)
                sums[layer.weight] = sums[layer.weight] + by_channel.double().square().transpose(0, 1).flatten(1).sum(1)
    sizes = {layer.weight: len(network.dense(layer.weight)) for layer in layers}
    return {name: (total / count).expand(sizes[name]) for name, total in sums.items()}
