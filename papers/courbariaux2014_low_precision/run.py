"""Fixed against dynamic fixed point on MNIST: `python run.py [--work DIR]`.

LeNet-300-100 learns from scratch with weights, inputs and gradients of its layers in so many bits, under one exponent
for everything, or one for each layer and kind of number that follows its range. Finished trainings are kept in --work.
Writes expected.json, table.md and a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import torch
from torch import nn

from tersenet.graph import Network, capture
from tersenet.methods.fixed_point import Widths, adapt, train_in_fixed_point
from tersenet.methods.select import select_layers
from tersenet.report.figure import Line, figure
from tersenet.training import TrainConfig, fit
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
NAME = "lenet_300_100"
BITS = (4, 8, 12, 16)
# The radix point of fixed point, as bits before it, sign included: the best on the validation split is taken.
WHOLE_BITS = (1, 3)
TRAIN = TrainConfig(epochs=2, batch_size=100, lr=0.05)
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/courbariaux2014"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    record(trainings(arguments.work / "trainings.json"))
    write_results()


def settings() -> dict[str, dict[str, object]]:
    """All trainings by name."""
    found: dict[str, dict[str, object]] = {"float32": {}}
    for bits in BITS:
        found[f"dynamic {bits}"] = {"bits": bits, "dynamic": True}
        for whole in WHOLE_BITS:
            if whole < bits:
                found[f"fixed {bits}.{whole}"] = {"bits": bits, "dynamic": False, "exponent": whole - bits}
    return found


def trainings(path: Path) -> dict[str, dict[str, float]]:
    """Accuracies of every training; a finished one is not done again."""
    done = json.loads(path.read_text()) if path.exists() else {}
    data = load("mnist", preprocess=ENTRIES[NAME].preprocess)
    for name, setting in settings().items():
        if name not in done:
            started = time.time()
            done[name] = train(data, **setting) | {"seconds": round(time.time() - started, 1)}
            path.write_text(json.dumps(done, indent=1))
            print(time.strftime("%H:%M:%S"), name, done[name], flush=True)
    return done


def train(
    data: object,
    bits: int | None = None,
    dynamic: bool = False,
    exponent: int | None = None,
    config: TrainConfig = TRAIN,
) -> dict[str, float]:
    """Validation and test accuracy, the network in its number format then too."""
    torch.manual_seed(SEED)
    net: Network = capture(network(NAME).eval(), torch.zeros(2, 1, 28, 28))
    if bits is not None:
        layers = select_layers(net, "*")
        widths = [Widths(weights=bits, inputs=bits, gradients=bits)] * len(layers)
        train_in_fixed_point(net, layers, widths, dynamic=dynamic, exponent=exponent)

    def follow(model: nn.Module, done: float) -> None:
        if dynamic:
            adapt(model)

    fit(net, data.train, None, config, seed=SEED, after_step=follow)
    return {"validate": evaluate(net, data.validate).accuracy, "test": evaluate(net, data.test).accuracy}


def record(done: dict[str, dict[str, float]]) -> None:
    """The best radix point of each width by the validation split, and its accuracy on the test set."""
    chosen = {"float32": "float32"}
    for bits in BITS:
        chosen[f"dynamic {bits}"] = f"dynamic {bits}"
        fixed = [name for name in done if name.startswith(f"fixed {bits}.")]
        chosen[f"fixed {bits}"] = max(fixed, key=lambda name: done[name]["validate"])
    expected = {
        "test_accuracy": {name: round(100 * done[one]["test"], 2) for name, one in chosen.items()},
        "whole_bits": {name: int(one.split(".")[1]) for name, one in chosen.items() if name.startswith("fixed")},
        "minutes": round(sum(one["seconds"] for one in done.values()) / 60, 1),
        "command": f"python papers/{HERE.name}/run.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def write_results() -> None:
    expected = json.loads(EXPECTED.read_text())
    accuracy = expected["test_accuracy"]
    lines = ["| bits | fixed point, % | bits before the point | dynamic fixed point, % |", "|---|---|---|---|"]
    for bits in BITS:
        fixed, dynamic = accuracy[f"fixed {bits}"], accuracy[f"dynamic {bits}"]
        lines.append(f"| {bits} | {fixed:.2f} | {expected['whole_bits'][f'fixed {bits}']} | {dynamic:.2f} |")
    lines.append(f"| float32 | {accuracy['float32']:.2f} | | |")
    (HERE / "table.md").write_text("\n".join(lines) + "\n")
    picture = figure(
        [
            Line(label, [(bits, accuracy[f"{kind} {bits}"]) for bits in BITS], kind == "fixed")
            for kind, label in (("fixed", "fixed point"), ("dynamic", "dynamic fixed point"))
        ],
        title="LeNet-300-100 on MNIST, trained in few bits",
        x="bits of weights, inputs and gradients",
        y="accuracy on the test set, %",
    )
    (HERE / "accuracy.svg").write_text(picture)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
