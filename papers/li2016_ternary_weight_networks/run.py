"""ResNet-20 in signs and zeros: `python run.py [NAME ...] [--work DIR]`.

The published network is trained on with ternary weights, with itself as teacher, and scored on the test set at the end.
Runs are kept in --work and go on from there after an interruption; finished ones are written to expected.json, from
which table.md is made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import tersenet
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network with published weights, and what the claim asks for.

    least_accuracy   of the result on the test set, percent
    most_minutes     that training may take
    """

    claim: str
    network: str
    weights: str
    paper: str
    least_accuracy: float
    most_minutes: float


EXPERIMENTS = {
    "ternary": Experiment(
        "ResNet-20, CIFAR-10, ternary; first and last layer 8 bits",
        "resnet20",
        "models/cifar10-resnet/resnet20-12fca82f.safetensors",
        "VGG-7: 92.88 to 92.56 %",
        90.5,
        120,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/li2016"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    for name in arguments.names or EXPERIMENTS:
        record(name, reproduce(name, EXPERIMENTS[name], arguments.work))
    write_table()


def reproduce(name: str, experiment: Experiment, work: Path) -> dict[str, object]:
    entry = ENTRIES[experiment.network]
    data = load(entry.data, preprocess=entry.preprocess)
    model = load_weights(network(experiment.network), Path(os.environ["TERSENET_DATA"]) / experiment.weights)
    # The published weights have seen our validation split, so nothing is decided on it and it is not scored.
    result = tersenet.compress(
        model,
        recipe=HERE / "recipes" / f"{name}.yaml",
        train=data.train,
        test=data.test,
        run_dir=work / name,
        source=experiment.network,
        on_event=show,
    )
    files = HERE / "files"
    files.mkdir(exist_ok=True)
    result.save(files / f"{name}.terse")
    final = result.record.final
    before, after = (score["accuracy"] for score in (final["original"]["test"], final["test"]))
    return {
        "file_bytes": result.file_bytes,
        "original_bytes": result.record.original_bytes,
        "test_accuracy_before": round(100 * before, 2),
        "test_accuracy_after": round(100 * after, 2),
        "minutes": round(sum(stage["seconds"] for stage in result.record.stages) / 60, 1),
        "machine": result.record.machine,
        "sha256": hashlib.sha256(result.data).hexdigest(),
    }


def show(event: dict[str, object]) -> None:
    if event["kind"] == "stage" or event.get("step") == event.get("steps"):
        print(
            time.strftime("%H:%M:%S"),
            {key: event[key] for key in ("kind", "label", "epoch", "loss", "accuracy") if key in event},
            flush=True,
        )


def record(name: str, found: dict[str, object]) -> None:
    """Put a finished run into expected.json."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    command = f"python papers/{HERE.name}/run.py {name}"
    expected[name] = found | {"command": command, "python": platform.python_version()}
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(name, found, flush=True)


def write_table() -> None:
    expected = json.loads(EXPECTED.read_text())
    lines = [
        "| claim | paper | target | test accuracy, % | bytes | ratio to float32 | minutes | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        run = expected.get(name)
        if run is None:
            continue
        met = run["test_accuracy_after"] >= experiment.least_accuracy and run["minutes"] <= experiment.most_minutes
        lines.append(
            f"| {experiment.claim} | {experiment.paper} "
            f"| >= {experiment.least_accuracy:g} %, <= {experiment.most_minutes:g} minutes "
            f"| {run['test_accuracy_before']:.2f} -> {run['test_accuracy_after']:.2f} | {run['file_bytes']:,} "
            f"| {run['original_bytes'] / run['file_bytes']:.1f}x | {run['minutes']:.1f} | {'yes' if met else 'no'} |"
        )
    (HERE / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
