"""Optimal Brain Damage against magnitude, without retraining: `python run.py [NAME ...]`.

The published dense networks lose weights until a hundredth is left, in five orders of removal. Each point is scored on
the whole test set. Finished curves are kept in --work. Writes expected.json, table.md and a figure for each network.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

from tersenet.calibration import sample_batches
from tersenet.graph import Network, capture
from tersenet.methods.obd import damage, gauss_newton_diagonal, recursive_diagonal
from tersenet.methods.saliency import attach_kept, keep_salient
from tersenet.methods.select import select_layers
from tersenet.report.figure import Line, figure
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, published

PAPER = Paper(__file__, __doc__)
NETWORKS = {"lenet_300_100": "lenet300100_original", "lenet5": "lenet5_original"}
TITLES = {"lenet_300_100": "LeNet-300-100", "lenet5": "LeNet-5"}
METHODS = {
    "obd": "OBD, Gauss-Newton",
    "recursion": "OBD, recursion of 1990",
    "obd_once": "OBD, saliency taken once",
    "magnitude": "magnitude, all layers",
    "magnitude_layer": "magnitude, each layer",
}
# Each time so much of what is left stays; OBD takes its derivatives anew, as the paper says.
STEP = 0.85
KEEPS = tuple(STEP**number for number in range(29))
# Points of accuracy lost at which the shares of weights are compared.
LOST_POINTS = (1, 5, 10)
# Training inputs the derivatives are taken at. Pixels that are seldom lit need many.
EXAMPLES = {"lenet_300_100": 5000, "lenet5": 1000}


def main() -> None:
    arguments = PAPER.arguments(NETWORKS)
    for name in arguments.names:
        PAPER.record(name, summary(curves(name, arguments.work / f"{name}.json")))
    write_results()


def dense(name: str) -> tuple[Network, object, list[tuple[torch.Tensor, ...]]]:
    """The published network, the test set, and training inputs."""
    data = load("mnist", preprocess=ENTRIES[name].preprocess)
    model = published(name, f"models/lenet-mnist/{NETWORKS[name]}.safetensors")
    net = capture(model.eval(), torch.zeros(2, 1, 28, 28))
    return net, data.test, [(x,) for x, _ in sample_batches(data.train, EXAMPLES[name], 250, seed=0)]


def curve(net: Network, method: str, inputs: list[tuple[torch.Tensor, ...]], test: object, keeps=KEEPS) -> list[float]:
    """Accuracy at each share of weights kept."""
    layers = select_layers(net, "*")
    diagonal = recursive_diagonal if method == "recursion" else gauss_newton_diagonal
    pruned, found = net.clone(), []
    once = damage(net, gauss_newton_diagonal(net, inputs, layers)) if method == "obd_once" else None
    for keep in keeps:
        if method.startswith("magnitude"):
            order = {layer.weight: pruned.dense(layer.weight).abs() for layer in layers}
        else:
            order = once or damage(pruned, diagonal(pruned, inputs, layers))
        shares = dict.fromkeys(order, keep) if method == "magnitude_layer" else keep
        attach_kept(pruned, keep_salient(order, shares))
        found.append(evaluate(pruned, test).accuracy)
        print(time.strftime("%H:%M:%S"), method, f"{keep:.3f} {found[-1]:.4f}", flush=True)
    return found


def curves(name: str, path: Path) -> dict[str, dict[str, object]]:
    done = json.loads(path.read_text()) if path.exists() else {}
    net, test, inputs = dense(name)
    for method in METHODS:
        if method not in done:
            started = time.time()
            accuracy = curve(net, method, inputs, test)
            done[method] = {"accuracy": accuracy, "seconds": round(time.time() - started, 1)}
            path.write_text(json.dumps(done))
    return done


def kept_at(accuracy: list[float], lost_points: float) -> float:
    """The share of weights down to which at most so many points are lost, log-linear between two shares."""
    floor = accuracy[0] - lost_points / 100
    for (above, high), (below, low) in pairwise(zip(KEEPS, accuracy)):
        if low < floor:
            return float(above * (below / above) ** ((high - floor) / (high - low)))
    return KEEPS[-1]


def summary(done: dict[str, dict[str, object]]) -> dict[str, object]:
    """The curves of a network, and where they lose points."""
    return {
        "kept_percent": [round(100 * keep, 3) for keep in KEEPS],
        "accuracy_percent": {
            method: [round(100 * one, 2) for one in curve["accuracy"]] for method, curve in done.items()
        },
        "kept_percent_at_points_lost": {
            method: {str(lost): round(100 * kept_at(curve["accuracy"], lost), 2) for lost in LOST_POINTS}
            for method, curve in done.items()
        },
        "seconds": {method: curve["seconds"] for method, curve in done.items()},
    }


def write_results() -> None:
    expected = PAPER.expected()
    heads = " | ".join(f"{lost} point{'s' * (lost > 1)} lost" for lost in LOST_POINTS)
    rows = [
        f"| network | removed by | weights kept, %, at {heads} | seconds |",
        "|---|---|" + "---|" * (len(LOST_POINTS) + 1),
    ]
    for name, title in TITLES.items():
        if name not in expected:
            continue
        found = expected[name]
        for method, label in METHODS.items():
            shares = " | ".join(
                f"{found['kept_percent_at_points_lost'][method][str(lost)]:.1f}" for lost in LOST_POINTS
            )
            rows.append(f"| {title} | {label} | {shares} | {found['seconds'][method]:.0f} |")
        picture = figure(
            [
                Line(label, list(zip(found["kept_percent"], found["accuracy_percent"][method])), method.startswith("m"))
                for method, label in METHODS.items()
            ],
            title=f"{title}, no retraining",
            x="weights kept, %",
            y="accuracy on MNIST's test set, %",
            log_x=True,
            falling_x=True,
        )
        PAPER.write_picture(name, picture)
    PAPER.write_table(rows)


if __name__ == "__main__":
    main()
