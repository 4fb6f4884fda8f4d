"""The steps a recipe is made of, one file each."""

from typing import Annotated

from pydantic import Field

from tersenet.recipes.steps.activations import Activations
from tersenet.recipes.steps.apoz import Apoz
from tersenet.recipes.steps.base import Situation, Step
from tersenet.recipes.steps.batchnorm import CorrectBatchNorm, FoldBatchNorm
from tersenet.recipes.steps.channels import Channels
from tersenet.recipes.steps.distill import Distill
from tersenet.recipes.steps.dropneuron import DropNeuron
from tersenet.recipes.steps.gap import GlobalAveragePooling
from tersenet.recipes.steps.layers import Layers
from tersenet.recipes.steps.low_rank import LowRank
from tersenet.recipes.steps.obd import OptimalBrainDamage
from tersenet.recipes.steps.obs import OptimalBrainSurgeon
from tersenet.recipes.steps.prune import Prune
from tersenet.recipes.steps.quantize import Quantize
from tersenet.recipes.steps.remove_dead import RemoveDead
from tersenet.recipes.steps.round import Round
from tersenet.recipes.steps.store import AnyStore, StoreCodebook, StoreDense
from tersenet.recipes.steps.train import Train
from tersenet.recipes.steps.tucker2 import Tucker2Step

AnyStep = Annotated[
    Train
    | Distill
    | Prune
    | DropNeuron
    | Channels
    | Apoz
    | Layers
    | GlobalAveragePooling
    | LowRank
    | Tucker2Step
    | OptimalBrainDamage
    | OptimalBrainSurgeon
    | RemoveDead
    | AnyStore
    | Quantize
    | Activations
    | CorrectBatchNorm
    | FoldBatchNorm
    | Round,
    Field(discriminator="id"),
]

__all__ = ["AnyStep", "Prune", "Situation", "Step", "StoreCodebook", "StoreDense", "Train"]
