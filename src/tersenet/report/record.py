"""run.json as the report reads it: nothing in it is trusted, and whatever is missing reads as None.

A run that was stopped has no result yet, and another version may lack a key; the report draws what is there.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tersenet.container import read_file
from tersenet.errors import TersenetError

# Above this a number is no size, score or time of ours, and arithmetic on it would overflow.
LARGEST = 1e24


def number(value: Any) -> float | int | None:
    """A finite number, or None for anything else; bool is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Compared before math.isfinite, which cannot take an int beyond float's range.
    return value if -LARGEST < value < LARGEST and math.isfinite(value) else None


def size(value: Any) -> int | None:
    """A number of bytes, weights or operations: a whole number, 0 or more."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def words(value: Any, instead: str) -> str:
    """A text that is not empty, or what stands for it."""
    return value if isinstance(value, str) and value else instead


def table(value: Any) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[dict[str, Any]]:
    """A list of JSON objects; what is none is left out."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def first(row: dict[str, Any], *keys: str) -> Any:
    """The value of the first of these keys that is there and not None."""
    return next((row[key] for key in keys if row.get(key) is not None), None)


@dataclass(frozen=True)
class Epoch:
    """One epoch of training; what was not measured is None."""

    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True)
class Stage:
    """One finished stage. `rejected` ones lost too much and were undone."""

    label: str
    step: str
    file: str
    raw_bytes: int | None
    coded_bytes: int | None
    scores: dict[str, Any]
    drop_points: float | None
    rejected: bool
    epochs: list[Epoch]
    notes: list[str]
    seconds: float | None


@dataclass(frozen=True)
class Record:
    """What happened in a run, with its parts in the order in which they happened."""

    folder: Path
    source: str
    recipe: dict[str, Any]
    seed: Any
    machine: str
    parameters: int | None
    original_bytes: int | None
    stages: list[Stage] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)

    @property
    def kept_stages(self) -> list[Stage]:
        return [stage for stage in self.stages if not stage.rejected]

    @property
    def last_kept(self) -> Stage | None:
        return self.kept_stages[-1] if self.kept_stages else None

    @property
    def file_bytes(self) -> int | None:
        return size(self.final.get("file_bytes"))

    @property
    def finished(self) -> bool:
        return self.file_bytes is not None

    @property
    def costs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What an answer costs before and after; empty where it was not measured."""
        found = table(self.final.get("cost"))
        return table(found.get("before")), table(found.get("after"))

    @property
    def recipe_name(self) -> str:
        return words(self.recipe.get("name"), "unnamed recipe")

    @property
    def coder(self) -> str:
        return words(self.recipe.get("coder"), "unknown coder")

    @property
    def original_scores(self) -> dict[str, Any]:
        return table(self.final.get("original"))


def read_record(folder: Path) -> Record:
    """The record in a run folder. Raises TersenetError where there is none or it is no record."""
    path = folder / "run.json"
    if not path.is_file():
        raise TersenetError(f"{folder}: no run.json in it; give the run folder that compress wrote (FILE.terse.run)")
    try:
        data = json.loads(read_file(path).decode())
    except (ValueError, RecursionError) as error:
        if isinstance(error, TersenetError):
            raise
        raise TersenetError(f"{path}: not a run record ({error}); run the compression again") from error
    if not isinstance(data, dict):
        raise TersenetError(f"{path}: a run record is a JSON object; got {type(data).__name__}")
    return Record(
        folder=folder,
        source=words(data.get("source"), "unnamed network"),
        recipe=table(data.get("recipe")),
        seed=data.get("seed"),
        machine=words(data.get("machine"), "not recorded"),
        parameters=size(data.get("parameters")),
        original_bytes=size(data.get("original_bytes")),
        stages=[_stage(row, position) for position, row in enumerate(rows(data.get("stages")), 1)],
        final=table(data.get("final")),
    )


def _stage(row: dict[str, Any], position: int) -> Stage:
    notes = row.get("notes")
    history = row.get("history")
    return Stage(
        label=words(row.get("label"), f"stage {position}"),
        step=words(row.get("step"), ""),
        file=words(row.get("file"), ""),
        raw_bytes=size(row.get("raw_bytes")),
        coded_bytes=size(row.get("coded_bytes")),
        scores=table(row.get("validate")),
        drop_points=number(row.get("drop_points")),
        rejected=row.get("rejected") is True,
        epochs=[_epoch(epoch) for epoch in rows(table(history).get("epochs", history))],
        notes=[str(note) for note in notes] if isinstance(notes, list) else [],
        seconds=number(row.get("seconds")),
    )


def _epoch(row: dict[str, Any]) -> Epoch:
    return Epoch(
        train_loss=number(first(row, "train_loss", "loss")),
        train_accuracy=number(first(row, "train_accuracy", "accuracy")),
        validation_loss=number(first(row, "validation_loss", "validate_loss")),
        validation_accuracy=number(first(row, "validation_accuracy", "validate_accuracy")),
    )
