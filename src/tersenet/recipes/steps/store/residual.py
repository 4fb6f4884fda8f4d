"""Rows or sub-vectors as sums of codebook entries, as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field
from torch import Tensor

from tersenet.forms import Form, Residual
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import setting
from tersenet.recipes.steps.base import Bits, Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.clustered import StoreClustered
from tersenet.recipes.steps.store.product import Dim


class StoreResidual(StoreClustered):
    """Each row, or each `dim` neighbours, is the sum of one entry of each of `rounds` codebooks of 2**bits.

    After Gong et al. 2014, arXiv:1412.6115, section 3.4, with codes by beam search (Babenko and Lempitsky 2014).
    """

    form: Literal["residual"]
    bits: Bits | dict[str, Bits] = 8
    rounds: Annotated[int, Ge(1)] | dict[str, Annotated[int, Ge(1)]] = 2
    dim: Dim | dict[str, Dim | None] | None = Field(8, description="weights a sub-vector; null takes whole rows")
    axis: Literal["in", "out"] = Field("in", description="sub-vectors along the rows of the weight, or its columns")
    beam: Annotated[int, Ge(1)] = Field(8, description="partial sums that the search for codes keeps; 1 is greedy")
    dtype: Literal["float32", "float16"] = Field("float32", description="of the codebooks")
    most_bits: ClassVar[int] = 12

    @classmethod
    def over_range(cls) -> tuple[StoreResidual, ...]:
        """From the most bits a weight to the fewest."""
        points = ((4, 3, 8), (4, 2, 8), (8, 3, 8), (8, 2, 8), (8, 2, 6), (16, 2, 8))
        return tuple(
            cls.model_validate({"form": "residual", "dim": dim, "rounds": rounds, "bits": bits})
            for dim, rounds, bits in points
        )

    def label(self, stage: int) -> str:
        return "residual"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        k = 2 ** setting(self.bits, layer, network, "bits")
        dim: int | None = setting(self.dim, layer, network, "dim")
        rounds = setting(self.rounds, layer, network, "rounds")
        importance = self.importance(layer, network, at, notes)

        def fit(weight: Tensor) -> Form:
            made = Residual.fit(
                weight,
                k=k,
                rounds=rounds,
                dim=dim,
                axis=self.axis,
                beam=self.beam,
                table=self.dtype,
                importance=importance,
                seed=at.seed,
            )
            notes.extend(f"{layer.weight}: {sentence}" for sentence in made.remarks(k, dim, rounds))
            return made

        return fit
