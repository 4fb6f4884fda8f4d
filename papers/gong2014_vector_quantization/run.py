"""Accuracy against compression of fully connected layers, without retraining: `python run.py [NAME ...]`.

Figures 1 to 3 of Gong et al. 2014 on the published dense LeNets: k-means, product, residual quantization and SVD of all
fully connected layers but the classifier. Compression is 32 bits a weight over the method's own formula, of the layers
that are compressed. Finished points are kept in --work. Writes expected.json, table.md and a figure for each network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tersenet.forms import Codebook, Form, Product, Residual
from tersenet.graph import Network, capture
from tersenet.report.figure import Line, figure
from tersenet.storage import size_bytes
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
NETWORKS = {"lenet_300_100": "lenet300100_original", "lenet5": "lenet5_original"}
TITLES = {"lenet_300_100": "LeNet-300-100", "lenet5": "LeNet-5, ip1"}
WEIGHTS = {"lenet_300_100": ("ip1.weight", "ip2.weight"), "lenet5": ("ip1.weight",)}
METHODS = {
    "kmeans": "k-means, optimum",
    "product": "PQ, a codebook a place",
    "product_shared": "PQ, one codebook a layer",
    "residual": "RQ of whole rows",
    "residual_shared": "RQ of sub-vectors",
    "svd": "SVD",
}
# Points of test accuracy lost at which compression is compared.
LOST_POINTS = (0.5, 1, 5)
# Per cent of accuracy below which the figure shows nothing.
LOWEST = 80
CODER = "huffman"
Fit = Callable[[torch.Tensor], Form]


def settings(method: str) -> Iterator[tuple[str, Fit | int]]:
    """The points of a method: a name, and how a weight is fitted, or the rank."""
    if method == "kmeans":
        for bits in range(1, 9):
            yield f"bits {bits}", partial(Codebook.fit, k=2**bits, init="optimum")
    elif method == "product":
        for dim in (2, 4, 7, 14, 28):
            for bits in (1, 2, 3, 4):
                yield f"dim {dim}, bits {bits}", partial(Product.fit, k=2**bits, dim=dim, shared=False)
    elif method == "product_shared":
        for dim in (2, 3, 4, 8):
            for bits in (2, 4, 6, 8):
                yield f"dim {dim}, bits {bits}", partial(Product.fit, k=2**bits, dim=dim)
    elif method == "residual":
        for rounds in (1, 2, 4, 8):
            for bits in (1, 2, 3, 4):
                yield f"rounds {rounds}, bits {bits}", partial(Residual.fit, k=2**bits, rounds=rounds)
    elif method == "residual_shared":
        for dim, rounds in ((8, 2), (8, 3), (16, 4)):
            for bits in (4, 6, 8):
                name = f"dim {dim}, rounds {rounds}, bits {bits}"
                yield name, partial(Residual.fit, k=2**bits, rounds=rounds, dim=dim)
    else:
        for rank in (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96):
            yield f"rank {rank}", rank


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/gong2014"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NETWORKS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NETWORKS:
        record(name, points(name, arguments.work / f"{name}.json"))
    write_results()


def dense(name: str) -> tuple[Network, Any]:
    """The published network and its data."""
    data = load("mnist", preprocess=ENTRIES[name].preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / "lenet-mnist" / f"{NETWORKS[name]}.safetensors"
    return capture(load_weights(network(name), weights).eval(), torch.zeros(2, 1, 28, 28)), data


def compressed(original: Network, name: str, how: Fit | int) -> tuple[Network, dict[str, float]]:
    """A network with its layers compressed, their compression by formula, and their bytes under CODER."""
    net = original.clone()
    weights = bits = stored = 0
    for weight in WEIGHTS[name]:
        value = net.dense(weight)
        if isinstance(how, int):
            # As two factors would answer; k (m + n + 1) numbers by the paper's formula, k (m + n) in a file.
            rank = min(how, *value.shape)
            left, scale, right = torch.linalg.svd(value.double(), full_matrices=False)
            low = (left[:, :rank] * scale[:rank]) @ right[:rank]
            net.set_tensor(weight, low.float())
            bits += 32 * rank * (sum(value.shape) + 1)
            stored += 4 * rank * sum(value.shape)
        else:
            form = how(value)
            net.attach(weight, form)
            bits += form.formula_bits()
            stored += size_bytes(form.lower(CODER), CODER)
        weights += value.numel()
    return net, {"compression": round(32 * weights / bits, 3), "bytes": stored}


def points(name: str, path: Path) -> dict[str, dict[str, Any]]:
    done: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    original, data = dense(name)
    done["dense"] = {"original": scores(original, data)}
    for method in METHODS:
        for setting, how in settings(method):
            if setting in done.setdefault(method, {}):
                continue
            started = time.time()
            net, sizes = compressed(original, name, how)
            done[method][setting] = sizes | scores(net, data) | {"seconds": round(time.time() - started, 1)}
            path.write_text(json.dumps(done))
            print(time.strftime("%H:%M:%S"), name, method, setting, done[method][setting], flush=True)
    return done


def scores(net: Network, data: Any) -> dict[str, float]:
    return {part: round(100 * evaluate(net, getattr(data, part)).accuracy, 2) for part in ("validate", "test")}


def front(found: dict[str, dict[str, float]]) -> list[tuple[float, float]]:
    """Compression and test accuracy of the points that no other beats in compression and validation accuracy."""
    ordered = sorted(found.values(), key=lambda point: (-point["compression"], -point["validate"]))
    kept: list[dict[str, float]] = []
    for point in ordered:
        if not kept or point["validate"] > kept[-1]["validate"]:
            kept.append(point)
    return [(point["compression"], point["test"]) for point in reversed(kept)]


def compression_at(line: list[tuple[float, float]], floor: float) -> float | None:
    """Up to which compression the line stays above an accuracy, between two points log-linear; None if never."""
    if line[0][1] < floor:
        return None
    for (low, above), (high, below) in pairwise(line):
        if below < floor:
            return float(low * (high / low) ** ((above - floor) / (above - below)))
    return line[-1][0]


def record(name: str, done: dict[str, dict[str, Any]]) -> None:
    """Put a finished network into expected.json, beside the other."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected[name] = {
        "points": done,
        "command": f"python papers/{HERE.name}/run.py {name}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def write_results() -> None:
    expected = json.loads(EXPECTED.read_text())
    heads = " | ".join(f"{lost:g} points lost" for lost in LOST_POINTS)
    rows = [f"| network | method | compression at {heads} |", "|---|---|" + "---|" * len(LOST_POINTS)]
    for name, title in TITLES.items():
        if name not in expected:
            continue
        found = expected[name]["points"]
        original = found["dense"]["original"]["test"]
        lines = {method: front(found[method]) for method in METHODS}
        for method, line in lines.items():
            reached = [compression_at(line, original - lost) for lost in LOST_POINTS]
            cells = " | ".join("-" if one is None else f"{one:.1f}x" for one in reached)
            rows.append(f"| {title} | {METHODS[method]} | {cells} |")
        picture = figure(
            [
                Line(METHODS[method], [point for point in line if point[1] >= LOWEST], method in ("kmeans", "svd"))
                for method, line in lines.items()
            ],
            title=f"{title}, no retraining",
            x="compression by formula",
            y="accuracy on MNIST's test set, %",
            log_x=True,
            y_range=(LOWEST, 100),
            reference=(original, "dense"),
        )
        (HERE / f"{name}.svg").write_text(picture)
    (HERE / "table.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
