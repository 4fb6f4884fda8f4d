"""How far a student's answers are from its teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.methods.distill.settings import Teacher
from tersenet.training import TrainConfig, batch_loss


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


def logit_loss(
    logits: Float[Tensor, "batch classes *rest"], teacher_logits: Float[Tensor, "batch classes *rest"]
) -> Float[Tensor, ""]:
    """Half the squared error of the logits, summed over classes, mean over examples (Ba and Caruana 2014, eq. 1)."""
    examples = logits.numel() / logits.shape[1]
    return F.mse_loss(logits, teacher_logits, reduction="sum") / (2 * examples)


def answer_loss(
    settings: Teacher, config: TrainConfig, outputs: Tensor, answers: Tensor, target: Tensor | None
) -> Float[Tensor, ""]:
    """The labels' share and the teacher's, without guides.

    target   what the data says; None where it says nothing, and then the labels' share must be 0
    """
    check_answers(settings, outputs, answers)
    share = settings.label_share
    taught = answers.to(outputs.dtype)
    loss = outputs.new_zeros(())
    if settings.loss == "soft" and share < 1:
        loss = (1 - share) * soft_target_loss(outputs, taught, settings.temperature)
    elif settings.loss == "logits" and share < 1:
        loss = (1 - share) * logit_loss(outputs, taught)
    elif settings.loss == "values" and share < 1:
        loss = (1 - share) * F.mse_loss(outputs, taught)
    if share and target is None:
        raise TersenetError(f"labels have a share of {share:g} in the loss, but the data has none; set labels: 0")
    if share and target is not None:
        loss = loss + share * batch_loss(config, outputs, target)
    return loss


def check_answers(settings: Teacher, outputs: object, answers: object) -> None:
    """Refuse a teacher whose answers the student cannot be compared with."""
    if settings.loss == "none":
        return
    if not isinstance(answers, Tensor) or not isinstance(outputs, Tensor) or answers.shape != outputs.shape:
        raise TersenetError(
            f"the teacher answers {_described(answers)}, the student {_described(outputs)}; "
            "a teacher needs the same classes"
        )
    if outputs.ndim < 2 and settings.loss != "values":
        raise TersenetError(
            f"the networks answer {_described(outputs)}; a teacher needs the same classes, as axis 1 of the answers: "
            "for regression set loss: values"
        )


def _described(outputs: object) -> str:
    if isinstance(outputs, Tensor):
        return str(tuple(outputs.shape))
    return f"{len(outputs)} outputs" if isinstance(outputs, (tuple, list)) else f"a {type(outputs).__name__}"
