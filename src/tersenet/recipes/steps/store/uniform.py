"""Integers times a step, as a step."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.calibration import collect, sample_batches
from tersenet.errors import TersenetError
from tersenet.forms import Binary, Form, Latent, LearnedStep, Sparse, Uniform
from tersenet.forms._grid import group_width
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import setting
from tersenet.recipes.steps.base import Setting, Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.levels import Per, StoreLevels

UniformBits = Annotated[int, Ge(1), Le(8)]
CALIBRATION_BATCH = 64


class StoreUniform(StoreLevels):
    """An integer of `bits` bits times a step (Jacob et al. 2018); in training dense weights and the step learn
    (Esser et al. 2020).

    range   minmax; percentile (99.9); mse, the least squared error; hessian, the least error of the layer's outputs
            on `examples` training inputs; exact, for weights that lie on such a grid to the last bit
    """

    form: Literal["uniform"]
    bits: UniformBits | dict[str, UniformBits] = 8
    per: Per = "row"
    symmetric: bool = Field(True, description="levels on both sides of 0; otherwise an integer zero point")
    range: Literal["minmax", "percentile", "mse", "hessian", "exact"] = "mse"
    examples: Annotated[int, Ge(2)] = Field(256, description="training inputs for the range hessian")

    @model_validator(mode="after")
    def _exact_stays(self) -> StoreUniform:
        if self.range == "exact" and self.latent:
            raise ValueError("latent weights leave the grid that range exact has found; drop one of them")
        return self

    @property
    def needs_data(self) -> bool:
        return self.range == "hessian" or super().needs_data

    @property
    def learns_latently(self) -> bool:
        return super().learns_latently and self.range != "exact"

    @classmethod
    def over_range(cls) -> tuple[StoreUniform, ...]:
        return tuple(cls.model_validate({"form": "uniform", "bits": bits}) for bits in range(8, 0, -1))

    def label(self, stage: int) -> str:
        return f"uniform, {self.bits} bits" if isinstance(self.bits, int) else "uniform"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        bits = setting(self.bits, layer, network, "bits")
        weight = network.dense(layer.weight)
        sparse = isinstance(network.form(layer.weight), Sparse)
        if isinstance(self.per, int) and not sparse:
            width = weight[0].numel()
            if group_width(width, self.per) < min(self.per, width):
                notes.append(
                    f"{layer.weight}: rows of {width} weights fall into groups of {group_width(width, self.per)}"
                )
        if bits == 1 and self.symmetric and self.range != "exact":
            return partial(Binary.fit, per=self.per)
        importance = None
        if self.range == "hessian":
            importance = None if sparse else _importance(network, layer, at, self.examples)
            if importance is None:
                why = "pruned" if sparse else f"of {layer.op}"
                notes.append(f"{layer.weight}: {why}, so its range has the least squared error of its own weights")
        by = "mse" if self.range == "hessian" and importance is None else self.range

        def fit(values: Tensor) -> Form:
            try:
                return Uniform.fit(
                    values, bits=bits, per=self.per, symmetric=self.symmetric, range=by, importance=importance
                )
            except TersenetError as error:
                raise TersenetError(f"{layer.weight}: {error}") from error

        return fit

    def learning(self, layer: WeightedLayer, network: Network, fit: Fit) -> Fit:
        bits = setting(self.bits, layer, network, "bits")
        if bits == 1 and self.symmetric:
            return super().learning(layer, network, fit)

        def learn(values: Tensor) -> Form:
            start = fit(values)
            assert isinstance(start, Uniform)
            return Latent(values, LearnedStep(start))

        return learn

    def with_table(self, setting: Setting, table: dict[str, Any]) -> StoreUniform | None:
        return StoreUniform(**self.model_dump() | {"bits": table}) if setting == "bits" else None

    def gentler(self) -> StoreUniform | None:
        bits = {"*": self.bits} if isinstance(self.bits, int) else self.bits
        if all(width >= 8 for width in bits.values()):
            return None
        return self.model_copy(update={"bits": {pattern: min(width + 1, 8) for pattern, width in bits.items()}})


def _importance(network: Network, layer: WeightedLayer, at: Situation, examples: int) -> Tensor | None:
    """The mean square of what each weight is multiplied with, as a matrix of the weight's rows and columns."""
    if layer.op in ("embedding", "conv_transpose2d"):
        return None
    batches = sample_batches(at.train, examples, CALIBRATION_BATCH, at.seed)
    met = collect(network, batches, [layer.name])[layer.name]
    squares = met.input_norm.square() / met.count
    rows = network.dense(layer.weight).shape[0]
    return squares.repeat_interleave(rows // len(squares), 0)
