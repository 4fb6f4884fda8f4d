"""What happened in each epoch: the loss curves of the report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch; epochs count from 1. Losses are means over examples, without penalties; accuracies 0 to 1.

    lr   the rate of the epoch's last step
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class History:
    """All epochs of a run. `best_epoch` is the one whose state was kept, or None where the last one was."""

    epochs: tuple[EpochRecord, ...] = ()
    best_epoch: int | None = None

    @property
    def last(self) -> EpochRecord | None:
        return self.epochs[-1] if self.epochs else None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {"epochs": [asdict(record) for record in self.epochs], "best_epoch": self.best_epoch}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "History":
        return cls(epochs=tuple(EpochRecord(**record) for record in data["epochs"]), best_epoch=data["best_epoch"])
