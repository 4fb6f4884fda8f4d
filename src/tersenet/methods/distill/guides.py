"""Losses between layers of student and teacher, and the regressors that hints need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.methods.distill.pairs import Kind, Shapes, check_pair, find_pairs
from tersenet.methods.distill.settings import Guide, Teacher


def attention_map(maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch places"]:
    """The mean square over channels, flattened and divided by its norm (Zagoruyko and Komodakis 2017, section 3.1)."""
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)


def attention_loss(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch others height width"]
) -> Float[Tensor, ""]:
    """The mean squared difference of the two attention maps, as the authors' code has it; eq. 2 squared and averaged."""
    return F.mse_loss(attention_map(student), attention_map(teacher))


def hint_loss(regressed: Float[Tensor, "..."], teacher: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Half the mean squared error of the guided layer (Romero et al. 2015, eq. 3, which sums where this averages)."""
    return F.mse_loss(regressed, teacher) / 2


def regressor(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    """From what a student's layer gives to what a teacher's does: linear, or a convolution without padding.

    Its kernel takes the student's map to the size of the teacher's (Romero et al. 2015, section 2.2).
    """
    if len(student) == 1:
        return nn.Linear(student[0], teacher[0])
    kernel = (student[1] - teacher[1] + 1, student[2] - teacher[2] + 1)
    return nn.Conv2d(student[0], teacher[0], kernel)


class Guides(nn.Module):
    """The pairs of layers that the settings ask for, and the regressors of the hints, which train with the student."""

    def __init__(self, settings: Teacher, student: Shapes, teacher: Shapes) -> None:
        super().__init__()
        self.terms: list[tuple[Kind, float, str, str]] = []
        self.regressors = nn.ModuleList()
        kinds: list[tuple[Kind, Guide | None]] = [
            ("hint", settings.hint), ("attention", settings.attention), ("features", settings.features),
        ]  # fmt: skip
        for kind, guide in kinds:
            if guide is None:
                continue
            for pair in guide.pairs:
                check_pair(kind, pair, student, teacher)
            for mine, theirs in guide.pairs or find_pairs(kind, student, teacher):
                self.terms.append((kind, guide.weight, mine, theirs))
                if kind == "hint":
                    self.regressors.append(regressor(student[mine], teacher[theirs]))

    def layers(self, side: int) -> list[str]:
        """Names of the layers that are compared: of the student for side 0, of the teacher for side 1."""
        return [(mine, theirs)[side] for _, _, mine, theirs in self.terms]

    def forward(self, student: Mapping[str, Any], teacher: Mapping[str, Any]) -> Float[Tensor, ""]:
        """The sum of all terms, each times its weight, from what the layers gave."""
        regressors = iter(self.regressors)
        total: Any = 0.0
        for kind, weight, mine, theirs in self.terms:
            given, wanted = student[mine].float(), teacher[theirs].float()
            if kind == "hint":
                total = total + weight * hint_loss(next(regressors)(given), wanted)
            elif kind == "attention":
                total = total + weight * attention_loss(given, wanted)
            else:
                total = total + weight * F.mse_loss(given, wanted)
        assert isinstance(total, Tensor)
        return total
