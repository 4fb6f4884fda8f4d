"""Training as a step of its own."""

from __future__ import annotations

from typing import Literal

from tersenet.recipes.steps.base import Step


class Train(Step):
    """Train the network as it is."""

    id: Literal["train"] = "train"
