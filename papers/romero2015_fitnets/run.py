"""ResNet-8 of MLPerf Tiny taught by ResNet-56: `python run.py [NAME ...] [--work DIR]`.

The teacher answers once to a few fixed views of each training image, each network reading the pixels in its own scale;
the published student is then fine-tuned on the same views. Runs go on from --work after an interruption; finished ones
are written to expected.json, from which table.md is made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tersenet.methods.distill import Taught, Teacher, Views, store_answers
from tersenet.training import TrainConfig, fit
from tersenet.training.devices import machine_name
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, load_weights, network
from tersenet.zoo.data import Data, load

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
MODELS = Path(os.environ.get("TERSENET_DATA", "data")) / "models"
STUDENT, STUDENT_WEIGHTS = "resnet8", "mlperf-tiny/resnet8_cifar10.safetensors"
TEACHER, TEACHER_WEIGHTS = "resnet56", "cifar10-resnet/resnet56-4bfd9763.safetensors"
VIEWS = 20
TARGET = 88.5
# An epoch over the views is VIEWS epochs of the data.
TRAINING = TrainConfig(
    epochs=5,
    batch_size=128,
    optimiser="adam",
    lr=2e-3,
    schedule="cosine",
    warmup_epochs=0.5,
    precision="bfloat16",
)


@dataclass(frozen=True)
class Experiment:
    """One line of the table; teacher None learns from the labels alone."""

    claim: str
    teacher: Teacher | None = field(default_factory=Teacher)
    epochs: int = TRAINING.epochs
    mixup: float = 0.0


EXPERIMENTS = {
    "soft": Experiment("soft targets, T = 4, labels 0.1", Teacher(temperature=4, labels=0.1)),
    "mixed": Experiment(
        "soft targets alone, T = 4, half of the views mixed", Teacher(temperature=4, labels=0), epochs=8, mixup=0.5
    ),
    "labels": Experiment("the same training on labels alone", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/romero2015"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, or auto (default: cpu)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    for name in arguments.names or EXPERIMENTS:
        record(name, reproduce(name, arguments.work, arguments.seed, arguments.device), arguments.device)
    write_table()


def prepared(name: str, weights: str) -> tuple[nn.Module, Data]:
    """A published network, and the data as it reads it."""
    entry = ENTRIES[name]
    return load_weights(network(name), MODELS / weights).eval(), load("cifar10", preprocess=entry.preprocess)


def reproduce(name: str, work: Path, seed: int, device: str) -> dict[str, Any]:
    started = time.time()
    student, data = prepared(STUDENT, STUDENT_WEIGHTS)
    before = evaluate(student, data.test).accuracy
    experiment = EXPERIMENTS[name]
    settings, training = experiment.teacher, TRAINING.model_copy(update={"epochs": experiment.epochs})
    train = Views(data.train, VIEWS, mixup=experiment.mixup)
    taught, criterion = None, None
    if settings is not None:
        teacher, same = prepared(TEACHER, TEACHER_WEIGHTS)
        answers = store_answers(
            teacher,
            Views(same.train, VIEWS, mixup=experiment.mixup),
            work / (f"answers-{name}" if experiment.mixup else "answers"),
            precision="bfloat16",
            device=device,
            on_batch=lambda done, of: print(f"answers {done}/{of}", flush=True) if done % 50 == 0 else None,
        )
        taught = Taught(train, answers)
        criterion = taught.criterion(settings, training)
    history = fit(
        student,
        taught or train,
        data.validate,
        training,
        seed=seed,
        device=device,
        checkpoint=work / f"{name}-{seed}.ckpt",
        criterion=criterion,
        labels_of=None if taught is None else taught.labels,
        event_every_steps=200,
        on_event=show,
    )
    student.cpu()
    after = evaluate(student, data.test).accuracy
    assert before is not None and after is not None
    return {
        "test_accuracy_before": round(100 * before, 2),
        "test_accuracy": round(100 * after, 2),
        "epochs_of_the_data": VIEWS * training.epochs,
        "minutes": round((time.time() - started) / 60, 1),
        "training_minutes": round(sum(epoch.seconds for epoch in history.epochs) / 60, 1),
        "seed": seed,
        "weights_sha256": save(student, work / f"{name}-{seed}.safetensors"),
    }


def save(student: nn.Module, path: Path) -> str:
    """The taught weights, beside the checkpoints; their digest."""
    from tersenet.cli.training import save_weights

    save_weights(student, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def show(event: dict[str, Any]) -> None:
    print(
        time.strftime("%H:%M:%S"),
        {key: value for key, value in event.items() if key not in ("epochs", "steps") and value is not None},
        flush=True,
    )


def record(name: str, found: dict[str, Any], device: str) -> None:
    """Put a finished run into expected.json."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected[f"{name} {found['seed']}"] = found | {
        "command": f"python papers/{HERE.name}/run.py {name} --seed {found['seed']}"
        + ("" if device == "cpu" else f" --device {device}"),
        "machine": machine_name(device),
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(name, found, flush=True)


def write_table() -> None:
    expected = json.loads(EXPECTED.read_text())
    lines = [
        "| ResNet-8, taught by | seed | epochs of the data | test accuracy, %, before | after | target | met | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, run in sorted(expected.items()):
        experiment = EXPERIMENTS[key.split()[0]]
        target = f">= {TARGET}" if experiment.teacher else ""
        met = ("yes" if run["test_accuracy"] >= TARGET else "no") if experiment.teacher else ""
        lines.append(
            f"| {experiment.claim} | {run['seed']} | {run['epochs_of_the_data']} | {run['test_accuracy_before']:.2f} "
            f"| {run['test_accuracy']:.2f} | {target} | {met} | {run['minutes']:.0f} |"
        )
    (HERE / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
