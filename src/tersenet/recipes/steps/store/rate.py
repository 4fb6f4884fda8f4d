"""Weights trained for the task and for their coded size at once, as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt, Le, Lt
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.forms import Dct, Form, Latent, RateStep, Uniform
from tersenet.forms._grid import usable_step
from tersenet.forms._order import one_step
from tersenet.forms._rate import MOST
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.latent import settle
from tersenet.methods.oneshot import MIDDLE
from tersenet.methods.select import replace_form, select_layers
from tersenet.recipes.steps.base import Changed, Situation
from tersenet.recipes.steps.store.base import Fit, StoreStep
from tersenet.recipes.steps.store.levels import check_varied
from tersenet.training import TrainConfig

# So many points of quality less double the price of a bit.
POINTS_A_DOUBLING = 10
# The first step of a weight without any spread.
NARROW = 2.0**-4


class StoreRate(StoreStep):
    """An integer times a learned step for each weight, trained with the price of its coded bits in the loss.

    After Oktay et al. 2020, arXiv:1906.06624; zeros, whole rows and columns of them too, come about by themselves where
    they save more bits than they cost. A weight that lies on a grid of one step already goes on from it.
    """

    keeps_zeros: ClassVar[bool] = False
    goes_on: ClassVar[bool] = True
    form: Literal["rate"]
    rate: Annotated[float, Gt(0)] = Field(1.0, description="price of a bit; 1 is ln 2 / training examples")
    target: Annotated[int, Gt(0)] | None = Field(
        None,
        description="bytes of coded weights that the price, beginning at rate, leads to; header and op list come on top",
    )
    warmup: Annotated[float, Gt(0), Lt(1)] | Literal[0] = Field(
        0.2, description="share of the training in which the price rises from 0"
    )
    step: Annotated[float, Gt(0), Le(16)] = Field(1.0, description="the first step, in standard deviations")
    dct: bool = Field(False, description="kernels of convolutions are held in their frequencies")
    vectors: bool = Field(True, description="biases and normalisation too, where `where` is every layer")
    train: TrainConfig = Field(description="how long and how fast")

    @model_validator(mode="after")
    def _trains(self) -> StoreRate:
        if not self.train.epochs:
            raise ValueError("the form rate is made by training; give train, with epochs")
        if self.calibrate:
            raise ValueError("the form rate is made by training, not from calibrated layers; drop calibrate")
        regularise = self.train.regularise
        if regularise.rate or regularise.target or regularise.warmup_epochs:
            raise ValueError(
                "rate, target and warmup of this step are those of its training; drop them from regularise"
            )
        return self

    def label(self, stage: int) -> str:
        return f"rate {self.rate:g}"

    def train_config(self, stage: int) -> TrainConfig:
        rated = {"rate": self.rate, "target": self.target, "warmup_epochs": self.warmup * self.train.epochs}
        return self.train.model_copy(update={"regularise": self.train.regularise.model_copy(update=rated)})

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        return lambda weight: self._latent(weight, network.form(layer.weight))

    def change(self, network: Network, at: Situation) -> Changed:
        layers = select_layers(network, self.where)
        check_varied(network, layers)
        names = [layer.weight for layer in layers]
        if self.vectors and self.where == "*":
            names += _vectors(network)
        for name in names:
            replace_form(network, name, self._latent(network.dense(name), network.form(name)))
        return network, []

    def _latent(self, weight: Tensor, held: object) -> Form:
        """Latent weights, or frequencies, that begin where the weight is."""
        if self.dct:
            inside = held.coefficients if isinstance(held, Dct) else None
            return Dct.fit(weight, coefficients=lambda values: _latent(values, self.step, inside or held))
        return _latent(weight, self.step, held)

    def settle(self, network: Network, at: Situation) -> Changed:
        notes = [] if self.target is None else [_price_reached(network, self.rate)]
        settle(network)
        return network, notes

    def at_quality(self, quality: float) -> StoreRate:
        """At MIDDLE the price, or the target, is the one given."""
        return self._coarser(2.0 ** ((MIDDLE - quality) / POINTS_A_DOUBLING))

    def gentler(self) -> StoreRate:
        return self._coarser(0.5)

    def _coarser(self, factor: float) -> StoreRate:
        if self.target is not None:
            return self.model_copy(update={"target": max(round(self.target / factor), 1)})
        return self.model_copy(update={"rate": self.rate * factor})


def _price_reached(network: Network, begun: float) -> str:
    quantiser = next(one for one in network.modules() if isinstance(one, RateStep))
    return f"the price of a bit went from {begun:g} to {begun * float(quantiser.markup.exp()):.3g}"


def _vectors(network: Network) -> list[str]:
    """Biases, and the factors and shifts of normalisation: what no layer multiplies with and has one axis alone."""
    weights = {layer.weight for layer in network.weighted_layers()}
    found = []
    for name, dtype in network.graph.parameters.items():
        if dtype == "float32" and name not in weights and name not in network.graph.buffers:
            tensor = network.dense(name)
            if tensor.numel() == max(tensor.shape, default=0):
                found.append(name)
    return found


def _latent(weight: Tensor, deviations: float, held: object) -> Form:
    """Latent weights that begin where the weight is."""
    step = one_step(held)
    if step is None:
        spread = float(weight.double().std(correction=0)) or float(weight.double().abs().mean()) or NARROW
        step = torch.tensor([max(deviations * spread, float(weight.abs().max()) / MOST)])
    return Latent(weight, RateStep(Uniform.on_grid(weight, usable_step(step).to(weight.device))))
