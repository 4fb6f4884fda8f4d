"""Where centroids start, and what is left of it after training: `python centroids.py [--images 3000] [--seeds 1]`.

Section 3.2 of the paper on the published pruned LeNet-5: it shares 2, 3 or 4 bits a weight in every layer, from each of
the paper's three starts and from the exact optimum, and trains for an epoch of so many training images. Nothing is chosen,
so no validation data is looked at. Finished points are kept in --work. Writes centroids.json, centroids.md, centroids.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tersenet.graph import Network, capture
from tersenet.methods.share import share_weights
from tersenet.report.figure import Line, figure
from tersenet.training import TrainConfig
from tersenet.training.evaluate import evaluate
from tersenet.training.loop import fit
from tersenet.zoo import network
from tersenet.zoo.data import load
from tersenet.zoo.networks import ENTRIES
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
RESULTS = HERE / "centroids.json"
BITS = (2, 3, 4)
STARTS = ("linear", "density", "forgy", "optimum")
TRAIN = TrainConfig(epochs=1, optimiser="adam", lr=0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000, help="training images; MNIST's training part has 55,000")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/han2016"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        kept = arguments.work / f"centroids-{arguments.images}-{seed}.json"
        record(seed, arguments.images, points(seed, arguments.images, kept))
    write_results()


def pruned_network() -> tuple[Network, Any]:
    """The published pruned LeNet-5 and its data."""
    data = load("mnist", preprocess=ENTRIES["lenet5"].preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / "lenet-mnist" / "lenet5_sparse.safetensors"
    return capture(load_weights(network("lenet5"), weights).eval(), torch.zeros(2, 1, 28, 28)), data


def points(seed: int, images: int, path: Path) -> dict[str, Any]:
    pruned, data = pruned_network()
    train = replace(data.train, x=data.train.x[:images], y=data.train.y[:images])
    done = json.loads(path.read_text()) if path.exists() else {"pruned": {"test_error": error(pruned, data.test)}}
    for bits in BITS:
        for start in STARTS:
            name = f"{start}-{bits}"
            if name in done:
                continue
            shared = sharing(pruned, bits, start, seed)
            found = {"squared_error": squared_error(shared, pruned), "test_error_before": error(shared, data.test)}
            fit(shared, train, None, TRAIN, seed=seed)
            done[name] = found | {"test_error_after": error(shared, data.test)}
            path.write_text(json.dumps(done))
            print(seed, name, done[name], flush=True)
    return done


def sharing(pruned: Network, bits: int, start: str, seed: int) -> Network:
    """2**bits shared values in each layer, not trained yet; zeros stay."""
    shared = pruned.clone()
    for layer in shared.weighted_layers():
        share_weights(shared, layer.weight, k=2**bits, init=start, table="float16", seed=seed)
    return shared


def squared_error(shared: Network, pruned: Network) -> float:
    """Of all weights together, relative to their sum of squares."""
    names = [layer.weight for layer in pruned.weighted_layers()]
    apart = sum(float((shared.dense(name) - pruned.dense(name)).double().square().sum()) for name in names)
    return round(apart / sum(float(pruned.dense(name).double().square().sum()) for name in names), 6)


def error(net: Network, split: Any) -> float:
    return round(100 * (1 - evaluate(net, split).accuracy), 2)


def record(seed: int, images: int, found: dict[str, Any]) -> None:
    """Put a finished seed beside the others."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[str(seed)] = found | {
        "images": images,
        "command": f"python papers/{HERE.name}/centroids.py --images {images} --seeds {seed + 1}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def means(results: dict[str, Any], key: str) -> dict[str, float]:
    """Of each start and number of bits over the seeds."""
    names = [f"{start}-{bits}" for start in STARTS for bits in BITS]
    return {name: sum(seed[name][key] for seed in results.values()) / len(results) for name in names}


def write_results() -> None:
    results = json.loads(RESULTS.read_text())
    before, after, apart = (means(results, key) for key in ("test_error_before", "test_error_after", "squared_error"))
    heads = " | ".join(f"{bits} bits: squared error, test error before -> after, %" for bits in BITS)
    rows = [f"| start | {heads} |", "|---|" + "---|" * len(BITS)]
    for start in STARTS:
        names = [f"{start}-{bits}" for bits in BITS]
        cells = [f"{100 * apart[name]:.2f} %, {before[name]:.2f} -> {after[name]:.2f}" for name in names]
        rows.append(f"| {start} | {' | '.join(cells)} |")
    pruned = sum(seed["pruned"]["test_error"] for seed in results.values()) / len(results)
    images = ", ".join(sorted({f"{seed['images']:,}" for seed in results.values()}))
    rows += [
        "",
        f"Pruned and not shared: {pruned:.2f} %. Training images: {images}. Seeds: {', '.join(sorted(results))}.",
    ]
    (HERE / "centroids.md").write_text("\n".join(rows) + "\n")
    lines = [Line(start, [(bits, 100 - after[f"{start}-{bits}"]) for bits in BITS]) for start in STARTS]
    untrained = [
        Line(f"{start}, untrained", [(b, 100 - before[f"{start}-{b}"]) for b in BITS], True) for start in STARTS
    ]
    picture = figure(
        lines + untrained,
        title="LeNet-5, pruned, then shared",
        x="bits a shared weight",
        y="accuracy on MNIST's test set, %",
        reference=(100 - pruned, "pruned"),
    )
    (HERE / "centroids.svg").write_text(picture)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
