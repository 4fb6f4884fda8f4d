"""Everything a student needs to learn from a teacher that is asked at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.methods.distill.guides import Guides
from tersenet.methods.distill.layers import Inside, layer_shapes
from tersenet.methods.distill.live import taught_by
from tersenet.methods.distill.losses import answer_loss
from tersenet.methods.distill.settings import Teacher
from tersenet.methods.distill.teachers import Ensemble, check_same_outputs
from tersenet.training import Criterion, TrainConfig
from tersenet.training.accompanied import Accompanied
from tersenet.training.layout import channels_last


@dataclass(frozen=True)
class Lesson:
    """What `fit` is given: fit(lesson.model, ..., criterion=lesson.criterion).

    model   the student, or the student accompanied by regressors; either way the student is trained in place
    pairs   student's and teacher's layers that are compared, with the kind of comparison
    """

    model: nn.Module
    criterion: Criterion
    pairs: tuple[tuple[str, str, str], ...] = ()


class Pupil(Accompanied):
    """A student that remembers, of its last training pass, what the layers gave that are compared."""

    def __init__(self, student: nn.Module, guides: Guides) -> None:
        super().__init__(student, guides)
        self._names = guides.layers(0)
        self.seen: dict[str, Any] = {}

    def forward(self, *inputs: Tensor) -> Any:
        if not self.training:
            return self.network(*inputs)
        answer, self.seen = Inside(self.network, self._names).run(*inputs)
        return answer


def lesson(
    student: nn.Module, teacher: nn.Module, settings: Teacher, config: TrainConfig, example: Tensor, *, seed: int = 0
) -> Lesson:
    """A student, its teacher, and what it learns from it; refused where their outputs or layers do not fit.

    example   a few inputs, to find shapes by
    seed      decides how regressors begin
    """
    teacher.eval()
    if settings.loss != "none":
        check_same_outputs(student, teacher, example)
    if not settings.guided:
        return Lesson(student, taught_by(teacher, settings, config))
    if isinstance(teacher, Ensemble):
        raise TersenetError(
            f"hint, attention and features look inside one teacher; an ensemble of {len(teacher.members)} was given: "
            "name one member, or learn from its answers alone"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guides = Guides(settings, layer_shapes(student, example), layer_shapes(teacher, example)).to(example.device)
    pupil = Pupil(student, guides)
    looked_at = Inside(teacher, guides.layers(1))

    def criterion(outputs: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        bfloat16 = config.precision == "bfloat16"
        with torch.no_grad(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
            answers, seen = looked_at.run(channels_last(inputs))
        return answer_loss(settings, config, outputs, answers, target) + guides(pupil.seen, seen)

    return Lesson(pupil, criterion, tuple((kind, mine, theirs) for kind, _, mine, theirs in guides.terms))
