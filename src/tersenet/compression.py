"""The front door: a network and a recipe in, a small file and an account of it out."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tersenet import artifact
from tersenet.container import atomic_write, decode
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.ir import Preprocess
from tersenet.methods.distill import as_teacher
from tersenet.methods.oneshot import MIDDLE
from tersenet.recipes.recipe import Recipe, load_recipe
from tersenet.recipes.run import Event, RunRecord, Task, run
from tersenet.report import write as write_report
from tersenet.search.quality import Goal, find_point
from tersenet.training.devices import resolve_device


@dataclass(frozen=True)
class Result:
    """A finished compression.

    network   the compressed network, an nn.Module that runs and trains on
    data      the bytes of the file
    record    what happened, stage by stage
    """

    network: Network
    data: bytes
    record: RunRecord
    run_dir: Path
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def file_bytes(self) -> int:
        """The length of the file."""
        return len(self.data)

    @property
    def ratio(self) -> float:
        """Bytes of the original's parameters as float32, divided by the length of the file."""
        return self.record.original_bytes / len(self.data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.terse` file, whole or not at all."""
        atomic_write(path, self.data)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write the account as one HTML file that opens offline."""
        write_report(self.run_dir, path)


def compress(
    model: nn.Module,
    *,
    recipe: str | os.PathLike[str] | Recipe = "han2016",
    train: Any = None,
    validate: Any = None,
    test: Any = None,
    example: Tensor | tuple[Tensor, ...] | None = None,
    metric: Callable[..., float] | None = None,
    max_drop: float | None = None,
    target_bytes: int | None = None,
    quality: float | None = None,
    teacher: Any = None,
    seed: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    preprocess: Preprocess | None = None,
    provenance: bool = True,
    source: str = "",
    on_event: Event | None = None,
) -> Result:
    """Make a trained network small by a recipe, and say what it cost.

    model      an nn.Module, or a Network from `tersenet.load`; it is not changed
    recipe     a shipped recipe's name, a .yaml file, or a Recipe
    train, validate, test   loaders of (x, y) batches, or splits of `tersenet.zoo.data`; what the recipe trains on,
               what every choice is made on, what only the end is reported on
    example    an input of the network, batch axis first; taken from the first batch where data is given
    preprocess what turns stored pixels into the input, to be kept in the file
    max_drop   points of validation accuracy that may be lost: the run goes back to the last stage that keeps them, and
               raises GoalNotMet if none does; a recipe with a quality is searched for its smallest file instead
    target_bytes   the most that the file may take: the quality of the recipe is searched for the best score under it
    quality    0 to 100, of a recipe that has one: towards 0 fewer bytes, towards 100 fewer errors
    teacher    who teaches where the recipe asks for it: a network, a .terse file, a callable, or a list of these, whose
               answers are averaged; None is `model` as it came
    device     "cpu", "cuda", or "auto"
    run_dir    where stages and checkpoints are kept; the same call goes on from there after an interruption
    """
    recipe = load_recipe(recipe)
    if quality is not None:
        if target_bytes is not None:
            raise TersenetError("a quality is one point and a target size searches for one; give one of them")
        recipe = recipe.at_quality(quality)
    goal = None
    if target_bytes is not None or (max_drop is not None and recipe.has_quality and quality is None):
        recipe.at_quality(MIDDLE)  # refused where it has none
        goal = Goal(target_bytes=target_bytes, max_drop=max_drop)
    if isinstance(model, Network):
        network = model
    else:
        network = capture(model, _example(example, train, validate, test), preprocess=preprocess)
    folder = tempfile.TemporaryDirectory(prefix="tersenet-") if run_dir is None else None
    path = Path(folder.name if folder is not None else run_dir)  # type: ignore[arg-type]
    task = Task(
        recipe=recipe,
        train=train,
        validate=validate,
        test=test,
        metric=metric,
        max_drop=max_drop,
        teacher=None if teacher is None else as_teacher(teacher),
        seed=seed,
        run_dir=path,
        device=str(resolve_device(device)),
        provenance=provenance,
        source=source or type(model).__name__,
    )
    if goal is None:
        data, record = run(network, task, on_event)
    else:
        data, record, path = find_point(network, task, goal, on_event)
    contents = decode(data, max_bytes=8 * record.original_bytes + (1 << 26))
    return Result(artifact.from_contents(contents), data, record, path, folder)


def _example(example: Tensor | tuple[Tensor, ...] | None, *sources: Any) -> Tensor | tuple[Tensor, ...]:
    if example is not None:
        return example
    for data in sources:
        if data is None:
            continue
        if hasattr(data, "batch"):
            if len(data) == 0:
                raise TersenetError("the data is empty; at least one example is needed")
            return data.batch(torch.arange(min(2, len(data))))[0]
        first = next(itertools.islice(iter(data), 1), None)
        if first is None:
            raise TersenetError("the data loader gave no batch; at least one is needed")
        if not isinstance(first, (tuple, list)) or len(first) < 2:
            raise TersenetError(f"a data loader gives (x, y) batches; the first one is a {type(first).__name__}")
        return first[0]
    raise TersenetError("how the network is called is not known; pass data, or example=a batch of its input")
