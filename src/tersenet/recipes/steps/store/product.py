"""Sub-vectors that share the entries of a codebook, as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field
from torch import Tensor

from tersenet.forms import Form, Product
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import setting
from tersenet.recipes.steps.base import Bits, Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.clustered import StoreClustered

Dim = Annotated[int, Ge(1)]


class StoreProduct(StoreClustered):
    """Each `dim` neighbours are one of 2**bits sub-vectors (Gong et al. 2014, arXiv:1412.6115, section 3.3).

    Of a kernel, neighbours along `in` are those of one channel first: dim 9 makes each 3x3 a sub-vector (Stock et al. 2020).
    """

    form: Literal["product"]
    bits: Bits | dict[str, Bits] = 8
    dim: Dim | dict[str, Dim] = Field(4, description="weights a sub-vector; the rest of a row has its own codebook")
    axis: Literal["in", "out"] = Field("in", description="sub-vectors along the rows of the weight, or its columns")
    shared: bool = Field(True, description="one codebook a layer; otherwise one for each place along the axis")
    dtype: Literal["float32", "float16"] = Field("float32", description="of the codebook")
    most_bits: ClassVar[int] = 12

    @classmethod
    def over_range(cls) -> tuple[StoreProduct, ...]:
        """From the most bits a weight to the fewest."""
        points = ((2, 8), (2, 6), (4, 8), (4, 6), (8, 8), (8, 4))
        return tuple(cls.model_validate({"form": "product", "dim": dim, "bits": bits}) for dim, bits in points)

    def label(self, stage: int) -> str:
        return "product"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        k = 2 ** setting(self.bits, layer, network, "bits")
        dim = setting(self.dim, layer, network, "dim")
        importance = self.importance(layer, network, at, notes)

        def fit(weight: Tensor) -> Form:
            made = Product.fit(
                weight,
                k=k,
                dim=dim,
                axis=self.axis,
                shared=self.shared,
                table=self.dtype,
                importance=importance,
                seed=at.seed,
            )
            notes.extend(f"{layer.weight}: {sentence}" for sentence in made.remarks(k, dim))
            return made

        return fit
