"""Penalties on weights: l1, l2, the norms that take whole neurons away (Pan et al. 2016, arXiv:1606.07326), coded bits.

READ FIRST
  1. Which weights are penalised is settled before training; what each is, as the layer uses it, is computed anew at
     each step, from its form where it has one.
  2. A weight comes once, also where layers share it. Biases and normalisations, which have fewer than two
     dimensions, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.forms import Latent, RateStep
from tersenet.graph import Network, WeightedLayer
from tersenet.graph.patterns import choose
from tersenet.training.config import Regularise
from tersenet.training.errors import TrainingError

# What the layers of an nn.Module are called on the op list.
_OPS = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.Conv3d: "conv3d",
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.ConvTranspose3d: "conv_transpose3d",
    nn.Embedding: "embedding",
}

# How the price of a bit follows the bits: by a tenth at once where there are a tenth too many, and by a 14th more in each
# epoch that they stay. Errors count as half of the bits at most, so that the price does not run ahead of the weights.
INTEGRAL = 0.7
ERROR = 0.5


def neuron_norms(
    weight: Tensor, op: str, groups: int = 1
) -> tuple[Float[Tensor, " outputs"], Float[Tensor, " inputs"]]:
    """The L2 norm of all weights into each output of a layer, and of all weights out of each of its inputs.

    Outputs and inputs are neurons of a linear layer, channels of a convolution. The norm of zeros has the gradient 0.
    """
    parts = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    first = torch.linalg.vector_norm(parts, dim=(2, 3)).flatten()
    second = torch.linalg.vector_norm(parts, dim=(1, 3)).flatten()
    inputs_first = op == "embedding" or op.startswith("conv_transpose")
    return (second, first) if inputs_first else (first, second)


def distance_from_levels(weight: Tensor) -> Float[Tensor, ""]:
    """The sum of u^2 (1 - u^2) for u = |w| / a up to 1, and of 2 (u - 1) beyond, which drives back as steeply.

    a is the mean of those |w| of a row that are above 0.7 times the mean of all (Li et al. 2016, arXiv:1605.04711,
    eq. 5 and 6): the scale that the row would be rounded with.
    """
    size = weight.flatten(1).abs()
    fixed = size.detach()
    kept = fixed >= 0.7 * fixed.mean(1, keepdim=True)
    scale = (fixed * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)
    u = size / scale.clamp(min=torch.finfo(size.dtype).tiny)
    return torch.where(u <= 1, u.square() * (1 - u.square()), 2 * (u - 1)).sum()


@dataclass(frozen=True)
class StoredWeight:
    """A weight of two or more dimensions, and where a model holds it."""

    layer: WeightedLayer
    groups: int
    module: nn.Module
    attribute: str

    def value(self) -> Tensor:
        """The weight as the layer uses it; differentiable."""
        weight: Tensor = getattr(self.module, self.attribute)
        return weight


class Penalty:
    """What `regularise` adds to the loss of a model.

    examples   of the training data, None where they are not known: what a bit is shared among
    steps      of an epoch
    """

    def __init__(
        self, model: nn.Module, regularise: Regularise, examples: int | None = None, steps: int | None = None
    ) -> None:
        self.regularise = regularise
        shaped = any((regularise.l1, regularise.l2, regularise.li, regularise.lo, regularise.polarise))
        self.weights = _chosen(model, regularise.where) if shaped else []
        self.rated = _rated(model) if regularise.rate else []
        if self.rated and not examples:
            raise TrainingError(
                "rate shares the price of a bit among the training examples, and how many there are is not known; "
                "train on a split or on a loader with a length"
            )
        self.bit = regularise.rate * math.log(2.0) / examples if examples else 0.0
        self.epoch_steps = steps or 1

    def __call__(self, time_epochs: float | Tensor) -> Float[Tensor, ""] | None:
        """The penalty `time_epochs` after the start of training, or None where there is none.

        A time that is a tensor is not read, so that a step can be recorded.
        """
        by, warmup = self.regularise, self.regularise.warmup_epochs
        share = _share(time_epochs, warmup) if warmup else 1.0
        terms: list[Tensor] = []
        if isinstance(share, float) and share == 0:
            return None
        for stored in self.weights:
            weight = stored.value()
            if by.l1:
                terms.append(share * by.l1 * weight.abs().sum())
            if by.l2:
                terms.append(share * by.l2 * weight.square().sum())
            if by.li or by.lo:
                into, out_of = neuron_norms(weight, stored.layer.op, stored.groups)
                terms.append(share * (by.li * into.sum() + by.lo * out_of.sum()))
            if by.polarise:
                terms.append(share * by.polarise * distance_from_levels(weight))
        if self.rated:
            terms.append(self._rate(share))
        return sum(terms[1:], terms[0]) if terms else None

    def _rate(self, share: float | Tensor) -> Float[Tensor, ""]:
        """Bits times their price; with a target the price follows how far they are from where they should be by now.

        It is a controller with a proportional and an integral part, on logarithms. What it remembers is held by the
        first of the weights, so that it is saved with them.
        """
        each = [form.rate_bits() for form in self.rated]
        bits = sum(each[1:], each[0])
        target = self.regularise.target
        if target is None:
            return share * self.bit * bits
        kept = self.rated[0].quantiser
        assert isinstance(kept, RateStep)
        with torch.no_grad():
            now = bits.log()
            kept.began.copy_(torch.where(kept.began > 0, kept.began, now))
            error = (now - kept.began + share * (kept.began - math.log(8.0 * target))).clamp(-ERROR, ERROR)
            kept.markup.add_(INTEGRAL / self.epoch_steps * error)
            price = self.bit * (kept.markup + error).exp()
        return price * bits


def _share(time_epochs: float | Tensor, warmup_epochs: float) -> float | Tensor:
    """How much of the warm-up is done."""
    done = time_epochs / warmup_epochs
    return done.clamp(max=1.0) if isinstance(done, Tensor) else min(done, 1.0)


def _rated(model: nn.Module) -> list[Latent]:
    """The latent weights whose bits can be trained. Refused if there are none."""
    found = [one for one in model.modules() if isinstance(one, Latent) and isinstance(one.quantiser, RateStep)]
    if not found:
        raise TrainingError(
            "rate is set, but no weight has a rate to train; store weights in the form rate, or drop it"
        )
    return found


def _chosen(model: nn.Module, where: str) -> list[StoredWeight]:
    """The weights whose layers a pattern names. Refused if there are none."""
    found = stored_weights(model)
    if not found:
        raise TrainingError("regularise is set, but the network has no weight of two or more dimensions; drop it")
    names = {layer.weight for layer in choose([stored.layer for stored in found], where)}
    return [stored for stored in found if stored.layer.weight in names]


def stored_weights(model: nn.Module) -> list[StoredWeight]:
    """The weight of every layer that multiplies: in forward order where the model is a Network, else as declared."""
    kinds = _kinds(model)
    found: dict[str, StoredWeight] = {}
    for name, module, attribute in _walk(model, "", set()):
        layer = WeightedLayer(name.removesuffix(".weight"), "", name, None, -1)
        layer, groups = kinds.get(name, (layer, 1))
        found[name] = StoredWeight(layer, groups, module, attribute)
    order = {name: number for number, name in enumerate(kinds)}
    return sorted(found.values(), key=lambda stored: order.get(stored.layer.weight, len(order)))


def _kinds(model: nn.Module) -> dict[str, tuple[WeightedLayer, int]]:
    """Layer and groups of every weight whose operation is known."""
    kinds: dict[str, tuple[WeightedLayer, int]] = {}
    if isinstance(model, Network):
        for layer in model.weighted_layers():
            groups = model.graph.nodes[layer.index].get("groups") if layer.op.startswith("conv") else 1
            kinds.setdefault(layer.weight, (layer, groups))
        return kinds
    for number, (name, module) in enumerate(model.named_modules()):
        op = next((op for kind, op in _OPS.items() if isinstance(module, kind)), None)
        if op is not None:
            weight = f"{name}.weight" if name else "weight"
            kinds[weight] = (WeightedLayer(name, op, weight, None, number), getattr(module, "groups", 1))
    return kinds


def _walk(module: nn.Module, prefix: str, seen: set[int]) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, module and attribute of each weight. `seen` holds ids of modules and parameters, which live on; never of
    what a form computed.
    """
    if id(module) in seen:
        return
    seen.add(id(module))
    own = {name: None for name, _ in module.named_parameters(recurse=False)}
    below = dict(module.named_children())
    # A form is the child `<name>_form` of its layer; PyTorch itself has `parametrizations` for such weights.
    own.update(dict.fromkeys(name.removesuffix("_form") for name in below if name.endswith("_form")))
    parametrized = below.pop("parametrizations", None)
    if parametrized is not None:
        own.update(dict.fromkeys(name for name, _ in parametrized.named_children()))
    for name in own:
        weight = getattr(module, name)
        if name.startswith("weight") and weight.ndim >= 2 and id(weight) not in seen:
            if isinstance(weight, nn.Parameter):
                seen.add(id(weight))
            yield prefix + name, module, name
    for name, child in below.items():
        if not name.endswith("_form"):
            yield from _walk(child, f"{prefix}{name}.", seen)
