"""train.json as the report reads it: nothing in it is trusted, and whatever is missing reads as None."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tersenet.container import read_file
from tersenet.errors import TersenetError
from tersenet.report.record import number, rows, size, table, words
from tersenet.report.text import MISSING

FILE = "train.json"


@dataclass(frozen=True)
class TrainedEpoch:
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float | None
    seconds: float | None


@dataclass(frozen=True)
class WorstExample:
    """`picture` is the base64 of a PNG, or empty."""

    index: int
    loss: float
    true: int | None
    predicted: int | None
    picture: str


@dataclass(frozen=True)
class Training:
    """What happened in a training, and how the network answers on one part of the data."""

    source: str
    data: str
    seed: Any
    machine: str
    parameters: int | None
    weights_bytes: int | None
    config: dict[str, Any]
    epochs: list[TrainedEpoch]
    best_epoch: int | None
    scores: dict[str, Any]
    part: str
    class_names: list[str] = field(default_factory=list)
    counts: list[list[int]] = field(default_factory=list)
    worst: list[WorstExample] = field(default_factory=list)

    def name(self, place: int | None) -> str:
        """Of a class."""
        if place is None:
            return MISSING
        return self.class_names[place] if 0 <= place < len(self.class_names) else str(place)


def read_training(folder: Path) -> Training:
    """The record in a run folder of train. Raises TersenetError where it is none."""
    path = folder / FILE
    try:
        data = json.loads(read_file(path).decode())
    except (ValueError, RecursionError) as error:
        if isinstance(error, TersenetError):
            raise
        raise TersenetError(f"{path}: not the record of a training ({error}); train again") from error
    if not isinstance(data, dict):
        raise TersenetError(f"{path}: the record of a training is a JSON object; got {type(data).__name__}")
    history, examined = table(data.get("history")), table(data.get("examined"))
    counts = _counts(examined.get("confusion"))
    names = [str(name) for name in examined.get("classes") or []] if isinstance(examined.get("classes"), list) else []
    return Training(
        source=words(data.get("source"), "unnamed network"),
        data=words(data.get("data"), "unnamed data"),
        seed=data.get("seed"),
        machine=words(data.get("machine"), "not recorded"),
        parameters=size(data.get("parameters")),
        weights_bytes=size(data.get("bytes")),
        config=table(data.get("config")),
        epochs=[_epoch(one) for one in rows(history.get("epochs"))],
        best_epoch=size(history.get("best_epoch")),
        scores=table(data.get("scores")),
        part=words(examined.get("part"), "unnamed"),
        class_names=names if len(names) >= len(counts) else [str(place) for place in range(len(counts))],
        counts=counts,
        worst=[found for one in rows(examined.get("worst")) if (found := _worst(one)) is not None],
    )


def _epoch(one: dict[str, Any]) -> TrainedEpoch:
    return TrainedEpoch(**{name: number(one.get(name)) for name in TrainedEpoch.__dataclass_fields__})


def _counts(given: Any) -> list[list[int]]:
    """A square of counts, or nothing."""
    square = isinstance(given, list) and all(isinstance(one, list) and len(one) == len(given) for one in given)
    found = [[size(value) for value in one] for one in given] if square else []
    return [[value for value in one if value is not None] for one in found] if _whole(found) else []


def _whole(found: list[list[int | None]]) -> bool:
    return all(value is not None for one in found for value in one)


def _worst(one: dict[str, Any]) -> WorstExample | None:
    index, loss = size(one.get("index")), number(one.get("loss"))
    if index is None or loss is None:
        return None
    return WorstExample(index, loss, size(one.get("true")), size(one.get("predicted")), words(one.get("picture"), ""))
