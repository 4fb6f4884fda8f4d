"""Who teaches: a network, an ensemble, a `.terse` file, or a function of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tersenet import artifact
from tersenet.errors import TersenetError

Teaching: TypeAlias = (
    "nn.Module | str | os.PathLike[str] | Callable[[Tensor], Tensor] | Sequence[nn.Module | str | os.PathLike[str]]"
)


class Ensemble(nn.Module):
    """The mean of its members' outputs: of logits, which is the geometric mean of what they believe.

    What Ba and Caruana 2014 (arXiv:1312.6184, section 2.2) teach by; Hinton et al. 2015, section 1, name both means.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise TersenetError("an ensemble of no members came; give at least one network")
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Tensor) -> Tensor:
        """(batch, classes, ...) as each member gives it."""
        total: Tensor | None = None
        for number, member in enumerate(self.members, 1):
            answer = member(*inputs)
            if not isinstance(answer, Tensor):
                raise TersenetError(
                    f"member {number} gives a {type(answer).__name__}; one tensor of logits is expected"
                )
            if total is not None and answer.shape != total.shape:
                raise TersenetError(
                    f"member {number} of the ensemble answers {tuple(answer.shape)}, those before it "
                    f"{tuple(total.shape)}; members need the same outputs"
                )
            total = answer.float() if total is None else total + answer.float()
        assert total is not None
        return total / len(self.members)


class Function(nn.Module):
    """A user's callable from inputs (batch, ...) to answers (batch, ...)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        try:
            answer = self.function(*inputs)
        except (TersenetError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise TersenetError(f"the teacher raised {type(error).__name__}: {error}") from error
        if not isinstance(answer, Tensor) or not answer.ndim or len(answer) != len(inputs[0]):
            came = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
            raise TersenetError(
                f"the teacher gave {came} for {len(inputs[0])} inputs; it must give a tensor with an answer for each"
            )
        return answer


def as_teacher(given: Any) -> nn.Module:
    """A module in eval mode that answers as what was given: several become an Ensemble.

    given   a network, the path of a .terse file, a callable from inputs to outputs, or a sequence of these
    """
    if isinstance(given, nn.Module):
        return given.eval()
    if isinstance(given, (str, os.PathLike)):
        return artifact.load(given).eval()
    if isinstance(given, Sequence):
        members = [as_teacher(one) for one in given]
        return members[0] if len(members) == 1 else Ensemble(members).eval()
    if callable(given):
        return Function(given).eval()
    raise TersenetError(
        f"a teacher is a network, a .terse file, a callable, or a list of these; a {type(given).__name__} came"
    )


@torch.no_grad()
def check_same_outputs(student: nn.Module, teacher: nn.Module, example: Tensor) -> None:
    """Refuse, before anything is trained, a teacher whose outputs have another shape than the student's."""
    modes = {module: module.training for module in student.modules()}
    student.eval()
    try:
        answered, taught = student(example), teacher(example)
    finally:
        for module, training in modes.items():
            module.training = training
    shapes = [tuple(one.shape) if isinstance(one, Tensor) else None for one in (answered, taught)]
    if None in shapes or shapes[0] != shapes[1]:
        raise TersenetError(
            f"for {len(example)} examples the teacher answers {shapes[1] or 'no single tensor'}, the student "
            f"{shapes[0] or 'no single tensor'}; a teacher needs the same outputs"
        )
