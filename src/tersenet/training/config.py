"""What to train with: plain data, checked when it is made, the same in YAML and in Python."""

from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Gt(0), Lt(1)]
Augment = Literal["none", "flip", "crop", "flip_crop", "shift", "affine", "flip_affine"]
LossName: TypeAlias = Literal["cross_entropy", "mse", "mae", "bce"]

# Fields that came after the first checkpoints and recipes. At their defaults they are not written down, so that what
# was begun before them is still the same run.
LATER_FIELDS = (
    "plateau_epochs", "peak", "momentum_at_peak", "affine", "average", "average_decay", "average_from", "patience",
    "polarise", "rate", "target", "replay", "cutout",
)  # fmt: skip


def _without_later_defaults(model: BaseModel, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
    written: dict[str, Any] = handler(model)
    fields = type(model).model_fields
    same = [name for name in LATER_FIELDS if name in fields and getattr(model, name) == fields[name].default]
    return {name: value for name, value in written.items() if name not in same}


class Regularise(BaseModel):
    """Penalties added to the loss, over weights: no biases, no normalisation.

    l1 * sum |w| + l2 * sum w^2 (Han et al. 2015, arXiv:1506.02626), and over the neurons or filters of each layer
    li * sum of the norms of their inputs' weights + lo * sum of the norms of their outputs' weights
    (Pan et al. 2016, arXiv:1606.07326): a norm goes to zero as a whole, and the neuron with it.

    polarise * sum u^2 (1 - u^2) with u = w / a, a being the scale of its row, and 2 (|u| - 1) beyond -1 and +1: it is
    least at -1, 0 and +1, and drives weights to the levels that they are rounded to in the end.

    rate * (ln 2 / n) * bits, over all weights that have a rate to train (forms.RateStep), whatever `where` says; n is
    the number of training examples, so that 1 is the price at which model and data together take the fewest bits. With a
    target that is where the price begins: during warmup_epochs it leads the bits there, evenly in their logarithm, and
    then keeps them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    l1: NotNegative = Field(default=0.0, description="factor of the sum of |w|; drives weights to zero")
    l2: NotNegative = Field(default=0.0, description="factor of the sum of w^2; keeps more accuracy after retraining")
    li: NotNegative = Field(default=0.0, description="factor of the norms of all weights into a neuron, summed")
    lo: NotNegative = Field(default=0.0, description="factor of the norms of all weights out of a neuron, summed")
    polarise: NotNegative = Field(default=0.0, description="factor of the sum of u^2 (1 - u^2); towards -1, 0 and +1")
    rate: NotNegative = Field(default=0.0, description="price of a coded bit, 1 being ln 2 / training examples")
    target: Annotated[int, Gt(0)] | None = Field(default=None, description="bytes of coded weights that rate leads to")
    warmup_epochs: NotNegative = Field(default=0.0, description="epochs in which the factors rise linearly from 0")
    where: str = Field(default="*", description="layers that are penalised, patterns joined by commas")

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_later_defaults(self, handler)

    @property
    def active(self) -> bool:
        """Whether there is anything to add."""
        return any((self.l1, self.l2, self.li, self.lo, self.polarise, self.rate))

    @model_validator(mode="after")
    def _has_a_factor(self) -> "Regularise":
        if not self.active and (self.warmup_epochs or self.where != "*"):
            raise ValueError(
                "regularise has warmup_epochs or where but no factor; set l1, l2, li, lo, polarise or rate, or drop it"
            )
        if self.target is not None and not self.rate:
            raise ValueError("regularise has a target but no rate, which is the price that leads there; set rate")
        return self


class Affine(BaseModel):
    """How far a picture is turned, grown, slanted and moved about its middle; each evenly to both sides."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    degrees: Annotated[float, Ge(0), Le(180)] = Field(default=10.0, description="largest turn")
    scale: Annotated[float, Ge(0), Lt(1)] = Field(default=0.1, description="0.1 grows by a factor from 0.9 to 1.1")
    shear: Annotated[float, Ge(0), Lt(90)] = Field(default=5.0, description="largest slant, degrees")
    pixels: NotNegative = Field(default=2.0, description="largest move along each axis")


AFFINE = Affine()


class TrainConfig(BaseModel):
    """One training run: how long, how fast, towards what."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: Annotated[int, Ge(0)] = Field(description="passes over the training data; 0 leaves the network as it is")
    batch_size: Annotated[int, Ge(1)] = Field(default=64, description="examples a step (a loader of yours has its own)")

    optimiser: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    lr: Annotated[float, Gt(0)] = Field(default=0.01, description="learning rate after the warm-up")
    momentum: Annotated[float, Ge(0), Lt(1)] = Field(default=0.9, description="of sgd and rmsprop")
    nesterov: bool = Field(default=False, description="Nesterov's momentum; sgd with momentum only")
    weight_decay: NotNegative = Field(default=0.0, description="the optimiser's own, over all parameters, a step")

    schedule: Literal["constant", "cosine", "step", "linear", "plateau", "one_cycle"] = "cosine"
    warmup_epochs: NotNegative = Field(default=0.0, description="epochs of linear rise to lr; may be a fraction")
    step_epochs: Annotated[float, Gt(0)] = Field(default=10.0, description="epochs between drops; schedule step only")
    gamma: Annotated[float, Gt(0), Le(1)] = Field(
        default=0.1, description="factor of each drop; schedules step and plateau"
    )
    min_lr: NotNegative = Field(
        default=0.0, description="where cosine, linear and one_cycle end, and step and plateau stop falling"
    )
    plateau_epochs: Annotated[int, Ge(0)] = Field(
        default=10, description="epochs in a row that may pass without gain before a drop; schedule plateau only"
    )
    peak: Share = Field(default=0.3, description="share of the training after which one_cycle reaches lr")
    momentum_at_peak: Annotated[float, Ge(0), Lt(1)] = Field(
        default=0.85, description="one_cycle lowers momentum (Adam's beta1) to this at its peak; a lower one stays"
    )

    loss: LossName = "cross_entropy"
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = Field(
        default=0.0, description="probability spread evenly over all classes; cross_entropy only"
    )
    regularise: Regularise = Regularise()
    clip_grad_norm: Annotated[float, Gt(0)] | None = Field(default=None, description="largest L2 norm of all gradients")

    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="bfloat16 multiplies in half the bits and keeps weights, sums and losses in float32",
    )
    replay: bool = Field(
        default=False,
        description="on a GPU, record the step once and replay it, for networks whose kernels end sooner than they are "
        "launched; what runs in a step must read no number off the GPU and remember nothing in Python",
    )

    augment: Augment = Field(
        default="none",
        description="flip: mirror half; crop: move with black around; shift: move, edges repeated; "
        "affine: turn, grow, slant and move, edges repeated",
    )
    augment_pixels: Annotated[int, Ge(1)] | None = Field(
        default=None, description="how far crop and shift move, in pixels; None is 4 and 2"
    )
    affine: Affine = Field(default=AFFINE, description="how far affine goes")
    cutout: Annotated[int, Ge(1)] | None = Field(
        default=None, description="side in pixels of a square that each picture loses at a random place"
    )

    average: Literal["none", "ema", "swa"] = Field(
        default="none",
        description="end with averaged weights: ema, of all steps, the latest most; swa, evenly of late epochs' ends",
    )
    average_decay: Share = Field(default=0.999, description="what ema keeps of the average at a step")
    average_from: Annotated[float, Ge(0), Lt(1)] = Field(
        default=0.75, description="share of the training after which swa begins to average"
    )
    keep_best: bool = Field(default=False, description="end with the state of the best epoch on the validation split")
    patience: Annotated[int, Ge(1)] | None = Field(
        default=None, description="stop after so many epochs without gain on the validation split; keeps the best"
    )

    @property
    def keeps_best(self) -> bool:
        """Whether the run ends with the best epoch's state in place of the last one's."""
        return self.keep_best or self.patience is not None

    @field_validator("precision", mode="before")
    @classmethod
    def _is_no_float16(cls, value: Any) -> Any:
        if value == "float16":
            raise ValueError(
                "float16 underflows without a scaled loss, which is not offered; bfloat16 needs none, take it"
            )
        return value

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_later_defaults(self, handler)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimiser sgd and a momentum above 0; set those or drop nesterov")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing belongs to loss cross_entropy; got loss {self.loss}")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} lies above lr {self.lr}; the schedules fall, so set it below")
        if self.epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(f"{self.warmup_epochs} warm-up epochs leave none of {self.epochs} at full rate; use fewer")
        if self.epochs and self.regularise.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.regularise.warmup_epochs} warm-up epochs of regularise leave none of {self.epochs} "
                "with the whole penalty; use fewer"
            )
        if self.augment_pixels is not None and self.augment not in ("crop", "flip_crop", "shift"):
            raise ValueError(
                f"augment_pixels is given but augment is {self.augment}; choose crop, flip_crop or shift, or drop it"
            )
        if self.affine != AFFINE and "affine" not in self.augment:
            raise ValueError(f"affine is given but augment is {self.augment}; choose affine or flip_affine, or drop it")
        if self.schedule == "one_cycle" and self.warmup_epochs:
            raise ValueError("one_cycle rises by itself, until peak; drop warmup_epochs, or choose another schedule")
        return self
