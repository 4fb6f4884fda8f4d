"""Quality against bytes for every way to compress a network, point by point, so that it can be stopped and gone on with.

READ FIRST
  1. A point is a recipe carried out: a file is written, its length counted, and the network read back from it scored.
  2. compare.json is on the disk after every point. The same call, or one with other lines, takes what is there and
     measures the rest; within a point that trains, its run folder goes on.
  3. A recipe that a network refuses (no layer of that kind, say) is a point with the reason in place of numbers. If all
     are refused, so is the call.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tersenet import artifact
from tersenet.calibration import sample_batches
from tersenet.container import atomic_write, decode
from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.recipes import Recipe, Task, run
from tersenet.recipes.fingerprint import add_data, add_network, check_finite
from tersenet.search.comparison import ComparedPoint, Comparison, key_of
from tersenet.search.lines import Amount, amounts, check_lines, known_lines
from tersenet.search.resume import check_budget, check_examples, measure_all, metric_name, opened
from tersenet.training import TrainConfig
from tersenet.training.evaluate import Score, evaluate

BATCH_SIZE = 256
FLOAT32_BYTES = 4
DEPENDS_ON = "weights, data, examples, metric, coder, seed, layers, calibration or training"


def compare(
    network: Network,
    data: Any,
    folder: str | os.PathLike[str],
    *,
    train: Any = None,
    lines: Sequence[str] | None = None,
    where: str = "*",
    calibrate: int = 0,
    train_config: TrainConfig | None = None,
    levels: int | None = None,
    examples: int | None = None,
    budget_s: float | None = None,
    metric: Callable[..., float] | None = None,
    coder: str = "huffman",
    seed: int = 0,
    device: str = "cpu",
    source: str = "",
    on_point: Callable[[int, int], None] | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Comparison:
    """Compress a network in every way, and score what the files hold; the network itself stays as it is.

    data           a split of the zoo, or a loader of (x, y) batches: what is scored on
    folder         compare.json, files/ and, while a point is being made, run/
    train          training data, for calibration and training
    lines          forms by their names, and prune, prune + codebook, low_rank, tucker2; all by default
    where          patterns of layers, as in recipes
    calibrate      training inputs, labels unread, that stored weights are fitted to; 0: weights alone
    train_config   training after each step; none by default
    levels         at most so many points a line, spread over its range
    examples       score on so many inputs, drawn by `seed`, instead of all
    budget_s       seconds after which no other point is begun; the record says how many are missing
    metric         fn(model, loader) -> float, larger is better, instead of accuracy

    Raises TersenetError for bad input, among it a folder with a record of other weights or data. A KeyboardInterrupt
    leaves a folder from which the same call goes on.
    """
    names = known_lines() if lines is None else tuple(dict.fromkeys(lines))
    check_lines(names)
    check_budget(budget_s)
    check_examples(examples)
    if levels is not None and levels < 1:
        raise TersenetError(f"{levels} points a line; give 1 or more, or none for all")
    if train is None and (calibrate or train_config is not None):
        raise TersenetError("calibration and training need training data, and none was given; pass train")
    check_finite(network)
    asked = _asked(amounts(names, where=where, calibrate=calibrate, train=train_config, most=levels))
    config = None if train_config is None else train_config.model_dump(mode="json")
    about = [examples, metric_name(metric), coder, seed, device, where, calibrate, config]
    fingerprint = _fingerprint(network, data, train, about)
    if examples is not None:
        data = list(sample_batches(data, examples, BATCH_SIZE, seed))
    comparing = _Comparing(network.clone(), data, train, Path(folder), metric, coder, seed, device, source, on_event)
    path = _made(Path(folder)) / "compare.json"
    record = opened(path, fingerprint, Comparison, DEPENDS_ON)
    if record is None:
        record = comparing.begun(fingerprint)
    todo = {key_of(one.line, _written(one)): partial(comparing.measured, one, record) for one in asked}
    record = measure_all(record, todo, path, budget_s, on_point)
    if record.points and all(point.refused for point in record.points):
        raise TersenetError(f"nothing could be compared: {record.points[0].line}: {record.points[0].refused}")
    return record


class _Comparing:
    """What all points share."""

    def __init__(
        self,
        network: Network,
        data: Any,
        train: Any,
        folder: Path,
        metric: Callable[..., float] | None,
        coder: str,
        seed: int,
        device: str,
        source: str,
        on_event: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.network, self.data, self.train, self.folder = network, data, train, folder
        self.metric, self.coder, self.seed, self.device = metric, coder, seed, device
        self.source, self.on_event = source, on_event

    def begun(self, fingerprint: str) -> Comparison:
        score = self._score(self.network)
        trained = [name for name in self.network.graph.parameters if name not in self.network.graph.buffers]
        return Comparison(
            fingerprint=fingerprint,
            source=self.source,
            measure="metric" if score.metric is not None else "accuracy" if score.accuracy is not None else "loss",
            original=score.quality,
            original_top5=score.top5,
            original_bytes=FLOAT32_BYTES * sum(self.network.dense(name).numel() for name in trained),
            examples=score.examples,
            coder=self.coder,
            missing=0,
        )

    def measured(self, amount: Amount, record: Comparison) -> ComparedPoint:
        steps = _written(amount)
        known: dict[str, Any] = {"line": amount.line, "amount": amount.name, "steps": steps}
        run_dir = self.folder / "run" / hashlib.sha256(key_of(amount.line, steps).encode()).hexdigest()[:16]
        recipe = Recipe(name=amount.line, steps=amount.steps, coder=self.coder)  # type: ignore[arg-type]
        task = Task(
            recipe=recipe,
            train=self.train,
            seed=self.seed,
            run_dir=run_dir,
            device=self.device,
            provenance=False,
            source=self.source,
        )
        started = time.monotonic()
        try:
            data, done = run(self.network, task, self.on_event)
        except TersenetError as error:
            shutil.rmtree(run_dir, ignore_errors=True)
            return ComparedPoint(**known, refused=str(error))
        seconds = time.monotonic() - started
        stored = artifact.from_contents(decode(data, max_bytes=64 * record.original_bytes + (64 << 20)))
        score = self._score(stored)
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        atomic_write(files / _file_name(amount), data)
        shutil.rmtree(run_dir)
        table = done.final["table"]["total"]
        # Not the table's own rate: a factorised layer stores fewer numbers, each at its full width.
        formula_rate = 8 * record.original_bytes / max(table["formula_bits"], 1)
        # It counts no places, and zeros that pruning left may be stored as values.
        whole = table["stored"] == table["weights"] and all(step.id != "prune" for step in amount.steps)  # type: ignore[attr-defined]
        return ComparedPoint(
            **known,
            file_bytes=len(data),
            rate=round(record.original_bytes / len(data), 4),
            formula_rate=round(formula_rate, 4) if whole else None,
            quality=score.quality,
            # 0.30000000000000004 points are 0.3.
            lost_points=round(100 * (record.original - score.quality), 8),
            top5=score.top5,
            seconds=round(seconds, 3),
        )

    def _score(self, network: Network) -> Score:
        return evaluate(network, self.data, batch_size=BATCH_SIZE, metric=self.metric, device=self.device)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TersenetError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    return folder


def _asked(lines: dict[str, list[Amount]]) -> list[Amount]:
    """All points, the middle of every line before its finer ones."""
    return [one for round_of in zip_longest(*lines.values()) for one in round_of if one is not None]


def _written(amount: Amount) -> tuple[dict[str, Any], ...]:
    return tuple({"id": step.id, **step.model_dump(exclude_defaults=True, mode="json")} for step in amount.steps)  # type: ignore[attr-defined]


def _file_name(amount: Amount) -> str:
    """prune + codebook, keep 0.1: prune-codebook-keep-0.1.terse"""
    words = f"{amount.line} {amount.name}".replace(",", " ").replace("+", " ")
    kept = "".join(one if one.isalnum() or one in "._" else " " for one in words)
    return "-".join(kept.split()) + ".terse"


def _fingerprint(network: Network, data: Any, train: Any, about: list[Any]) -> str:
    digest = hashlib.sha256(json.dumps(about).encode())
    add_network(digest, network)
    add_data(digest, data)
    if train is not None:
        add_data(digest, train)
    return digest.hexdigest()
