"""Optimal Brain Damage against magnitude, without retraining: `python run.py [NAME ...]`.

The published dense networks lose weights until a hundredth is left, in five orders of removal. Each point is scored on
the whole test set. Finished curves are kept in --work. Writes expected.json, table.md and a figure for each network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/lecun1990"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NETWORKS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NETWORKS:
        record(name, curves(name, arguments.work / f"{name}.json"))
    write_results()


def dense(name: str) -> tuple[Network, object, list[tuple[torch.Tensor, ...]]]:
    """The published network, the test set, and training inputs."""
    data = load("mnist", preprocess=ENTRIES[name].preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / "lenet-mnist" / f"{NETWORKS[name]}.safetensors"
    net = capture(load_weights(network(name), weights).eval(), torch.zeros(2, 1, 28, 28))
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


def record(name: str, done: dict[str, dict[str, object]]) -> None:
    """Put a finished network into expected.json, beside the other."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected[name] = {
        "kept_percent": [round(100 * keep, 3) for keep in KEEPS],
        "accuracy_percent": {
            method: [round(100 * one, 2) for one in found["accuracy"]] for method, found in done.items()
        },
        "kept_percent_at_points_lost": {
            method: {str(lost): round(100 * kept_at(found["accuracy"], lost), 2) for lost in LOST_POINTS}
            for method, found in done.items()
        },
        "seconds": {method: found["seconds"] for method, found in done.items()},
        "command": f"python papers/{HERE.name}/run.py {name}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def write_results() -> None:
    expected = json.loads(EXPECTED.read_text())
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
        (HERE / f"{name}.svg").write_text(picture)
    (HERE / "table.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
