"""The one training loop. Killed at any point and started again, it ends in the same bytes.

READ FIRST
  1. Between two steps the run is whole: epoch, step, sums, model, optimiser and generators belong together.
     It is saved only then; signals wait for it.
  2. What a step does follows from that state and from (seed, epoch, step): nothing else is carried along.
     A hook that keeps a state of its own breaks this.
  3. A checkpoint of a finished run holds its last state, the best one and the averaged one, so asking again costs a
     read.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tersenet.training import checkpoint as checkpoints
from tersenet.training.accompanied import network_of
from tersenet.training.average import STATISTICS_EXAMPLES, Average
from tersenet.training.batches import Batches, Data, derive_seed
from tersenet.training.config import TrainConfig
from tersenet.training.devices import OneProcess, make_devices
from tersenet.training.errors import TrainingError, TrainingWarning
from tersenet.training.evaluate import Score, evaluate
from tersenet.training.history import EpochRecord, History
from tersenet.training.interrupts import DeferredInterrupts, Stopped
from tersenet.training.layout import channels_last
from tersenet.training.losses import batch_loss, check_labels, count_correct
from tersenet.training.meter import Meter, Sums
from tersenet.training.optimiser import make_optimiser, set_rates
from tersenet.training.recorded import Recorder
from tersenet.training.regularise import Penalty
from tersenet.training.state import (
    fill_generators,
    fill_model,
    fill_optimiser,
    generator_states,
    global_generators_kept,
    model_tensors,
    optimiser_state,
)

QUIET_SECONDS = 1.0
QUIET_TIMES = 20
"""An epoch that ends sooner than this after the last checkpoint writes none, nor one that ends before so many times
what that took: some epochs take but 30 ms, and on a GPU some less than their checkpoint."""

Event = dict[str, Any]
Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]
AfterStep = Callable[[nn.Module, float], None]


def fit(
    model: nn.Module,
    train: Data,
    validate: Data | None,
    config: TrainConfig,
    *,
    seed: int,
    checkpoint: Path | str | None = None,
    device: str | torch.device = "cpu",
    on_event: Callable[[Event], None] | None = None,
    event_every_steps: int = 50,
    checkpoint_seconds: float = 30.0,
    loss_extra: Callable[[nn.Module], Tensor] | None = None,
    criterion: Criterion | None = None,
    labels_of: Callable[[Tensor], Tensor] | None = None,
    after_step: AfterStep | None = None,
    stop: Callable[[History], bool] | None = None,
) -> History:
    """Train `model` in place, and say how each epoch went.

    seed         decides order, augmentation and dropout; not the weights that the model comes with
    checkpoint   where to save and go on from, and `<checkpoint>.old`; Ctrl-C and SIGTERM save, then pass on
    device       "cpu", "cuda", "auto"; under `accelerate launch` each process has its own
    on_event     gets a dict every `event_every_steps` steps: stage, epoch, epochs, step, steps, loss,
                 accuracy, lr, seconds_left. May raise KeyboardInterrupt
    loss_extra   a penalty to add, from the model
    criterion    the loss from (outputs, targets, inputs) in place of config.loss: for a teacher
    labels_of    the labels in targets that hold more, which the criterion reads: what accuracy is counted from
    after_step   called with the model and the share of the training that is done, 0 to 1, when the weights have moved:
                 to put back what must stay zero, or to change a mask
    stop         asked after each epoch; True ends the run there
    """
    if config.epochs == 0:
        return History()
    with global_generators_kept(), DeferredInterrupts() as interrupts:
        run = _Run(model, train, validate, config, seed, make_devices(device), interrupts)
        run.path = None if checkpoint is None else Path(checkpoint)
        run.on_event = on_event
        run.event_every_steps = event_every_steps
        run.checkpoint_seconds = checkpoint_seconds
        run.loss_extra, run.criterion, run.after_step, run.stop = loss_extra, criterion, after_step, stop
        if after_step is not None and run.average is not None:
            raise TrainingError(
                f"average {config.average} would mix weights of before and after what is done to them after each step; "
                "set average none"
            )
        run.labels_of = labels_of
        try:
            with nullcontext() if run.recorder is None else run.recorder.stream():
                return run.go()
        except (Stopped, KeyboardInterrupt) as stopped:
            if run.whole:
                run.save()
            interrupts.deliver()
            raise KeyboardInterrupt from stopped


class _Run:
    """One call of `fit`; its attributes are the state of READ FIRST 1."""

    path: Path | None
    on_event: Callable[[Event], None] | None
    event_every_steps: int
    checkpoint_seconds: float
    loss_extra: Callable[[nn.Module], Tensor] | None
    criterion: Criterion | None
    labels_of: Callable[[Tensor], Tensor] | None
    after_step: AfterStep | None
    stop: Callable[[History], bool] | None

    def __init__(
        self,
        model: nn.Module,
        train: Data,
        validate: Data | None,
        config: TrainConfig,
        seed: int,
        devices: OneProcess,
        interrupts: DeferredInterrupts,
    ) -> None:
        for name, asked in (
            ("keep_best chooses", config.keep_best),
            ("patience counts", config.patience is not None),
            ("schedule plateau goes", config.schedule == "plateau"),
        ):
            if asked and validate is None:
                raise TrainingError(f"{name} by the validation split, but none was given; give one, or drop it")
        self.model = model.to(devices.device)
        self.validate = validate
        self.config = config
        self.seed = seed
        self.devices = devices
        self.interrupts = interrupts
        self.train = train
        self.batches = self.make_batches(seed)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise TrainingError("the network has no parameter that trains; ask for 0 epochs, or unfreeze some")
        self.optimiser = make_optimiser(config, list(self.parameters))
        self.penalty = Penalty(network_of(self.model), config.regularise, self.batches.examples, self.batches.steps)
        self.average = Average(self.model, config) if config.average != "none" else None
        self.wrapped = devices.wrap(self.model)
        replays = config.replay and devices.processes == 1 and devices.device.type == "cuda"
        self.recorder = Recorder(self.whole_step, self.parameters) if replays else None

        self.epoch = 0
        self.step = 0
        self.lr = config.lr
        self.meter = Meter()
        self.records: list[EpochRecord] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch: int | None = None
        self.best_rank: float | None = None
        self.finished = False
        self.epoch_seconds = 0.0

        self.whole = False
        self.resumed_generator: Tensor | None = None
        self.resumed: Callable[[], None] = lambda: None
        self.saved_at = self.started_at = time.monotonic()
        self.save_seconds = 0.0
        self.steps_here = 0

    def make_batches(self, seed: int) -> Batches:
        config = self.config
        return Batches(
            self.train,
            batch_size=config.batch_size,
            seed=seed,
            augment=config.augment,
            augment_pixels=config.augment_pixels,
            affine=config.affine,
            cutout=config.cutout,
            drop_single=any(isinstance(module, _BatchNorm) for module in self.model.modules()),
            device=self.devices.device,
        )

    def go(self) -> History:
        if self.path is not None:
            self.load(self.path)
        self.whole = True
        self.started_at = self.saved_at = time.monotonic()
        while not self.finished:
            self.train_epoch()
            self.end_epoch()
        if self.config.keeps_best:
            fill_model(self.model, self.best)
        elif self.average is not None:
            fill_model(self.model, self.average.tensors())
        return History(epochs=tuple(self.records), best_epoch=self.best_epoch)

    def train_epoch(self) -> None:
        config, optimiser, steps = self.config, self.optimiser, self.batches.steps
        began, before = time.monotonic(), self.epoch_seconds
        losses = [record.validation_loss for record in self.records]
        first_epoch, lowest, highest = self.epoch == 0 and self.step == 0, float("inf"), -1
        self.model.train()
        self.wrapped.train()
        # At step 0 the generators are seeded; later they are right only once they are put back, with a batch.
        self.whole = self.step == 0
        for step, x, y in self.batches.epoch(
            self.epoch, skip=self.step, state=self.resumed_generator, resumed=self.resumed
        ):
            self.whole = False
            length = 1 / steps if steps else 0.0
            self.lr = set_rates(optimiser, config, self.epoch + min(step * length, 1.0), length, losses)
            labels = self.labels(y)
            x, y, share = self.devices.slice(x, y)
            done_epochs = self.epoch + min((step + 1) * length, 1.0)
            if self.recorder is not None and self.recorder.ready(x, y):
                classes = check_labels(self.recorder.outputs, labels, config.loss)
                outputs, loss = self.recorder.replay(x, y, done_epochs)
            else:
                optimiser.zero_grad(set_to_none=True)
                outputs = self.answers(x)
                classes = check_labels(outputs, labels, config.loss)
                loss = self.backward(outputs, x, y, share, done_epochs)
            if classes is not None:
                lowest, highest = min(lowest, classes[0]), max(highest, classes[1])
            if config.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(self.parameters, config.clip_grad_norm, foreach=True)
            optimiser.step()
            if self.after_step is not None:
                self.after_step(network_of(self.model), done_epochs / config.epochs)
            if self.average is not None:
                self.average.after_step()
            labels = self.labels(y)
            correct = count_correct(outputs.detach(), labels, config.loss)
            self.meter.add(step, loss, correct, len(x), labels.numel())
            del outputs, loss  # and with them the way back through this step, which a recording must not meet
            self.step = step + 1
            self.steps_here += 1
            now = time.monotonic()
            self.epoch_seconds = before + now - began
            self.whole = True
            if self.step % self.event_every_steps == 0 or self.step == steps:
                self.report(self.meter.read(self.epoch, self.devices))
            due = self.path is not None and time.monotonic() - self.saved_at >= self.checkpoint_seconds
            if self.devices.any(due or self.interrupts.pending):
                if self.devices.any(self.interrupts.pending):
                    raise Stopped
                self.save()
            self.whole = False  # while the next batch is drawn, the generators run ahead of the step
        self.resumed_generator, self.resumed = None, lambda: None
        if first_epoch and lowest == highest and self.devices.is_main:
            warnings.warn(
                f"every label of the training data is {highest}; from one class alone a network learns to say nothing else",
                TrainingWarning,
                stacklevel=4,
            )

    def answers(self, x: Tensor) -> Tensor:
        config = self.config
        with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            outputs: Tensor = self.wrapped(channels_last(x))
        return outputs.float() if config.precision != "float32" and isinstance(outputs, Tensor) else outputs

    def backward(self, outputs: Tensor, x: Tensor, y: Tensor, share: float, done_epochs: float | Tensor) -> Tensor:
        """The loss of a batch, its gradients put into the parameters."""
        loss = self.loss(outputs, y, x)
        mine = loss * share if share != 1.0 else loss
        self.devices.backward(self.with_penalties(mine, done_epochs), self.optimiser)
        return loss

    def whole_step(self, x: Tensor, y: Tensor, done_epochs: Tensor) -> tuple[Tensor, Tensor]:
        """What is recorded: all between a batch and its gradients."""
        outputs = self.answers(x)
        return outputs, self.backward(outputs, x, y, 1.0, done_epochs)

    def labels(self, target: Tensor) -> Tensor:
        return target if self.labels_of is None else self.labels_of(target)

    def loss(self, outputs: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        if self.criterion is not None:
            return self.criterion(outputs, target, inputs)
        return batch_loss(self.config, outputs, target)

    def with_penalties(self, loss: Tensor, done_epochs: float | Tensor) -> Tensor:
        more = self.penalty(done_epochs)
        if more is not None:
            loss = loss + more
        if self.loss_extra is not None:
            loss = loss + self.loss_extra(network_of(self.model))
        return loss

    def end_epoch(self) -> None:
        sums = self.meter.read(self.epoch, self.devices)
        if sums.examples == 0:
            raise TrainingError("an epoch went by without a batch of two examples or more; give larger batches")
        self.whole = True
        began = time.monotonic()
        model = self.averaged()
        score = self.validation(model)
        self.whole = False
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=sums.mean_loss,
            train_accuracy=sums.accuracy,
            validation_loss=None if score is None else score.loss,
            validation_accuracy=None if score is None else score.accuracy,
            lr=self.lr,
            seconds=self.epoch_seconds + time.monotonic() - began,
        )
        self.records.append(record)
        if score is not None and self.config.keeps_best:
            self.remember(score, model)
        self.epoch, self.step, self.meter, self.epoch_seconds = self.epoch + 1, 0, Meter(), 0.0
        asked = self.stop is not None and self.stop(History(epochs=tuple(self.records), best_epoch=self.best_epoch))
        patience, best = self.config.patience, self.best_epoch
        tired = patience is not None and best is not None and self.epoch - best >= patience
        self.finished = self.devices.any(asked) or tired or self.epoch == self.config.epochs
        self.whole = True
        pause = max(QUIET_SECONDS, QUIET_TIMES * self.save_seconds)
        quiet = time.monotonic() - self.saved_at < min(pause, self.checkpoint_seconds)
        if self.devices.any(self.finished or not quiet):
            self.save()
        self.emit({"stage": "epoch", **vars(record), "epochs": self.config.epochs, "steps": self.batches.steps})
        if self.devices.any(self.interrupts.pending):
            raise Stopped

    def averaged(self) -> nn.Module:
        """The network that this epoch is judged by: the average with this epoch in it, or the one that trains."""
        if self.average is None:
            return self.model
        self.whole = False
        self.average.after_epoch(self.epoch + 1)
        self.average.settle(self.statistics_batches())
        self.whole = True
        return self.average.model

    def statistics_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Some training batches, the same ones whenever this epoch ends."""
        seen = 0
        for _, x, y in self.make_batches(derive_seed(self.seed, "statistics")).epoch(self.epoch):
            yield x, y
            seen += len(x)
            if seen >= STATISTICS_EXAMPLES:
                return

    def validation(self, model: nn.Module) -> Score | None:
        """Nothing that training needs changes here, so a signal may break in."""
        if self.validate is None:
            return None
        self.interrupts.immediate(self.devices.processes == 1)
        score = evaluate(
            model,
            self.validate,
            device=self.devices.device,
            loss=self.config.loss,
            on_batch=lambda done, of: self.emit(
                {
                    "stage": "validate",
                    "epoch": self.epoch + 1,
                    "epochs": self.config.epochs,
                    "step": done,
                    "steps": of,
                }
            ),
        )
        self.interrupts.immediate(False)
        return score

    def remember(self, score: Score, model: nn.Module) -> None:
        """Keep the state if it is better than all before: by accuracy, or by loss where there is none."""
        assert score.loss is not None
        rank = -score.loss if score.accuracy is None else score.accuracy
        if self.best_rank is None or rank > self.best_rank:
            self.best_rank, self.best_epoch = rank, self.epoch + 1
            self.best = {name: tensor.detach().clone() for name, tensor in model_tensors(model).items()}

    def report(self, sums: Sums) -> None:
        left = None
        if self.batches.steps:
            steps_left = self.config.epochs * self.batches.steps - self.epoch * self.batches.steps - self.step
            left = steps_left * (time.monotonic() - self.started_at) / self.steps_here
        self.emit(
            {
                "stage": "train",
                "epoch": self.epoch + 1,
                "epochs": self.config.epochs,
                "step": self.step,
                "steps": self.batches.steps,
                "loss": sums.mean_loss,
                "accuracy": sums.accuracy,
                "lr": self.lr,
                "seconds_left": left,
            }
        )

    def emit(self, event: Event) -> None:
        if self.on_event is not None and self.devices.is_main:
            self.on_event(event)

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for two runs to be the same one."""
        tensors = model_tensors(self.model).items()
        return {
            "seed": self.seed,
            "training examples": self.batches.examples,
            "steps per epoch": self.batches.steps,
            "processes": self.devices.processes,
            **self.config.model_dump(),
            **{f"tensor {name}": [str(t.dtype).removeprefix("torch."), *t.shape] for name, t in tensors},
        }

    def save(self) -> None:
        """Write a checkpoint; only while the run is whole."""
        if self.path is None:
            return
        began = time.monotonic()
        sums = self.meter.read(self.epoch, self.devices)
        tensors, numbers = optimiser_state(self.optimiser)
        named = {
            "model": model_tensors(self.model),
            "best": self.best,
            "optimiser": tensors,
            "average": {} if self.average is None else self.average.tensors(),
            "generator": {**generator_states(self.devices.device), "batches": self.batches.state()},
        }
        if self.devices.is_main:
            checkpoints.save(
                self.path,
                checkpoints.Checkpoint(
                    tensors={f"{group}/{name}": t for group, members in named.items() for name, t in members.items()},
                    values={
                        "fingerprint": self.fingerprint(),
                        "epoch": self.epoch,
                        "step": self.step,
                        "lr": self.lr,
                        "sums": sums.to_dict(),
                        "optimiser": numbers,
                        "history": History(epochs=tuple(self.records), best_epoch=self.best_epoch).to_dict(),
                        "best_rank": self.best_rank,
                        "finished": self.finished,
                        "epoch_seconds": self.epoch_seconds,
                        "averaged": 0 if self.average is None else self.average.count,
                    },
                ),
            )
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - began

    def load(self, path: Path) -> None:
        """Go on from the newest checkpoint, if there is one."""
        found = checkpoints.load(path, self.fingerprint())
        self.devices.wait()
        if found is None:
            return
        groups: dict[str, dict[str, Tensor]] = {
            "model": {}, "best": {}, "optimiser": {}, "average": {}, "generator": {},
        }  # fmt: skip
        for key, tensor in found.tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = tensor
        values = found.values
        fill_model(self.model, groups["model"])
        fill_optimiser(self.optimiser, groups["optimiser"], values["optimiser"])
        if self.average is not None:
            fill_model(self.average.model, groups["average"])
            self.average.count = values["averaged"]
        self.best = {name: tensor.to(self.devices.device) for name, tensor in groups["best"].items()}
        history = History.from_dict(values["history"])
        self.records, self.best_epoch = list(history.epochs), history.best_epoch
        self.best_rank, self.finished = values["best_rank"], values["finished"]
        self.epoch, self.step, self.lr = values["epoch"], values["step"], values["lr"]
        self.epoch_seconds = values["epoch_seconds"]
        # Sums are kept by process and added when read, so one process alone takes those of all.
        self.meter = Meter(Sums(**values["sums"]) if self.devices.is_main else Sums())
        if self.step:
            self.resumed_generator = groups["generator"]["batches"]
            self.resumed = fill_generators(self.devices.device, groups["generator"])
