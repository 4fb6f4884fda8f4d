"""What a student learns from its teacher, as data: the same in YAML and in Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

SOFT_LABELS = 0.1
"""Hinton et al. 2015, section 4, found that a "considerably lower weight" of the labels works best."""
_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Guide(BaseModel):
    """A loss between layers of the student and of the teacher, added `weight` times to that of the answers."""

    model_config = _FROZEN

    weight: Annotated[float, Gt(0)] = 1.0
    layers: tuple[str, ...] = Field(
        default=(), description='pairs "student layer:teacher layer"; none: paired by shape and depth'
    )

    @field_validator("layers")
    @classmethod
    def _are_pairs(cls, layers: tuple[str, ...]) -> tuple[str, ...]:
        for pair in layers:
            student, colon, teacher = pair.partition(":")
            if not (student and colon and teacher) or ":" in teacher:
                raise ValueError(f"'{pair}' is no pair of layers; write it as student_layer:teacher_layer")
        return layers

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names of student's and teacher's layers; empty where they are to be found."""
        return [(student, teacher) for student, _, teacher in (pair.partition(":") for pair in self.layers)]


class Attention(Guide):
    """Where layers look; weight after Zagoruyko and Komodakis 2017, arXiv:1612.03928, section 4.1."""

    weight: Annotated[float, Gt(0)] = 1000.0


class Teacher(BaseModel):
    """What the loss is made of: labels * that of the labels + (1 - labels) * that of the answers + the guides."""

    model_config = _FROZEN

    loss: Literal["soft", "logits", "values", "none"] = Field(
        default="soft",
        description="soft: softened probabilities (Hinton et al. 2015); logits: squared error of logits (Ba and "
        "Caruana 2014); values: squared error of any outputs, for regression; none: guides and labels alone",
    )
    temperature: Annotated[float, Gt(0)] = Field(
        default=4.0, description="logits are divided by it, of both networks; loss soft only"
    )
    labels: Annotated[float, Ge(0), Le(1)] | None = Field(
        default=None, description=f"share of the loss that comes from the labels; {SOFT_LABELS} for loss soft, else 0"
    )
    hint: Guide | None = Field(
        default=None,
        description="a regressor from a student's layer to a teacher's (Romero et al. 2015, arXiv:1412.6550)",
    )
    attention: Attention | None = Field(
        default=None, description="maps of where layers are active (Zagoruyko and Komodakis 2017, arXiv:1612.03928)"
    )
    features: Guide | None = Field(default=None, description="squared error between layers of equal shape")

    views: Annotated[int, Ge(0)] = Field(
        default=0,
        description="the teacher is asked once, about so many fixed views of each example as `augment` moves them, "
        "and an epoch takes one of them; 0: it is asked at every step",
    )
    mixup: Annotated[float, Ge(0), Le(1)] = Field(
        default=0.0, description="share of the views that are mixed with another example's; take labels 0 with it"
    )

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without views nothing of them is written: runs from before there were any are still the same."""
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if self.views or name not in ("views", "mixup")}

    @property
    def label_share(self) -> float:
        """The share of the loss that comes from the labels."""
        if self.labels is not None:
            return self.labels
        return SOFT_LABELS if self.loss == "soft" else 0.0

    @property
    def guided(self) -> bool:
        """Whether layers inside the networks are compared, not answers alone."""
        return any(guide is not None for guide in (self.hint, self.attention, self.features))

    @model_validator(mode="after")
    def _teaches_something(self) -> Teacher:
        if self.loss == "none" and not self.guided:
            raise ValueError("loss none without hint, attention or features teaches nothing; set one, or another loss")
        if self.views and self.guided:
            raise ValueError("hint, attention and features need the teacher at every step; drop them, or views")
        if self.mixup and not self.views:
            raise ValueError("mixup is of views, which are answered once; set views, or drop it")
        return self
