"""Post-training quantization with error feedback against nearest values: `python run.py [NAME ...]`.

The published ResNets are stored in a few bits a weight, by 256 training images without labels and without training; the
network that each file holds is scored on the whole test set. Where layers' inputs are eight-bit integers too, by ranges
that the same images fix, the file is scored in torch and in the runtime, on whose integers it runs. Finished rows are
kept in --work. Writes expected.json and table.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tersenet import artifact, runtime
from tersenet.container import decode
from tersenet.graph import Network, capture
from tersenet.recipes import Recipe, Task, run
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
WEIGHTS = {"resnet20": "resnet20-12fca82f", "resnet56": "resnet56-4bfd9763"}
TITLES = {"resnet20": "ResNet-20", "resnet56": "ResNet-56"}
IMAGES = 256


@dataclass(frozen=True)
class Way:
    """A form, and how many points of test accuracy the claim lets feedback lose; None where there is no claim.

    activations   eight-bit integers for what layers read, their ranges from the same images
    """

    title: str
    step: dict[str, Any]
    lost_points: float | None = None
    activations: bool = False


WAYS = {
    "uniform 8": Way("8 bits, a step a channel", {"form": "uniform", "bits": 8}, 0.1),
    "uniform 4": Way("4 bits, a step a channel", {"form": "uniform", "bits": 4}, 1.0),
    "codebook 3": Way("3 bits, 8 shared values", {"form": "codebook", "bits": 3, "init": "optimum"}, 2.0),
    "integers 8": Way("8 bits, inputs too", {"form": "uniform", "bits": 8}, activations=True),
    "uniform 3": Way("3 bits, a step a channel", {"form": "uniform", "bits": 3}),
    "codebook 2": Way("2 bits, 4 shared values", {"form": "codebook", "bits": 2, "init": "optimum"}),
    "ternary": Way("-a, 0, a, one a a channel", {"form": "ternary"}),
    "product": Way("256 vectors of 4 weights", {"form": "product", "bits": 8, "dim": 4}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WEIGHTS)} (default: all)")
    parser.add_argument("--ways", help=f"of {', '.join(WAYS)}, with commas (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/frantar2023"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(WEIGHTS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    ways = list(WAYS) if arguments.ways is None else arguments.ways.split(",")
    if not set(ways) <= set(WAYS):
        parser.error(f"ways are {', '.join(WAYS)}; got {arguments.ways}")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or WEIGHTS:
        record(name, rows(name, ways, arguments.work))
    write_table()


def dense(name: str) -> tuple[Network, Any]:
    """The published network and its data."""
    data = load("cifar10", preprocess=ENTRIES[name].preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / "cifar10-resnet" / f"{WEIGHTS[name]}.safetensors"
    return capture(load_weights(network(name), weights).eval(), torch.zeros(2, 3, 32, 32)), data


def stored(net: Network, train: Any, way: Way, calibrate: int, run_dir: Path) -> bytes:
    """The file; weights by `way`, all else as float16."""
    steps = [{"id": "store", **way.step, "calibrate": calibrate}, {"id": "round"}]
    if way.activations:
        steps.insert(1, {"id": "activations", "examples": IMAGES})
    recipe = Recipe.model_validate({"name": "post-training", "steps": steps, "coder": "rans"})
    data, _ = run(net, Task(recipe=recipe, train=train, run_dir=run_dir, provenance=False))
    return data


def rows(name: str, ways: list[str], work: Path) -> dict[str, dict[str, float]]:
    path = work / f"{name}.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    net, data = dense(name)
    if "dense" not in done:
        done["dense"] = {"test": round(100 * evaluate(net, data.test).accuracy, 2)}
    for key in ways:
        way = WAYS[key]
        for calibrate in (0, IMAGES):
            row = f"{key} {'feedback' if calibrate else 'nearest'}"
            if row in done:
                continue
            started = time.time()
            file = stored(net, data.train, way, calibrate, work / f"{name}-run")
            seconds = round(time.time() - started, 1)
            shutil.rmtree(work / f"{name}-run")
            score = evaluate(artifact.from_contents(decode(file, max_bytes=1 << 28)), data.test)
            done[row] = {"bytes": len(file), "test": round(100 * score.accuracy, 2), "seconds": seconds}
            if way.activations:
                done[row]["runtime_test"] = on_integers(file, data.test)
            path.write_text(json.dumps(done))
            print(time.strftime("%H:%M:%S"), name, row, done[row], flush=True)
    return done


def on_integers(file: bytes, split: Any) -> float:
    """Test accuracy of the runtime, whose layers multiply eight-bit integers; percent."""
    session = runtime.open_bytes(file, threads=1, batch=100, activations="int8", max_bytes=1 << 32)
    right = sum(int((session(x.numpy()).argmax(1) == y.numpy()).sum()) for x, y in split.batches(100))
    return round(100 * right / len(split), 2)


def record(name: str, done: dict[str, dict[str, float]]) -> None:
    """Put a finished network into expected.json, beside the other."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected[name] = {
        "rows": done,
        "command": f"python papers/{HERE.name}/run.py {name}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def write_table() -> None:
    expected = json.loads(EXPECTED.read_text())
    table = [
        "| network | weights | bytes, nearest -> feedback | test accuracy, %: dense | nearest | feedback "
        "| points lost | allowed | met | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        found = expected.get(name, {}).get("rows", {})
        for key, way in WAYS.items():
            near, fed = found.get(f"{key} nearest"), found.get(f"{key} feedback")
            if near is None or fed is None:
                continue
            lost = round(found["dense"]["test"] - fed["test"], 2)
            claim = (
                ["-", "-"]
                if way.lost_points is None
                else [f"{way.lost_points:g}", "yes" if lost <= way.lost_points else "no"]
            )
            table.append(
                f"| {title} | {way.title} | {near['bytes']:,} -> {fed['bytes']:,} | {found['dense']['test']:.2f} "
                f"| {near['test']:.2f} | {fed['test']:.2f} | {lost:.2f} | {' | '.join(claim)} | {fed['seconds']:.0f} |"
            )
    table += [
        "",
        "| network, 8 bits, inputs too | feedback, in torch | in the runtime, on integers |",
        "|---|---|---|",
    ]
    for name, title in TITLES.items():
        fed = expected.get(name, {}).get("rows", {}).get("integers 8 feedback")
        if fed is not None:
            table.append(f"| {title} | {fed['test']:.2f} | {fed['runtime_test']:.2f} |")
    (HERE / "table.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
