"""The uncompressed network teaches the one that is retrained, after Hinton et al. 2015, arXiv:1503.02531, section 2."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.training import Criterion, TrainConfig, batch_loss
from tersenet.training.layout import channels_last


class Teacher(BaseModel):
    """How much of the loss comes from the teacher's answers, and how soft they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: Annotated[float, Gt(0)] = Field(4.0, description="logits are divided by it, of both networks")
    labels: Annotated[float, Ge(0), Le(1)] = Field(0.1, description="share of the loss that comes from the labels")


def soft_target_loss(
    logits: Float[Tensor, "batch classes *rest"],
    teacher_logits: Float[Tensor, "batch classes *rest"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 times the mean Kullback-Leibler divergence of the softened answers, in nats; 0 where the two agree.

    The factor keeps gradients of a size when T changes (Hinton et al. 2015, section 2).
    """
    taught = F.log_softmax(teacher_logits / temperature, 1)
    answered = F.log_softmax(logits / temperature, 1)
    examples = logits.numel() / logits.shape[1]
    return temperature**2 / examples * F.kl_div(answered, taught, reduction="sum", log_target=True)


def taught_by(teacher: nn.Module, settings: Teacher, config: TrainConfig) -> Criterion:
    """The loss that `fit` minimises: `settings.labels` of it from the labels, the rest from the teacher.

    The teacher, in eval mode here and not changed, sees the inputs of the student, augmented as they are.
    """
    teacher.eval()

    def criterion(outputs: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        with (
            torch.no_grad(),
            torch.autocast(inputs.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"),
        ):
            answers = teacher(channels_last(inputs))
        if not isinstance(answers, Tensor) or answers.shape != outputs.shape or outputs.ndim < 2:
            shape = tuple(answers.shape) if isinstance(answers, Tensor) else f"{len(answers)} outputs"
            raise TersenetError(
                f"the teacher answers {shape}, the student {tuple(outputs.shape)}; a teacher needs the same classes"
            )
        soft = soft_target_loss(outputs, answers.to(outputs.dtype), settings.temperature)
        if settings.labels == 0:
            return soft
        return settings.labels * batch_loss(config, outputs, target) + (1 - settings.labels) * soft

    return criterion
