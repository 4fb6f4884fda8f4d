"""What a loader is asked for."""

from dataclasses import dataclass
from pathlib import Path

from tersenet.zoo.data.errors import DataError
from tersenet.zoo.preprocess import Preprocess

PARTS = ("train", "validate", "test")
NOT_ASKED = "it was not asked for"


@dataclass(frozen=True)
class Request:
    """data_dir    the folder to look in first
    download    fetch what is absent
    preprocess  the network's; None is the data set's own
    parts       those wanted; a loader may leave the others unread
    """

    data_dir: str | Path | None = None
    download: bool = False
    preprocess: Preprocess | None = None
    parts: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise DataError(f"parts {self.parts} were asked for; choose among {', '.join(PARTS)}")

    @property
    def learns(self) -> bool:
        """Whether the training set has to be read: for itself, or for what is held out of it."""
        return "train" in self.parts or "validate" in self.parts
