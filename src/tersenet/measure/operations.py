"""Multiply-adds of every layer, dense and as far as its weights and inputs are not zero."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.measure._follow import Follow, run, zeros

aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class LayerOperations:
    """One layer that multiplies. Two layers that share a weight are one.

    weights         elements of its weight; nonzeros of them are not zero
    biases          elements of its bias
    macs_dense      multiply-adds for one example
    input_density   share of its inputs that are not zero; 1 unless given
    """

    name: str
    weights: int
    nonzeros: int
    biases: int
    macs_dense: int
    input_density: float = 1.0

    @property
    def parameters(self) -> int:
        return self.weights + self.biases

    @property
    def weight_density(self) -> float:
        return self.nonzeros / self.weights if self.weights else 1.0

    @property
    def macs_effective(self) -> float:
        """macs_dense x weight density x input density (Han et al. 2015, arXiv:1506.02626, table 4)."""
        return self.macs_dense * self.weight_density * self.input_density

    @property
    def flops_dense(self) -> int:
        """A multiply and an add each."""
        return 2 * self.macs_dense

    @property
    def flops_effective(self) -> float:
        return 2 * self.macs_effective


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The layers in the order in which they run, and their sums."""

    layers: tuple[LayerOperations, ...]

    def __iter__(self) -> Iterator[LayerOperations]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> LayerOperations:
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def parameters(self) -> int:
        """Of layers that multiply; normalisations are left out."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def nonzeros(self) -> int:
        return sum(layer.nonzeros for layer in self.layers)

    @property
    def macs_dense(self) -> int:
        return sum(layer.macs_dense for layer in self.layers)

    @property
    def macs_effective(self) -> float:
        return sum(layer.macs_effective for layer in self.layers)

    @property
    def flops_dense(self) -> int:
        return 2 * self.macs_dense

    @property
    def flops_effective(self) -> float:
        return 2 * self.macs_effective

    def with_activation_density(self, density: Mapping[str, float]) -> "Operations":
        """The same with the share of each layer's outputs that are not zero: the inputs of the next one.

        The first layer's input is dense, and so is what follows a layer that is not named.
        """
        unknown = sorted(set(density) - {layer.name for layer in self.layers})
        if unknown:
            raise TersenetError(
                f"no layer is called {', '.join(unknown)}; there are {', '.join(layer.name for layer in self.layers)}"
            )
        before = [1.0, *(density.get(layer.name, 1.0) for layer in self.layers)]
        return Operations(
            layers=tuple(replace(layer, input_density=d) for layer, d in zip(self.layers, before, strict=False))
        )


def count_operations(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    *,
    inputs: tuple[Tensor, ...] | None = None,
    activation_density: Mapping[str, float] | None = None,
) -> Operations:
    """Run `model` once on zeros of `input_shape` (without the batch axis), or on `inputs`, and count.

    Every convolution and matrix product counts, wherever it is called. Its weight is the operand that does
    not depend on the input; a product of two that do (attention) has none.
    """
    if (input_shape is None) == (inputs is None):
        raise TersenetError("count_operations takes either input_shape or inputs")
    if inputs is None:
        assert input_shape is not None
        inputs = zeros(model, (1, *input_shape))
    counter = _Counter(model, inputs)
    run(model, inputs, counter)
    batch = len(inputs[0])
    layers = tuple(replace(layer, macs_dense=layer.macs_dense // batch) for layer in counter.layers.values())
    operations = Operations(layers=layers)
    return operations if activation_density is None else operations.with_activation_density(activation_density)


class _Counter(Follow):  # type: ignore[no-untyped-call]
    """Adds up products by layer."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(model, inputs)
        self.layers: dict[str, LayerOperations] = {}

    def seen(self, packet: Any, args: tuple[Any, ...], result: Any) -> None:
        product = _product(packet, args, result)
        if product is None:
            return
        macs, operands, bias = product
        weight = next((tensor for tensor in operands if not self.live(tensor)), None)
        name = self._name(weight) if weight is not None else f"{self.layer()}.product".lstrip(".")
        known = self.layers.get(name)
        if known is None:
            known = LayerOperations(
                name=name,
                weights=weight.numel() if weight is not None else 0,
                nonzeros=int(torch.count_nonzero(weight)) if weight is not None else 0,
                biases=bias.numel() if bias is not None and not self.live(bias) else 0,
                macs_dense=0,
            )
        self.layers[name] = replace(known, macs_dense=known.macs_dense + macs)

    def _name(self, weight: Tensor) -> str:
        """The layer's name; a number where neither a module runs nor the weight is stored as it is."""
        name = self.layer(weight)
        if not name:
            name = f"weight {len(self.layers) + 1}"
            self.know(name, weight)
        return name


def _product(packet: Any, args: tuple[Any, ...], result: Any) -> tuple[int, list[Tensor], Tensor | None] | None:
    """Multiply-adds, operands and bias of a call, or None if it is no product."""
    if packet is aten.convolution:
        x, weight, bias, transposed = args[0], args[1], args[2], args[6]
        per_place = weight[0].numel()
        return (x if transposed else result).numel() * per_place, [x, weight], bias
    if packet in (aten.mm, aten.bmm):
        return args[0].numel() * args[1].shape[-1], [args[1], args[0]], None
    if packet in (aten.addmm, aten.baddbmm):
        return args[1].numel() * args[2].shape[-1], [args[2], args[1]], args[0]
    if packet in (aten.mv, aten.dot):
        return args[0].numel(), [args[1], args[0]], None
    if "scaled_dot_product" in str(packet):
        query, key, value = args[:3]
        places = query.shape[:-1].numel() * key.shape[-2]
        return places * (query.shape[-1] + value.shape[-1]), [query, key, value], None
    return None
