"""A network learns from its teacher, structure and storage as they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tersenet.methods.distill import Teacher
from tersenet.recipes.steps.base import Step
from tersenet.training import TrainConfig


class Distill(Step):
    """Train by a teacher's answers; which loss is its `teacher` setting (Hinton et al. 2015, arXiv:1503.02531)."""

    id: Literal["distill"] = "distill"
    train: TrainConfig = Field(description="how long and how fast")
    teacher: Teacher = Teacher()
