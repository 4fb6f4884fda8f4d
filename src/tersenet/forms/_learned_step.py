"""Levels of latent weights with a step that learns, after Esser et al. 2020, arXiv:1902.08153."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.forms._grid import usable_step
from tersenet.forms.latent import Quantiser
from tersenet.forms.uniform import Uniform


class _Levels(torch.autograd.Function):
    """The nearest level times its step, by run; gradients of equation 3 for the step and of equation 5 for weights."""

    @staticmethod
    def forward(ctx: Any, runs: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(runs, step, low, high)
        return _level(runs, step, low, high) * step[:, None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        runs, step, low, high = ctx.saved_tensors
        grad, place = grads[0], runs / step[:, None]
        inside = (place >= low[:, None]) & (place <= high[:, None])
        level = _level(runs, step, low, high)
        of_step = (grad * torch.where(inside, level - place, level)).sum(1)
        return grad * inside, of_step, None, None


class LearnedStep(Quantiser):
    """factor   (m,), what each run's step has grown by since the start; trainable
    start      (m,), the steps at the start
    low, high  (m,), least and largest level of each run

    The step is `start * factor`, so that one learning rate suits steps of any size: an optimiser that scales its
    gradients (adam) moves all by the same share, and under sgd the gradient of the factor is scaled by
    1 / (start^2 sqrt(n high)), which moves the step by the paper's share (section 2.2).
    """

    start: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, form: Uniform) -> None:
        super().__init__()
        step = form.step.detach()
        self.factor = nn.Parameter(torch.ones_like(step))
        self.register_buffer("start", step.clone())
        self.register_buffer("low", form.low.clone())
        self.register_buffer("high", form.high.clone())

    @property
    def step(self) -> Float[Tensor, " m"]:
        """As the form will have it."""
        return usable_step(self.start * self.factor.detach().abs())

    def settled(self, values: Tensor) -> Uniform:
        step = self.step
        level = _level(values.reshape(len(step), -1), step, self.low, self.high)
        return Uniform(level.to(torch.int64).reshape(values.shape), step, self.low, self.high)

    def forward(self, values: Tensor) -> Tensor:
        step = self.learning_step(values.numel())
        runs: Tensor = _Levels.apply(values.reshape(len(step), -1), step, self.low, self.high)  # type: ignore[no-untyped-call]
        return runs.reshape(values.shape)

    def learning_step(self, weights: int) -> Float[Tensor, " m"]:
        """As the form will have it, differentiable, of a weight of so many numbers."""
        step: Tensor = _Step.apply(self.factor, self.start, self.step, self._gradient_scale(weights))  # type: ignore[no-untyped-call]
        return step

    def _gradient_scale(self, weights: int) -> Float[Tensor, " m"]:
        largest = torch.maximum(self.high, -self.low).clamp(min=1)
        return 1 / (self.start.square() * (weights / len(self.start) * largest).sqrt())


class _Step(torch.autograd.Function):
    """The rounded step, with the gradient of start * |factor| times a scale."""

    @staticmethod
    def forward(ctx: Any, factor: Tensor, start: Tensor, step: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(factor, start, scale)
        return step.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        factor, start, scale = ctx.saved_tensors
        return grads[0] * start * factor.sign() * scale, None, None, None


def _level(runs: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Float[Tensor, "m n"]:
    level = (runs / step[:, None]).round().clamp(low[:, None], high[:, None])
    return level + 0.0  # a negative zero becomes the zero that an integer is
