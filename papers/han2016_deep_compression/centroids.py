"""Where centroids start, and what is left of it after training: `python centroids.py [--seeds 3]`.

Section 3.2 of the paper on the published pruned LeNet-5: it shares 2, 3 or 4 bits a weight in every layer, from each of
the paper's three starts and from the exact optimum, and trains its centroids for an epoch. Runs are kept in --work and go
on from there. Writes centroids.json, centroids.md and centroids.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from run import HERE, show

import tersenet
from tersenet.graph import Network, capture
from tersenet.methods.share import share_weights
from tersenet.recipes import Recipe
from tersenet.report.figure import Line, figure
from tersenet.training.evaluate import evaluate
from tersenet.zoo import network
from tersenet.zoo.data import load
from tersenet.zoo.networks import ENTRIES
from tersenet.zoo.weights import load_weights

RESULTS = HERE / "centroids.json"
TRAIN = {"epochs": 1, "optimiser": "adam", "lr": 0.0005}
BITS = (2, 3, 4)
STARTS = ("linear", "density", "forgy", "optimum")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/han2016-centroids"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for seed in range(arguments.seeds):
        for_seed(seed, arguments.work)
    write_results()


def for_seed(seed: int, work: Path) -> None:
    data = load("mnist", preprocess=ENTRIES["lenet5"].preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / "lenet-mnist" / "lenet5_sparse.safetensors"
    pruned = capture(load_weights(network("lenet5"), weights).eval(), torch.zeros(2, 1, 28, 28))
    found = {"pruned": {"test_error": error(pruned, data.test), "validation_error": error(pruned, data.validate)}}
    for bits in BITS:
        for start in STARTS:
            name = f"{start}-{bits}"
            store = {"id": "store", "bits": bits, "init": start, "dtype": "float16", "train": TRAIN}
            trained = compressed(pruned, store, data, seed, work / f"{name}-{seed}")
            shared = at_once(pruned, bits, start, seed)
            found[name] = {
                "squared_error": squared_error(shared, pruned),
                "test_error_before": error(shared, data.test),
                "test_error_after": error(trained, data.test),
                "validation_error_after": error(trained, data.validate),
            }
            print(seed, name, found[name], flush=True)
    record(seed, found)


def compressed(start: Network, step: dict[str, Any], data: Any, seed: int, run_dir: Path) -> Network:
    """What one step of the recipe makes of a network."""
    return tersenet.compress(
        start,
        recipe=Recipe.model_validate({"name": "centroids", "steps": [step]}),
        train=data.train,
        validate=data.validate,
        seed=seed,
        run_dir=run_dir,
        source="lenet5",
        on_event=show,
    ).network


def at_once(pruned: Network, bits: int, start: str, seed: int) -> Network:
    """The same codebooks before they train."""
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


def record(seed: int, found: dict[str, Any]) -> None:
    """Put a finished seed beside the others."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[str(seed)] = found | {
        "command": f"python papers/{HERE.name}/centroids.py --seeds {seed + 1}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def means(results: dict[str, Any], key: str) -> dict[str, float]:
    """Of each start and number of bits over the seeds."""
    return {
        f"{start}-{bits}": sum(seed[f"{start}-{bits}"][key] for seed in results.values()) / len(results)
        for start in STARTS
        for bits in BITS
    }


def write_results() -> None:
    results = json.loads(RESULTS.read_text())
    before, after, apart = (means(results, key) for key in ("test_error_before", "test_error_after", "squared_error"))
    rows = [
        "| start | " + " | ".join(f"{bits} bits: squared error, test error before -> after, %" for bits in BITS) + " |",
        "|---|" + "---|" * len(BITS),
    ]
    for start in STARTS:
        cells = [
            f"{100 * apart[key]:.2f} %, {before[key]:.2f} -> {after[key]:.2f}" for key in (f"{start}-{b}" for b in BITS)
        ]
        rows.append(f"| {start} | {' | '.join(cells)} |")
    pruned = sum(seed["pruned"]["test_error"] for seed in results.values()) / len(results)
    rows += ["", f"Pruned and not shared: {pruned:.2f} %. Mean of seeds {', '.join(sorted(results))}."]
    (HERE / "centroids.md").write_text("\n".join(rows) + "\n")
    picture = figure(
        [
            *(Line(start, [(bits, 100 - after[f"{start}-{bits}"]) for bits in BITS]) for start in STARTS),
            *(Line(f"{start}, untrained", [(b, 100 - before[f"{start}-{b}"]) for b in BITS], True) for start in STARTS),
        ],
        title="LeNet-5, pruned, then shared",
        x="bits a shared weight",
        y="accuracy on MNIST's test set, %",
        y_range=(90, 100),
        reference=(100 - pruned, "pruned"),
    )
    (HERE / "centroids.svg").write_text(picture)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
