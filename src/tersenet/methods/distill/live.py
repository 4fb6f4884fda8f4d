"""A teacher that is asked at every step, after Hinton et al. 2015, arXiv:1503.02531, section 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.methods.distill.losses import answer_loss
from tersenet.methods.distill.settings import Teacher
from tersenet.training import Criterion, TrainConfig
from tersenet.training.layout import channels_last


def taught_by(teacher: nn.Module, settings: Teacher, config: TrainConfig) -> Criterion:
    """The loss that `fit` minimises: `settings.label_share` of it from the labels, the rest from the teacher.

    The teacher, in eval mode here and not changed, sees the inputs of the student, augmented as they are.
    """
    if settings.guided:
        raise TersenetError("hint, attention and features look into the student; make the loss with `lesson`")
    teacher.eval()

    def criterion(outputs: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        return answer_loss(settings, config, outputs, ask(teacher, inputs, config), target)

    return criterion


def ask(teacher: nn.Module, inputs: Tensor, config: TrainConfig) -> Tensor:
    """The teacher's answers, without gradients, in the products that the student trains with."""
    with torch.no_grad(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        answers: Tensor = teacher(channels_last(inputs))
    return answers
