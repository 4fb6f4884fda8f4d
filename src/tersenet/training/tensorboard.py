"""The events of a run as TensorBoard reads them."""

from importlib import import_module
from pathlib import Path
from typing import Any

from tersenet.training.errors import TrainingError
from tersenet.training.history import History

RUNNING = ("loss", "accuracy", "lr")
ENDED = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "lr": "lr",
}


class TensorBoard:
    """Goes as `on_event` into `fit`. `running/` holds means over the epoch so far; all else is of ended epochs.

    The axis counts steps of the whole training, or epochs where the loader does not say how many steps one has. A run
    that goes on writes on: what an earlier one wrote of the same steps is hidden.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            self._make = import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "TensorBoard's events need the package 'tensorboard'; install it with: pip install 'tersenet[tensorboard]'"
            ) from error
        self._folder = str(folder)
        self._writer: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        stage, steps = event.get("stage"), event.get("steps")
        if stage == "train" and steps:
            running = {f"running/{name}": event[name] for name in RUNNING}
            self._write(running, (event["epoch"] - 1) * steps + event["step"])
        elif stage == "epoch":
            self._write({tag: event[name] for tag, name in ENDED.items()}, event["epoch"] * (steps or 1))

    def close(self, history: History | None = None) -> None:
        """To disk. Of a run that was over already, and gave no event, the epochs of `history` are written."""
        if self._writer is None and history is not None:
            for record in history.epochs:
                self({"stage": "epoch", **vars(record)})
        if self._writer is not None:
            self._writer.close()

    def _write(self, values: dict[str, float | None], step: int) -> None:
        if self._writer is None:
            self._writer = self._make(self._folder, purge_step=step)
        for tag, value in values.items():
            if value is not None:
                self._writer.add_scalar(tag, value, step)
