"""One-shot pruning with calibration inputs against magnitude: `python run.py [NAME ...]`.

The published ResNets lose half of their weights and more, from 1000 training images without labels and without
training; each result is scored on the whole test set, as it is and with BatchNorm's statistics estimated anew from the
same images. Finished rows are kept in --work. Writes expected.json, table.md and a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tersenet.calibration import recalibrate_batchnorm, sample_batches
from tersenet.graph import Network, capture
from tersenet.methods.obs import Surgery, prune_by_surgery
from tersenet.methods.patterns import Neighbours, pattern_mask
from tersenet.methods.saliency import attach_kept, keep_salient
from tersenet.methods.select import select_layers
from tersenet.report.figure import Line, figure
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
WEIGHTS = {"resnet20": "resnet20-12fca82f", "resnet56": "resnet56-4bfd9763"}
TITLES = {"resnet20": "ResNet-20", "resnet56": "ResNet-56"}
IMAGES = 1000
Inputs = list[tuple[Tensor, ...]]


@dataclass(frozen=True)
class Row:
    """A way to prune: by `surgery` or magnitude; `keep` of all layers together or of each, or 2 of 4 neighbours."""

    surgery: bool
    keep: float | None
    each: bool = False

    @property
    def key(self) -> str:
        what = "2:4" if self.keep is None else f"{self.keep}{' each' if self.each else ''}"
        return f"{'obs' if self.surgery else 'magnitude'} {what}"


ROWS = [
    *(Row(surgery, keep) for keep in (0.5, 0.3, 0.2, None) for surgery in (True, False)),
    Row(True, 0.3, each=True),
    *(Row(False, keep, each=True) for keep in (0.5, 0.3, 0.2)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WEIGHTS)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/frantar2022"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(WEIGHTS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or WEIGHTS:
        record(name, rows(name, arguments.work / f"{name}.json"))
    write_results()


def dense(name: str) -> tuple[Network, object, Inputs]:
    """The published network, the test set, and training images without their labels."""
    data = load("cifar10", preprocess=ENTRIES[name].preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / "cifar10-resnet" / f"{WEIGHTS[name]}.safetensors"
    net = capture(load_weights(network(name), weights).eval(), torch.zeros(2, 3, 32, 32))
    return net, data.test, [(x,) for x, _ in sample_batches(data.train, IMAGES, 125, seed=0)]


def pruned(net: Network, row: Row, inputs: Inputs) -> Network:
    layers, smaller = select_layers(net, "*"), net.clone()
    share = {layer.weight: row.keep for layer in layers} if row.each else row.keep
    if row.surgery:
        surgery = Surgery(pattern=Neighbours(2, 4)) if row.keep is None else Surgery(keep=share)
        prune_by_surgery(smaller, inputs, layers, surgery)
        return smaller
    magnitude = {layer.weight: net.dense(layer.weight).abs() for layer in layers}
    if row.keep is None:
        attach_kept(smaller, {name: pattern_mask(one, Neighbours(2, 4)) for name, one in magnitude.items()})
    else:
        attach_kept(smaller, keep_salient(magnitude, share))
    return smaller


def scored(net: Network, inputs: Inputs, test: object) -> dict[str, float]:
    """Test accuracy, %, as the network is and with BatchNorm's statistics estimated anew."""
    found = {"test": round(100 * evaluate(net, test).accuracy, 2)}
    anew = net.clone()
    recalibrate_batchnorm(anew, inputs)
    return found | {"test_batchnorm_anew": round(100 * evaluate(anew, test).accuracy, 2)}


def rows(name: str, path: Path) -> dict[str, dict[str, float]]:
    done = json.loads(path.read_text()) if path.exists() else {}
    net, test, inputs = dense(name)
    if "dense" not in done:
        done["dense"] = scored(net, inputs, test)
    for row in ROWS:
        if row.key in done:
            continue
        started = time.time()
        smaller = pruned(net, row, inputs)
        seconds = round(time.time() - started, 1)
        weights = [smaller.dense(layer.weight) for layer in select_layers(smaller, "*")]
        zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
        done[row.key] = scored(smaller, inputs, test) | {"zeros_percent": round(100 * zeros, 2), "seconds": seconds}
        path.write_text(json.dumps(done))
        print(time.strftime("%H:%M:%S"), name, row.key, done[row.key], flush=True)
    return done


def record(name: str, done: dict[str, dict[str, float]]) -> None:
    """Put a finished network into expected.json, beside the other."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected[name] = {
        "rows": done,
        "command": f"python papers/{HERE.name}/run.py {name}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def write_results() -> None:
    expected = json.loads(EXPECTED.read_text())
    table = [
        "| network | zeros, % | by | chosen | test accuracy, % | with BatchNorm anew | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        if name not in expected:
            continue
        found = expected[name]["rows"]
        table.append(
            f"| {title} | 0 | - | - | {found['dense']['test']} | {found['dense']['test_batchnorm_anew']} | - |"
        )
        for row in ROWS:
            one = found[row.key]
            chosen = "2 of 4" if row.keep is None else "each layer alike" if row.each else "all layers together"
            table.append(
                f"| {title} | {one['zeros_percent']:.0f} | {'surgery' if row.surgery else 'magnitude'} | {chosen} "
                f"| {one['test']} | {one['test_batchnorm_anew']} | {one['seconds']:.0f} |"
            )
        (HERE / f"{name}.svg").write_text(drawn(title, found))
    (HERE / "table.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


def drawn(title: str, found: dict[str, dict[str, float]]) -> str:
    """Accuracy against zeros: weights of all layers together, and magnitude for each layer as well."""
    lines = []
    for label, surgery, each in (
        ("surgery", True, False),
        ("magnitude", False, False),
        ("magnitude, each", False, True),
    ):
        for anew in ("", "_batchnorm_anew"):
            rows = [row for row in ROWS if row.keep is not None and (row.surgery, row.each) == (surgery, each)]
            points = [(found[row.key]["zeros_percent"], found[row.key][f"test{anew}"]) for row in rows]
            points.insert(0, (0.0, found["dense"][f"test{anew}"]))
            lines.append(Line(f"{label}{', BN anew' if anew else ''}", points, dashed=bool(anew)))
    return figure(lines, title=f"{title}, one shot", x="zeros, %", y="accuracy on CIFAR-10's test set, %")


if __name__ == "__main__":
    main()
