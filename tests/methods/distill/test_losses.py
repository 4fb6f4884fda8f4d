"""Losses between answers: worked out by hand, zero where the two agree, refused where they cannot be compared."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tersenet.errors import TersenetError
from tersenet.methods.distill import Teacher, logit_loss, soft_target_loss
from tersenet.methods.distill.losses import answer_loss
from tersenet.training import TrainConfig

CONFIG = TrainConfig(epochs=1)


def test_the_soft_loss_is_that_of_the_paper_worked_out_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3.0), 0.0]])
    # At T = 2 the teacher says 3/4 and 1/4, the student 1/2 and 1/2.
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(soft_target_loss(student, teacher, 2.0)) == pytest.approx(4 * divergence, rel=1e-5)


def test_the_logit_loss_is_half_the_squared_distance_of_an_example():
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, 6.0], [0.0, 0.0]])
    assert float(logit_loss(student, teacher)) == pytest.approx((9 + 16) / 2 / 2)


@pytest.mark.parametrize("loss", [lambda a, b: soft_target_loss(a, b, 4.0), logit_loss])
def test_a_student_that_answers_as_the_teacher_has_nothing_to_learn(loss):
    logits = torch.randn(5, 7, 3, requires_grad=True)
    found = loss(logits, logits.detach().clone())
    (gradient,) = torch.autograd.grad(found, logits)
    assert abs(found.item()) < 1e-6 and float(gradient.abs().max()) < 1e-6


def test_hot_gradients_are_those_of_matching_logits():
    """For large T the gradient is (z_i - v_i) / N with logits of mean zero (Hinton et al. 2015, section 2.1)."""
    centred = torch.randn(3, 8, dtype=torch.float64)
    student = (centred - centred.mean(1, keepdim=True)).requires_grad_()
    teacher = torch.randn(3, 8, dtype=torch.float64)
    teacher = teacher - teacher.mean(1, keepdim=True)
    (gradient,) = torch.autograd.grad(soft_target_loss(student, teacher, 1e4), student)
    torch.testing.assert_close(gradient, (student - teacher).detach() / 8 / 3, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("loss", "share"), [("soft", 0.1), ("logits", 0.0), ("values", 0.0)])
def test_only_soft_targets_are_mixed_with_labels_unasked(loss, share):
    assert Teacher(loss=loss).label_share == share
    assert Teacher(loss=loss, labels=0.3).label_share == 0.3


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("loss", ["soft", "logits", "values"])
def test_every_loss_gives_labels_their_share(loss, share):
    outputs, answers, y = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 2, 1, 0])
    taught = {
        "soft": soft_target_loss(outputs, answers, 3.0),
        "logits": logit_loss(outputs, answers),
        "values": F.mse_loss(outputs, answers),
    }[loss]
    settings = Teacher(loss=loss, temperature=3.0, labels=share)
    expected = share * F.cross_entropy(outputs, y) + (1 - share) * taught
    torch.testing.assert_close(answer_loss(settings, CONFIG, outputs, answers, y), expected)


def test_a_regression_takes_any_shape_and_the_labels_squared_error():
    outputs, answers, y = torch.randn(6), torch.randn(6), torch.randn(6)
    settings = Teacher(loss="values", labels=0.5)
    found = answer_loss(settings, TrainConfig(epochs=1, loss="mse"), outputs, answers, y)
    torch.testing.assert_close(found, 0.5 * F.mse_loss(outputs, answers) + 0.5 * F.mse_loss(outputs, y))
    with pytest.raises(TersenetError, match="set loss: values"):
        answer_loss(Teacher(), CONFIG, outputs, answers, None)


def test_a_share_of_labels_that_are_not_there_is_refused():
    with pytest.raises(TersenetError, match="set labels: 0"):
        answer_loss(Teacher(), CONFIG, torch.zeros(2, 3), torch.zeros(2, 3), None)
