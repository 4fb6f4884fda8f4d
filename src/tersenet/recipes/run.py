"""A recipe carried out, stage by stage, so that it can be stopped at any point and gone on with.

READ FIRST
  1. A run folder holds run.json and one .terse file a finished stage. A stage is finished when run.json says so.
  2. Every stage starts from the file of the one before it, also when nothing was interrupted: so an interrupted run
     and an undisturbed one compute the same bits.
  3. run.json carries a fingerprint of recipe, seed, starting weights and data; another run's folder is refused.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tersenet import artifact
from tersenet.container import atomic_write, decode, encode, read_file
from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.measure.compression_table import compression_table
from tersenet.measure.measurement import Subject, compare
from tersenet.methods.distill import answered, lesson, teacher_fingerprint
from tersenet.recipes.fingerprint import add_data, add_network, check_finite
from tersenet.recipes.recipe import Recipe
from tersenet.recipes.steps import Situation, Step
from tersenet.training import TrainConfig
from tersenet.training.devices import machine_name
from tersenet.training.evaluate import Score, evaluate
from tersenet.training.loop import fit

Event = Callable[[dict[str, Any]], None]
# A parameter takes this many bytes before compression; what ratios are counted from.
FLOAT32_BYTES = 4


class GoalNotMet(TersenetError):
    """No point that was tried keeps the promise the user asked for."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be compressed, with what, towards what.

    train, validate, test   splits of the zoo, or loaders of (x, y) batches; train may be absent where nothing trains
    metric                  fn(model, loader) -> float, larger is better, instead of accuracy
    max_drop                points of validation accuracy (or of the metric, times 100) that may be lost, or None
    begin                   a .terse file that the first step takes in place of the network, which it is still held against
    teacher                 who teaches where a step asks for it: None is the network that the run began with
    """

    recipe: Recipe
    train: Any = None
    validate: Any = None
    test: Any = None
    metric: Callable[..., float] | None = None
    max_drop: float | None = None
    teacher: nn.Module | None = None
    begin: Path | None = None
    seed: int = 0
    run_dir: Path
    device: str = "cpu"
    provenance: bool = True
    source: str = ""


@dataclass
class RunRecord:
    """What happened, as run.json holds it; the report is drawn from it alone."""

    fingerprint: str
    source: str
    recipe: dict[str, Any]
    seed: int
    machine: str
    parameters: int
    original_bytes: int
    stages: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)

    def save(self, run_dir: Path) -> None:
        atomic_write(run_dir / "run.json", json.dumps(asdict(self), indent=1).encode())


def run(network: Network, task: Task, on_event: Event | None = None) -> tuple[bytes, RunRecord]:
    """The bytes of the finished file and the record of how it came about.

    Raises GoalNotMet where `max_drop` cannot be kept, TersenetError for bad input; a KeyboardInterrupt leaves a
    folder from which the same call goes on.
    """
    _check_task(network, task)
    try:
        task.run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TersenetError(f"{task.run_dir}: cannot be made ({error.strerror}); choose another run folder") from error
    return _Runner(network, task, on_event or (lambda event: None)).run()


def _check_task(network: Network, task: Task) -> None:
    if task.recipe.trains and task.train is None:
        raise TersenetError(
            f"recipe {task.recipe.name} needs training data, and none was given; pass data, or use share-code"
        )
    if task.max_drop is not None and task.validate is None:
        raise TersenetError("a largest drop was given but no validation data to measure it on")
    if task.teacher is not None and all(step.teacher is None for step in task.recipe.steps):
        raise TersenetError(
            f"a teacher was given, but no step of recipe {task.recipe.name} learns from one; give a step teacher: {{}}, "
            "or add a step distill"
        )
    check_finite(network)


class _Runner:
    def __init__(self, network: Network, task: Task, on_event: Event) -> None:
        self.task = task
        self.on_event = on_event
        self.start = network.clone()
        self.record = self._open(network)
        self.position = 0  # how many of record.stages have been replayed or done
        self.current: Path | None = task.begin

    def run(self) -> tuple[bytes, RunRecord]:
        if "original" not in self.record.final:
            self._note_original()
        for step_number, step in enumerate(self.task.recipe.steps):
            self._run_step(step_number, step)
        return self._finish()

    # Stages ---------------------------------------------------------------------------------------------------

    def _run_step(self, number: int, step: Step) -> None:
        for stage in range(step.stages):
            tried: Step | None = step
            attempt = 0
            while tried is not None:
                entry = self._run_stage(number, tried, stage, attempt)
                if not entry["rejected"]:
                    self.current = self.task.run_dir / entry["file"]
                    break
                if step.may_stop_early:
                    return
                tried, attempt = tried.gentler(), attempt + 1
            else:
                raise GoalNotMet(
                    f"{step.label(stage)} loses {entry['drop_points']:.2f} points of validation accuracy at its gentlest; "
                    f"{self.task.max_drop:g} were allowed. Nothing was written; {self.task.run_dir} has the stages tried"
                )

    def _run_stage(self, number: int, step: Step, stage: int, attempt: int) -> dict[str, Any]:
        key = f"{number}.{stage}.{attempt}"
        if self.position < len(self.record.stages):
            entry = self.record.stages[self.position]
            if entry["key"] != key:
                raise TersenetError(
                    f"{self.task.run_dir}/run.json has stage {entry['key']} where {key} belongs; delete it"
                )
            self.position += 1
            return entry
        started = time.time()
        label = step.label(stage) + (f" (attempt {attempt + 1})" if attempt else "")
        self.on_event({"kind": "stage", "label": label, "number": number, "steps": len(self.task.recipe.steps)})
        at = self._situation(stage, label)
        network, notes = step.change(self._network(self.current), at)
        history = self._train(network, step, at, key, label)
        network, more = step.settle(network, at)
        provisional = artifact.to_bytes(network, "raw")
        entry = {
            "key": key,
            "step": step.id,  # type: ignore[attr-defined]
            "label": label,
            "file": f"stage-{key}.terse",
            "raw_bytes": len(provisional),
            "coded_bytes": len(artifact.to_bytes(network, self.task.recipe.coder)),
            "validate": self._score(network, self.task.validate, f"{label}: validate"),
            "history": history,
            "notes": notes + more,
            "seconds": round(time.time() - started, 3),
        }
        entry["drop_points"] = self._drop_points(entry["validate"])
        allowed = self.task.max_drop
        entry["rejected"] = allowed is not None and entry["drop_points"] is not None and entry["drop_points"] > allowed
        atomic_write(self.task.run_dir / entry["file"], provisional)
        self.record.stages.append(entry)
        self.record.save(self.task.run_dir)
        for leftover in self.task.run_dir.glob(f"train-{key}.ckpt*"):
            leftover.unlink()
        self.position += 1
        return entry

    def _network(self, file: Path | None) -> Network:
        """The network of a stage, or without one that which the run began with; on the CPU, where steps change it."""
        if file is None:
            return self.start.clone()
        contents = decode(read_file(file), name=str(file), max_bytes=self._limit())
        return artifact.from_contents(contents)

    def _situation(self, stage: int, label: str) -> Situation:
        def quality(network: Network) -> float:
            score = self._score(network, self.task.validate, f"{label}: validate")
            if score is None:
                raise TersenetError(f"step {label} chooses by validation data, and none was given; pass validate")
            return quality_of(score)

        def earlier(steps: int) -> Network:
            kept = [entry for entry in self.record.stages if not entry["rejected"]]
            files = [entry["file"] for entry in kept if int(entry["key"].split(".")[0]) < steps]
            return self._network(self.task.run_dir / files[-1] if files else None)

        task = self.task
        return Situation(
            stage=stage, seed=task.seed, train=task.train, validate=task.validate, quality=quality, earlier=earlier
        )

    def _train(self, network: Network, step: Step, at: Situation, key: str, label: str) -> list[dict[str, Any]]:
        config = step.train_config(at.stage)
        if config is None or config.epochs == 0:
            return []
        model, data, config, taught = self._taught(network, step, config, label)
        history = fit(
            model,
            data,
            self.task.validate,
            config,
            seed=self.task.seed,
            checkpoint=self.task.run_dir / f"train-{key}.ckpt",
            device=self.task.device,
            after_step=step.after_step(at),
            on_event=lambda event: self.on_event({"kind": "train", "label": label, **event}),
            **taught,
        )
        network.cpu()
        return [asdict(epoch) for epoch in history.epochs]

    def _taught(
        self, network: Network, step: Step, config: TrainConfig, label: str
    ) -> tuple[nn.Module, Any, TrainConfig, dict[str, Any]]:
        """What trains, on what and how, with what else `fit` is given where a teacher is followed."""
        task, settings = self.task, step.teacher
        if settings is None:
            return network, task.train, config, {}
        teacher = self.start.clone() if task.teacher is None else task.teacher
        given = network.graph.inputs[0]
        example = torch.zeros(2, *given.shape, dtype=getattr(torch, given.dtype), device=task.device)
        network, teacher = network.to(task.device), teacher.to(task.device)
        live = lesson(network, teacher, settings, config, example, seed=task.seed)
        if not settings.views:
            return live.model, task.train, config, {"criterion": live.criterion}
        told = {"kind": "evaluate", "label": f"{label}: ask the teacher"}
        once = answered(
            teacher,
            task.train,
            settings,
            config,
            task.run_dir / "answers",
            seed=task.seed,
            device=task.device,
            on_batch=lambda done, of: self.on_event(told | {"step": done, "steps": of}),
        )
        return network, once.data, once.config, {"criterion": once.criterion, "labels_of": once.labels_of}

    # Scores ---------------------------------------------------------------------------------------------------

    def _score(self, network: Network, data: Any, label: str) -> dict[str, Any] | None:
        if data is None:
            return None
        told = {"kind": "evaluate", "label": label}
        self.on_event(told)
        score = evaluate(
            network,
            data,
            metric=self.task.metric,
            device=self.task.device,
            loss=self.task.recipe.loss,
            on_batch=lambda done, of: self.on_event(told | {"step": done, "steps": of}),
        )
        network.cpu()
        return {name: value for name, value in asdict(score).items() if value is not None}

    def _drop_points(self, score: dict[str, Any] | None) -> float | None:
        original = self.record.final["original"]["validate"]
        if score is None or original is None:
            return None
        before, after = (quality_of(one) for one in (original, score))
        # 0.30000000000000004 points are 0.3.
        return round(100 * (before - after), 8)

    def _note_original(self) -> None:
        self.record.final["original"] = {
            "validate": self._score(self.start, self.task.validate, "original: validate"),
            "test": self._score(self.start, self.task.test, "original: test"),
        }
        self.record.save(self.task.run_dir)

    # The folder and the file ----------------------------------------------------------------------------------

    def _open(self, network: Network) -> RunRecord:
        fingerprint = _fingerprint(network, self.task)
        path = self.task.run_dir / "run.json"
        if path.exists():
            try:
                record = RunRecord(**json.loads(read_file(path)))
            except (ValueError, TypeError) as error:
                raise TersenetError(
                    f"{path}: not a run record ({error}); delete the folder or choose another"
                ) from error
            if record.fingerprint != fingerprint:
                raise TersenetError(
                    f"{self.task.run_dir} belongs to another run (recipe, seed, weights or data differ); "
                    "choose another run folder or delete it"
                )
            return record
        # Running statistics are not parameters: the ratio is counted as the literature does.
        trained = [name for name in network.graph.parameters if name not in network.graph.buffers]
        parameters = sum(network.dense(name).numel() for name in trained)
        return RunRecord(
            fingerprint=fingerprint,
            source=self.task.source,
            recipe=self.task.recipe.model_dump(mode="json"),
            seed=self.task.seed,
            machine=machine_name(self.task.device),
            parameters=parameters,
            original_bytes=FLOAT32_BYTES * parameters,
        )

    def _limit(self) -> int:
        """What our own files may take while they are read: some copies of the network that was given."""
        given = sum(self.start.dense(name).numel() for name in self.start.graph.parameters)
        return 8 * FLOAT32_BYTES * given + (64 << 20)

    def _finish(self) -> tuple[bytes, RunRecord]:
        network = self._network(self.current)
        final = self.record.final
        if "test" not in final:
            final["validate"] = self._score(network, self.task.validate, "result: validate")
            final["drop_points"] = self._drop_points(final["validate"])
            final["test"] = self._score(network, self.task.test, "result: test")
        drop, allowed = final["drop_points"], self.task.max_drop
        if allowed is not None and drop is not None and drop > allowed:
            raise GoalNotMet(f"the result loses {drop:.2f} points of validation accuracy; {allowed:g} were allowed")
        data = encode(artifact.to_model(network, self.task.recipe.coder, self._provenance()), self.task.recipe.coder)
        contents = decode(data, max_bytes=self._limit())
        final["file_bytes"] = len(data)
        final["ratio"] = self.record.original_bytes / len(data)
        final["ledger"] = [asdict(row) for row in contents.ledger]
        final["table"] = compression_table(contents).to_dict()
        if "cost" not in final:
            final["cost"] = self._cost(artifact.from_contents(contents), data)
        atomic_write(self.task.run_dir / "result.terse", data)
        self.record.save(self.task.run_dir)
        self.on_event({"kind": "done", "file_bytes": len(data)})
        return data, self.record

    def _cost(self, result: Network, data: bytes) -> dict[str, Any]:
        """Of one answer of the original and of the result; the result in our runtime too, where it runs."""
        inputs = tuple(torch.zeros(1, *one.shape, dtype=getattr(torch, one.dtype)) for one in result.graph.inputs)
        original = Subject(model=self.start, inputs=inputs)
        return compare(original, Subject(model=result, inputs=inputs, file=data, max_bytes=self._limit())).to_dict()

    def _provenance(self) -> dict[str, Any] | None:
        if not self.task.provenance:
            return None
        from tersenet import __version__

        scores = {
            split: {name: round(value, 6) if isinstance(value, float) else value for name, value in score.items()}
            for split in ("validate", "test")
            if (score := self.record.final[split]) is not None
        }
        return {"recipe": self.task.recipe.compact(), "seed": self.task.seed, "tersenet": __version__, "scores": scores}


def _fingerprint(network: Network, task: Task) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps(task.recipe.model_dump(mode="json"), sort_keys=True).encode())
    digest.update(json.dumps([task.seed, task.max_drop, task.provenance, task.device]).encode())
    if task.teacher is not None:
        digest.update(teacher_fingerprint(task.teacher).encode())
    if task.begin is not None:
        digest.update(read_file(task.begin))
    add_network(digest, network)
    for data in (task.train, task.validate, task.test):
        add_data(digest, data)
    return digest.hexdigest()


def quality_of(score: dict[str, Any]) -> float:
    return Score(**{name: score.get(name) for name in ("accuracy", "top5", "loss", "examples", "metric")}).quality
