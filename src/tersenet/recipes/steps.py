"""The steps a recipe is made of: frozen data, the same in YAML and in Python.

A step may take several stages (an iteration of pruning each); a stage changes the network, then trains it.
Settings of a layer may be one value for all, or a table from pattern to value, first match first; patterns are globs
over names, "op:" and a glob over operations ("op:conv*"), "first" and "last".
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tersenet.calibration import recalibrate_batchnorm, sample_batches
from tersenet.calibration.batches import checked_inputs
from tersenet.graph import Network, fold_batchnorm
from tersenet.methods.dead import lost_units, remove_dead_units
from tersenet.methods.distill import Teacher
from tersenet.methods.oneshot import Outputs, Rounding, round_network
from tersenet.methods.prune import above_threshold, attach_pruned, global_keep, keep_largest
from tersenet.methods.round import round_others
from tersenet.methods.select import select_layers, setting
from tersenet.methods.share import share_weights, store_dense
from tersenet.training import TrainConfig

Keep = Annotated[float, Gt(0), Le(1)]
Quality = Annotated[float, Ge(0)]
Bits = Annotated[int, Ge(1), Le(16)]


class Step(BaseModel):
    """One entry of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    # Whether a stage that loses too much is undone, with the work going on from the one before it.
    may_stop_early: ClassVar[bool] = False

    train: TrainConfig | None = Field(None, description="training after each stage of this step; none by default")
    teacher: Teacher | None = Field(None, description="the network the run began with teaches; labels alone by default")

    @property
    def stages(self) -> int:
        return 1

    def label(self, stage: int) -> str:
        return self.id  # type: ignore[attr-defined]

    def rewrite(self, network: Network) -> tuple[Network, list[str]]:
        """The network with another op list, equal to it in eval mode, and what a user should know of it."""
        return network, []

    def apply(self, network: Network, stage: int, seed: int, train: Any) -> list[str]:
        """Change the network in place; returns what a user should know, as sentences.

        train   the training data, or None where none was given
        """
        return []

    def train_config(self, stage: int) -> TrainConfig | None:
        return self.train

    @property
    def needs_data(self) -> bool:
        """Whether the step cannot do without training data."""
        configs = [self.train_config(stage) for stage in range(self.stages)]
        return any(config is not None and config.epochs > 0 for config in configs)

    def gentler(self) -> Step | None:
        """The same step with less loss to expect, or None: what is tried when a goal was missed."""
        return None


class Train(Step):
    """Train the network as it is."""

    id: Literal["train"] = "train"


class Prune(Step):
    """Keep the largest weights of each layer matched by `where`, then train what is left; repeat (Han et al. 2015).

    Give `keep`, the fraction that stays in the end (each iteration keeps its root), or `quality`: weights within
    quality x standard deviation go in each iteration. scope "global" takes one threshold for all layers together.
    """

    may_stop_early: ClassVar[bool] = True
    id: Literal["prune"] = "prune"
    where: str = "*"
    keep: Keep | dict[str, Keep] | None = None
    quality: Quality | dict[str, Quality] | None = None
    scope: Literal["layer", "global"] = "layer"
    iterations: Annotated[int, Ge(1)] = 1
    last_train: TrainConfig | None = Field(None, description="training after the last iteration instead of `train`")

    @model_validator(mode="after")
    def _one_rule(self) -> Prune:
        if (self.keep is None) == (self.quality is None):
            raise ValueError("prune needs either keep (a fraction) or quality (times the standard deviation)")
        if self.scope == "global" and not isinstance(self.keep, float):
            raise ValueError("scope global takes one keep-fraction for all layers together")
        return self

    @property
    def stages(self) -> int:
        return self.iterations

    def label(self, stage: int) -> str:
        return f"prune {stage + 1}/{self.iterations}" if self.iterations > 1 else "prune"

    def apply(self, network: Network, stage: int, seed: int, train: Any) -> list[str]:
        layers = select_layers(network, self.where)
        root = (stage + 1) / self.iterations
        weights = {layer.weight: network.dense(layer.weight) for layer in layers}
        if self.scope == "global":
            assert isinstance(self.keep, float)
            pruned = global_keep(weights, self.keep**root)
        elif self.keep is not None:
            keeps = {layer.weight: setting(self.keep, layer, network, "keep") for layer in layers}
            pruned = {name: keep_largest(weight, keeps[name] ** root) for name, weight in weights.items()}
        else:
            assert self.quality is not None
            qualities = {layer.weight: setting(self.quality, layer, network, "quality") for layer in layers}
            pruned = {name: above_threshold(weight, qualities[name]) for name, weight in weights.items()}
        for name, weight in pruned.items():
            attach_pruned(network, name, weight)
        return []

    def train_config(self, stage: int) -> TrainConfig | None:
        return self.last_train if self.last_train is not None and stage == self.iterations - 1 else self.train


class Store(Step):
    """Store the weights matched by `where` in a form, then train what the form leaves free.

    form "codebook": at most 2**bits shared values a layer (Han et al. 2016, section 3); form "dense": plain numbers
    of `dtype`. Zeros that are there stay.
    """

    id: Literal["store"] = "store"
    where: str = "*"
    form: Literal["codebook", "dense"] = "codebook"
    bits: Bits | dict[str, Bits] = 5
    init: Literal["forgy", "density", "linear", "optimum"] = "linear"
    dtype: Literal["float32", "float16"] = Field("float32", description="of the shared values, or of plain numbers")

    def label(self, stage: int) -> str:
        return "share" if self.form == "codebook" else f"store {self.dtype}"

    def apply(self, network: Network, stage: int, seed: int, train: Any) -> list[str]:
        notes = []
        layers = select_layers(network, self.where)
        for layer in layers:
            if self.form == "dense":
                store_dense(network, layer.weight, dtype=self.dtype)
                continue
            k = 2 ** setting(self.bits, layer, network, "bits")
            made = share_weights(network, layer.weight, k=k, init=self.init, table=self.dtype, seed=seed)
            if made < k:
                notes.append(
                    f"{layer.weight}: {made} distinct weights are left, so the codebook has {made} values, not {k}"
                )
        return notes

    def gentler(self) -> Store | None:
        if self.form != "codebook":
            return None
        bits = {"*": self.bits} if isinstance(self.bits, int) else self.bits
        if all(width >= 8 for width in bits.values()):
            return None
        return self.model_copy(update={"bits": {pattern: min(width + 1, 16) for pattern, width in bits.items()}})


class Round(Step):
    """Round what is not a layer's weight (biases, normalisation, running statistics) to float16; the last step."""

    id: Literal["round"] = "round"

    def apply(self, network: Network, stage: int, seed: int, train: Any) -> list[str]:
        round_others(network)
        return []


class CorrectBatchNorm(Step):
    """Estimate BatchNorm's running statistics anew from training inputs: after a change that is not trained after."""

    id: Literal["batchnorm"] = "batchnorm"
    examples: Annotated[int, Ge(2)] = Field(2048, description="at most this many inputs; labels are not used")
    batch_size: Annotated[int, Ge(2)] = 128

    @property
    def needs_data(self) -> bool:
        return True

    def apply(self, network: Network, stage: int, seed: int, train: Any) -> list[str]:
        corrected = recalibrate_batchnorm(network, sample_batches(train, self.examples, self.batch_size, seed))
        return [] if corrected else ["the network has no BatchNorm with running statistics; nothing was corrected"]


class RemoveDead(Step):
    """Remove neurons and channels that pruning left without inputs or without readers (Han et al. 2015, section 3.5)."""

    id: Literal["remove_dead"] = "remove_dead"

    def label(self, stage: int) -> str:
        return "remove dead"

    def rewrite(self, network: Network) -> tuple[Network, list[str]]:
        smaller = remove_dead_units(network)
        return smaller, lost_units(network, smaller) or ["every neuron and channel is in use; none was removed"]


class FoldBatchNorm(Step):
    """BatchNorm becomes one scale and one shift a channel: half its bytes. It trains on with fixed statistics only."""

    id: Literal["fold_batchnorm"] = "fold_batchnorm"

    def label(self, stage: int) -> str:
        return "fold BatchNorm"

    def rewrite(self, network: Network) -> tuple[Network, list[str]]:
        folded = fold_batchnorm(network)
        if folded.graph == network.graph:
            return network, ["the network has no BatchNorm with running statistics; nothing was folded"]
        return folded, []


class Quantize(Step):
    """Round every weight once to an even grid, with error feedback and the price of its bits; nothing is trained.

    BatchNorm is folded first: its scale and shift take up what rounding does to each channel.
    """

    id: Literal["quantize"] = "quantize"
    quality: Annotated[float, Ge(0), Le(100)] = Field(50, description="20 more halve the steps: a bit a weight more")
    examples: Annotated[int, Ge(0)] = Field(512, description="training inputs to calibrate on; 0 takes weights alone")
    batch_size: Annotated[int, Ge(2)] = 128
    rate_weight: Annotated[float, Ge(0)] = Field(0.03, description="price of a bit, in squared steps")
    damping: Annotated[float, Gt(0)] = Field(0.03, description="added to second moments, of their mean diagonal")
    vector_bits: Annotated[int, Ge(2), Le(16)] = Field(8, description="of scales, shifts and biases")
    outputs: Outputs = Field("classes", description="what the network answers: scores of classes, or values")

    @property
    def needs_data(self) -> bool:
        return self.examples > 0 or super().needs_data

    def rewrite(self, network: Network) -> tuple[Network, list[str]]:
        return fold_batchnorm(network), []

    def apply(self, network: Network, stage: int, seed: int, train: Any) -> list[str]:
        rounding = Rounding(self.quality, self.rate_weight, self.damping, self.vector_bits)
        batches = None
        if self.examples:
            sampled = sample_batches(train, self.examples, self.batch_size, seed)
            # The labels that a batch ends with stay unread.
            batches = list(checked_inputs(network, sampled))
        round_network(network, batches, rounding, outputs=self.outputs)
        return []

    def gentler(self) -> Quantize | None:
        if self.quality >= 100:
            return None
        return self.model_copy(update={"quality": min(self.quality + 5, 100)})


AnyStep = Annotated[
    Train | Prune | Store | Round | CorrectBatchNorm | RemoveDead | FoldBatchNorm | Quantize, Field(discriminator="id")
]
