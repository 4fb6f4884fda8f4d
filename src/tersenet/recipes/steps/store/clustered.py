"""What the steps share whose forms are found by k-means: bits of a code, and what each weight counts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field
from torch import Tensor

from tersenet.calibration import sample_batches
from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.importance import input_importance
from tersenet.methods.share import as_kept
from tersenet.recipes.steps.base import Bits, Setting, Situation
from tersenet.recipes.steps.store.base import StoreStep

BATCH = 125
# Of the mean importance, added to each.
DAMPING = 0.01


class StoreClustered(StoreStep):
    """2**bits entries a codebook, of least error in the weights as they are `weighted`."""

    bits: Bits | dict[str, Bits]
    weighted: Literal["none", "magnitude", "hessian"] = Field(
        "none", description="hessian: by the mean square of the training inputs each weight meets"
    )
    examples: Annotated[int, Ge(2)] = Field(512, description="training inputs to look at for weighted: hessian")
    # Where a goal was missed, up to so many bits are tried, one more at a time.
    most_bits: ClassVar[int] = 8

    @property
    def needs_data(self) -> bool:
        return self.weighted == "hessian" or super().needs_data

    def importance(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Tensor | None:
        """What each weight counts, in the shape that its form is fitted on; None where all count alike."""
        if self.weighted == "none":
            return None
        if self.weighted == "magnitude":
            return as_kept(network, layer.weight, network.dense(layer.weight).abs())
        if layer.op == "embedding":
            notes.append(f"{layer.weight}: an embedding has no inputs to weigh by, so all its weights count alike")
            return None
        if at.train is None:
            raise TersenetError(f"weighted: hessian looks at training inputs, and none were given for '{layer.name}'")
        batches = sample_batches(at.train, self.examples, min(BATCH, self.examples), at.seed)
        found = input_importance(network, batches, layer)
        # What no input reached may be reached by others: it counts too, as in Frantar et al. 2023, section 3.3.
        return as_kept(network, layer.weight, found + DAMPING * found.mean())

    def with_table(self, setting: Setting, table: dict[str, Any]) -> StoreClustered | None:
        return type(self)(**self.model_dump() | {"bits": table}) if setting == "bits" else None

    def gentler(self) -> StoreClustered | None:
        bits = {"*": self.bits} if isinstance(self.bits, int) else self.bits
        if all(width >= self.most_bits for width in bits.values()):
            return None
        return self.model_copy(update={"bits": {pattern: min(width + 1, 16) for pattern, width in bits.items()}})
