"""A network of one hidden layer on MNIST learns from the logits of three LeNet-5: `python run.py [NAME ...] [--seeds 3]`.

The same student, of equal parameters and for as many steps, learns from labels or from logits, of the training
pictures as they are or moved by up to two pixels; moved pictures need no labels where the teachers answer. The epoch
that is best on the validation split stays, in all of them. Runs are kept in --work and go on from there after an
interruption. Finished ones are written to expected.json, from which table.md and curves.svg are made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from tersenet.methods.distill import Ensemble, Taught, Teacher, Views, store_answers
from tersenet.report.figure import Line, figure
from tersenet.training import TrainConfig, fit
from tersenet.training.evaluate import evaluate
from tersenet.zoo import entry, load, network

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
TEACHERS = 3
TEACHER = TrainConfig(
    epochs=3, batch_size=128, optimiser="adam", lr=2e-3, schedule="cosine", augment="shift", precision="bfloat16"
)
LOGITS = Teacher(loss="logits")
BUDGET, WIDE = 99_385, 636_010


@dataclass(frozen=True)
class Student:
    """What a shallow network learns from, and how.

    taught      by the ensemble's logits, and no labels
    moved       from moved pictures
    bottleneck  outputs of the linear layer before its hidden layer; 0: none
    parameters  at most so many, by the width of its hidden layer
    passes      how often it sees each picture
    views       ways in which each picture is moved where it is
    rate        the best of 0.001, 0.003 and 0.01 on the validation split, seed 0, pictures as they are, for labels and
                for logits; of the wide ones 0.003 as the first choice
    """

    said: str
    taught: bool
    moved: bool
    bottleneck: int = 0
    parameters: int = BUDGET
    passes: int = 12
    views: int = 3
    rate: float = 1e-2
    precision: Literal["float32", "bfloat16"] = "float32"


STUDENTS = {
    "labels": Student("labels", taught=False, moved=False),
    "logits": Student("logits of the ensemble", taught=True, moved=False),
    "labels_moved": Student("labels, pictures moved", taught=False, moved=True),
    "logits_moved": Student("logits, pictures moved", taught=True, moved=True),
    "logits_bottleneck": Student("logits, pictures moved, linear bottleneck of 32", True, True, bottleneck=32),
    **{
        f"wide_{name}": Student(
            f"{said}, pictures moved, wide", taught, True, 0, WIDE, passes=30, views=10, rate=3e-3, precision="bfloat16"
        )
        for name, said, taught in (("labels", "labels", False), ("logits", "logits", True))
    },
}
PAIRS = (("labels", "logits"), ("labels_moved", "logits_moved"), ("wide_labels", "wide_logits"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(STUDENTS)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/ba2014"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(STUDENTS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    data = load("mnist", preprocess=entry("lenet5").preprocess)
    ensemble = teachers(data, arguments.work)
    for name in arguments.names or STUDENTS:
        for seed in range(arguments.seeds):
            record(name, seed, learn(name, seed, data, ensemble, arguments.work))
            write_results()


def teachers(data: Any, work: Path) -> Ensemble:
    """LeNet-5 of different seeds."""
    members = []
    for seed in range(TEACHERS):
        torch.manual_seed(seed)
        model = network("lenet5")
        train(model, data.train, data.validate, TEACHER, work / f"teacher-{seed}.ckpt", seed)
        members.append(model.eval())
    ensemble = Ensemble(members).eval()
    expected = read_expected()
    if "teachers" not in expected:
        expected["teachers"] = {
            "test_errors": [error(member, data.test) for member in members],
            "ensemble_test_error": error(ensemble, data.test),
            "ensemble_validation_error": error(ensemble, data.validate),
        }
        write_expected(expected)
    return ensemble


def learn(name: str, seed: int, data: Any, ensemble: Ensemble, work: Path) -> dict[str, Any]:
    student = STUDENTS[name]
    torch.manual_seed(seed)
    model = network("shallow_mnist", parameters=student.parameters, bottleneck=student.bottleneck)
    views = student.views if student.moved else 1
    seen = Views(data.train, views, augment="shift" if student.moved else "none")
    config = TrainConfig(
        epochs=student.passes // views,
        batch_size=128,
        optimiser="adam",
        lr=student.rate,
        schedule="cosine",
        keep_best=True,
        precision=student.precision,
    )
    started, more = time.process_time(), {}
    if student.taught:
        taught = Taught(seen, store_answers(ensemble, seen, work / "answers", precision="bfloat16"))
        seen, more = taught, {"criterion": taught.criterion(LOGITS, config), "labels_of": taught.labels}
    curve = train(model, seen, data.validate, config, work / f"{name}-{seed}.ckpt", seed, **more)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "hidden": model.hidden.out_features,
        "test_error": error(model, data.test),
        "validation_error": error(model, data.validate),
        "curve": [[views * (epoch + 1), round(100 - 100 * accuracy, 2)] for epoch, accuracy in enumerate(curve)],
        "cpu_seconds": round(time.process_time() - started),
    }


def train(
    model: nn.Module, seen: Any, validate: Any, config: TrainConfig, checkpoint: Path, seed: int, **more: Any
) -> list[float]:
    """Trains in place, going on from the checkpoint; the validation accuracy after each epoch."""
    history = fit(
        model, seen, validate, config, seed=seed, checkpoint=checkpoint, on_event=show, event_every_steps=10**6, **more
    )
    return [epoch.validation_accuracy for epoch in history.epochs]


def error(model: nn.Module, split: Any) -> float:
    return round(100 - 100 * evaluate(model, split).accuracy, 2)


def show(event: dict[str, Any]) -> None:
    if event.get("stage") == "epoch":
        keys = ("epoch", "train_loss", "validation_accuracy", "seconds")
        print(time.strftime("%H:%M:%S"), {key: event[key] for key in keys if key in event}, flush=True)


def read_expected() -> dict[str, Any]:
    return json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}


def write_expected(expected: dict[str, Any]) -> None:
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def record(name: str, seed: int, found: dict[str, Any]) -> None:
    """Put a finished run into expected.json, beside those of other seeds."""
    expected = read_expected()
    expected.setdefault("students", {}).setdefault(name, {})[str(seed)] = found | {
        "command": f"python papers/{HERE.name}/run.py {name} --seeds {seed + 1}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, 1 thread",
    }
    write_expected(expected)
    print(name, seed, found["test_error"], flush=True)


def mean_and_error(runs: dict[str, Any], key: str = "test_error") -> tuple[float, float]:
    """Over seeds: the mean, and its standard error."""
    values = [run[key] for run in runs.values()]
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return statistics.mean(values), spread / len(values) ** 0.5


def gain(students: dict[str, Any], labels: str, logits: str) -> tuple[float, float]:
    """Points of test error that logits take away, and the standard error of that."""
    (before, one), (after, other) = mean_and_error(students[labels]), mean_and_error(students[logits])
    return before - after, (one**2 + other**2) ** 0.5


def write_results() -> None:
    expected = read_expected()
    students = {name: expected["students"][name] for name in STUDENTS if name in expected["students"]}
    lines = [
        "| learns from | parameters | hidden units | test error, %, mean +- standard error | each seed | CPU seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in students.items():
        mean, spread = mean_and_error(runs)
        first = next(iter(runs.values()))
        seeds = ", ".join(f"{run['test_error']:.2f}" for run in runs.values())
        seconds = statistics.mean(run["cpu_seconds"] for run in runs.values())
        lines.append(
            f"| {STUDENTS[name].said} | {first['parameters']:,} | {first['hidden']:,} | {mean:.2f} +- {spread:.2f} "
            f"| {seeds} | {seconds:.0f} |"
        )
    lines += [
        "",
        "| logits instead of labels | test error falls by, points | standard error | clear (twice that) |",
        "|---|---|---|---|",
    ]
    for labels, logits in PAIRS:
        if labels in students and logits in students and len(students[labels]) > 1 < len(students[logits]):
            points, spread = gain(students, labels, logits)
            where = "pictures moved" if STUDENTS[labels].moved else "pictures as they are"
            where += ", wide" if STUDENTS[labels].parameters > BUDGET else ""
            lines.append(f"| {where} | {points:.2f} | {spread:.2f} | {'yes' if points > 2 * spread else 'no'} |")
    (HERE / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)
    write_curves(students, expected["teachers"]["ensemble_validation_error"])


def write_curves(students: dict[str, Any], ensemble: float) -> None:
    drawn = []
    for name, runs in students.items():
        steps = zip(*(run["curve"] for run in runs.values()))
        points = [(at[0][0], statistics.mean(point[1] for point in at)) for at in steps]
        drawn.append(Line(STUDENTS[name].said, points, dashed=not STUDENTS[name].taught))
    picture = figure(
        drawn,
        title=f"One hidden layer, {BUDGET:,} parameters (wide: {WIDE:,}), MNIST",
        x="passes over the training pictures",
        y="validation error, %",
        y_range=(0.0, 5.0),
        reference=(ensemble, "the ensemble"),
    )
    (HERE / "curves.svg").write_text(picture)


if __name__ == "__main__":
    main()
