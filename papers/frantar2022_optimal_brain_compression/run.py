"""One-shot pruning with calibration inputs against magnitude: `python run.py [NAME ...]`.

The published ResNets lose half of their weights and more, from 1000 training images without labels and without
training; each result is scored on the whole test set, as it is and with BatchNorm's statistics estimated anew from the
same images, as they are and moved as the networks' own training moved them. Finished rows are kept in --work. Writes
expected.json, table.md and a figure.
"""

from __future__ import annotations

import json
import sys
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
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, published

PAPER = Paper(__file__, __doc__)
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
    arguments = PAPER.arguments(WEIGHTS)
    for name in arguments.names:
        PAPER.record(name, {"rows": rows(name, arguments.work / f"{name}.json")})
    write_results()


def dense(name: str) -> tuple[Network, object, Inputs, Inputs]:
    """The published network, the test set, and training images without their labels, as they are and moved."""
    data = load("cifar10", preprocess=ENTRIES[name].preprocess)
    model = published(name, f"models/cifar10-resnet/{WEIGHTS[name]}.safetensors")
    net = capture(model.eval(), torch.zeros(2, 3, 32, 32))
    plain, moved = (
        [(x,) for x, _ in sample_batches(data.train, IMAGES, 125, seed=0, augment=augment)]
        for augment in ("none", "flip_crop")
    )
    return net, data.test, plain, moved


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


def scored(net: Network, plain: Inputs, moved: Inputs, test: object) -> dict[str, float]:
    """Test accuracy, %, as the network is and with BatchNorm's statistics estimated anew."""
    found = {"test": round(100 * evaluate(net, test).accuracy, 2)}
    for key, inputs in (("test_batchnorm_anew", plain), ("test_batchnorm_moved", moved)):
        anew = net.clone()
        recalibrate_batchnorm(anew, inputs)
        found[key] = round(100 * evaluate(anew, test).accuracy, 2)
    return found


def rows(name: str, path: Path) -> dict[str, dict[str, float]]:
    done = json.loads(path.read_text()) if path.exists() else {}
    net, test, plain, moved = dense(name)
    if "dense" not in done:
        done["dense"] = scored(net, plain, moved, test)
    for row in ROWS:
        if row.key in done:
            continue
        started = time.time()
        smaller = pruned(net, row, plain)
        seconds = round(time.time() - started, 1)
        weights = [smaller.dense(layer.weight) for layer in select_layers(smaller, "*")]
        zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
        done[row.key] = scored(smaller, plain, moved, test) | {
            "zeros_percent": round(100 * zeros, 2),
            "seconds": seconds,
        }
        path.write_text(json.dumps(done))
        print(time.strftime("%H:%M:%S"), name, row.key, done[row.key], flush=True)
    return done


def write_results() -> None:
    expected = PAPER.expected()
    table = [
        "| network | zeros, % | by | chosen | test accuracy, % | BatchNorm anew, plain images | moved images | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        if name not in expected:
            continue
        found = expected[name]["rows"]
        table.append(f"| {title} | 0 | - | - | {accuracies(found['dense'])} | - |")
        for row in ROWS:
            one = found[row.key]
            chosen = "2 of 4" if row.keep is None else "each layer alike" if row.each else "all layers together"
            table.append(
                f"| {title} | {one['zeros_percent']:.0f} | {'surgery' if row.surgery else 'magnitude'} | {chosen} "
                f"| {accuracies(one)} | {one['seconds']:.0f} |"
            )
        PAPER.write_picture(name, drawn(title, found))
    PAPER.write_table(table)


def accuracies(row: dict[str, float]) -> str:
    """In columns; a dash where the record of that time has none."""
    return " | ".join(str(row.get(key, "-")) for key in ("test", "test_batchnorm_anew", "test_batchnorm_moved"))


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
