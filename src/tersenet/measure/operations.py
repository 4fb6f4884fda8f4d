"""Multiply-adds of every layer, dense and as far as its weights and inputs are not zero."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.graph.layer import FORM
from tersenet.measure._follow import Follow, memory, run, zeros

aten = torch.ops.aten
OTHERS = "other tensors"
"""The row of what is no weight of a layer: normalisations, running statistics, tables. No module has such a name."""


@dataclass(frozen=True, kw_only=True)
class LayerOperations:
    """One layer that multiplies or holds a weight. Two layers that share a weight are one.

    weights         elements of its weight; nonzeros of them are not zero
    biases          elements of its bias
    macs_dense      multiply-adds for one example
    weight_bytes    what weight and bias take in memory
    input_density   share of its inputs that are not zero; 1 unless given or measured
    """

    name: str
    weights: int
    nonzeros: int
    biases: int
    macs_dense: int
    weight_bytes: int
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
        if not self.weights:
            return self.macs_dense * self.input_density
        # Multiplied first: whole numbers of multiply-adds stay whole.
        return self.macs_dense * self.nonzeros / self.weights * self.input_density

    @property
    def flops_dense(self) -> int:
        """A multiply and an add each."""
        return 2 * self.macs_dense

    @property
    def flops_effective(self) -> float:
        return 2 * self.macs_effective


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The layers in the order in which they multiply, then those that do not, and their sums: nothing is left out."""

    layers: tuple[LayerOperations, ...]

    def __iter__(self) -> Iterator[LayerOperations]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> LayerOperations:
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def nonzeros(self) -> int:
        return sum(layer.nonzeros for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)

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
        self._check_names(density)
        before = [1.0, *(density.get(layer.name, 1.0) for layer in self.layers)]
        return self.with_input_density({layer.name: d for layer, d in zip(self.layers, before, strict=False)})

    def with_input_density(self, density: Mapping[str, float]) -> "Operations":
        """The same with the share of each layer's inputs that are not zero; layers that are not named stay."""
        self._check_names(density)
        return Operations(
            layers=tuple(replace(one, input_density=density.get(one.name, one.input_density)) for one in self.layers)
        )

    def _check_names(self, density: Mapping[str, float]) -> None:
        unknown = sorted(set(density) - {layer.name for layer in self.layers})
        if unknown:
            raise TersenetError(
                f"no layer is called {', '.join(unknown)}; there are {', '.join(layer.name for layer in self.layers)}"
            )
        for name, share in density.items():
            if not 0 <= share <= 1:
                raise TersenetError(f"a density of {share} for layer {name}; expected a share of 0 to 1")


def count_operations(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    *,
    inputs: tuple[Tensor, ...] | None = None,
    activation_density: Mapping[str, float] | None = None,
) -> Operations:
    """Run `model` once on zeros of `input_shape` (without the batch axis), or on `inputs`, and count.

    Every convolution and matrix product counts, wherever it is called. Its weight is the operand that does
    not depend on the input; a product of two that do (attention) has none. What does not depend on the input at all
    is computed once, not for each example, and is not counted.
    """
    if (input_shape is None) == (inputs is None):
        raise TersenetError("count_operations takes either input_shape or inputs")
    if inputs is None:
        assert input_shape is not None
        inputs = zeros(model, (1, *input_shape))
    if isinstance(model, Network):
        model = Network(model.graph, model.tensors())
    counter = _Counter(model, inputs)
    run(model, inputs, counter)
    batch = len(inputs[0])
    layers = tuple(replace(layer, macs_dense=layer.macs_dense // batch) for layer in counter.layers.values())
    operations = Operations(layers=(*layers, *_beside(model, counter)))
    return operations if activation_density is None else operations.with_activation_density(activation_density)


def measure_input_density(model: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> dict[str, float]:
    """The share of each layer's inputs that are not zero, over all batches of the model's inputs.

    Zeros around an image are no inputs. Products of two activations are left out.
    """
    met: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for inputs in batches:
        if not all(bool(torch.isfinite(one).all()) for one in inputs):
            raise TersenetError("inputs with NaN or infinite values came; clean the data first")
        counter = _Counter(model, inputs)
        run(model, inputs, counter)
        for name, (nonzeros, elements) in counter.met.items():
            met[name][0] += nonzeros
            met[name][1] += elements
    if not met:
        raise TersenetError("no density could be measured: there was no batch, or no layer multiplies its input")
    return {name: nonzeros / max(elements, 1) for name, (nonzeros, elements) in met.items()}


class _Counter(Follow):  # type: ignore[no-untyped-call]
    """Adds up products by layer.

    met        non-zeros and elements of each layer's inputs
    used       where the stored tensors lie that were part of a product
    computed   layers whose weight is computed from what is stored
    """

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(model, inputs)
        self.layers: dict[str, LayerOperations] = {}
        self.met: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.used: set[int] = set()
        self.computed: set[str] = set()

    def seen(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        product = _product(packet, args, result)
        if product is None:
            return
        macs, operands, bias = product
        met = next((tensor for tensor in operands if self.live(tensor)), None)
        if met is None:  # only what is added depends on the input
            return
        weight = next((tensor for tensor in operands if not self.live(tensor)), None)
        bias = None if bias is None or self.live(bias) else bias
        name = self._name(weight) if weight is not None else f"{self.layer()}.product".lstrip(".")
        known = self.layers.get(name)
        if known is None:
            known = self._row(name, weight, bias)
        self.layers[name] = replace(known, macs_dense=known.macs_dense + macs)
        if weight is not None:
            self.met[name][0] += int(torch.count_nonzero(met))
            self.met[name][1] += met.numel()

    def _row(self, name: str, weight: Tensor | None, bias: Tensor | None) -> LayerOperations:
        parts = [self._whole(name, weight), self._whole(name, bias)]
        weights, biases = (0 if part is None else part.numel() for part in parts)
        return LayerOperations(
            name=name,
            weights=weights,
            nonzeros=0 if parts[0] is None else int(torch.count_nonzero(parts[0])),
            biases=biases,
            macs_dense=0,
            weight_bytes=sum(part.nbytes for part in parts if part is not None),
        )

    def _whole(self, name: str, operand: Tensor | None) -> Tensor | None:
        """The stored tensor behind an operand, which may be a part of it; each is told once."""
        if operand is None:
            return None
        stored = self.whole(operand)
        if stored is None:
            self.computed.add(name)
            return operand
        if memory(stored) in self.used:
            return None
        self.used.add(memory(stored))
        return stored

    def _name(self, weight: Tensor) -> str:
        """The layer's name; a number where neither a module runs nor the weight is stored as it is."""
        name = self.layer(weight)
        if not name:
            name = f"weight {len(self.layers) + 1}"
            self.know(name, weight)
        return name


def _beside(model: nn.Module, counter: _Counter) -> Iterator[LayerOperations]:
    """What no product used: a row for each matrix, such as an embedding, and one for all vectors and buffers."""
    vectors = {"biases": 0, "weight_bytes": 0}
    for name, parameter in model.named_parameters():
        owner, _, last = name.rpartition(".")
        if memory(parameter) in counter.used or _computes(owner, counter.computed):
            continue
        if sum(size > 1 for size in parameter.shape) < 2:
            vectors["biases"] += parameter.numel()
            vectors["weight_bytes"] += parameter.nbytes
            continue
        yield LayerOperations(
            name=owner if last == "weight" and owner else name,
            weights=parameter.numel(),
            nonzeros=int(torch.count_nonzero(parameter)),
            biases=0,
            macs_dense=0,
            weight_bytes=parameter.nbytes,
        )
    vectors["weight_bytes"] += sum(one.nbytes for one in model.buffers() if memory(one) not in counter.used)
    if any(vectors.values()):
        yield LayerOperations(name=OTHERS, weights=0, nonzeros=0, macs_dense=0, **vectors)


def _computes(owner: str, computed: set[str]) -> bool:
    """Whether a module only serves to compute a weight that has a row: a form, or a parametrisation."""
    in_form = any(part.endswith(FORM) for part in owner.split("."))
    return in_form or any(owner == name or owner.startswith(f"{name}.") for name in computed)


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
