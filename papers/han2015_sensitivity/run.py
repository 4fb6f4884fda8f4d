"""Reproduce Han et al. 2015, figure 6, on small networks: `python run.py [NAME ...]`.

Each layer of a published network alone is pruned by magnitude, without retraining, and scored on test images: nothing is
trained and nothing is chosen. Points are kept in --work and gone on with after an interruption. A finished network is
drawn and written to expected.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tersenet
from tersenet.report.sensitivity import draw
from tersenet.search import Sensitivity, sensitivity
from tersenet.zoo import entry, example_inputs
from tersenet.zoo.data import load

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, published

PAPER = Paper(__file__, __doc__)
LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)


@dataclass(frozen=True)
class Experiment:
    """A network with its published weights under the data folder.

    examples   test images it is scored on; all of them by default
    levels     shares of weights that stay
    """

    weights: str
    examples: int | None = None
    levels: tuple[float, ...] = LEVELS


EXPERIMENTS = {
    "lenet5": Experiment("models/lenet-mnist/lenet5_original.safetensors", levels=(*LEVELS, 0.03, 0.02)),
    "resnet20": Experiment("models/cifar10-resnet/resnet20-12fca82f.safetensors", examples=2048),
}


def main() -> None:
    arguments = PAPER.arguments(EXPERIMENTS)
    for name in arguments.names:
        found = measure(name, EXPERIMENTS[name], arguments.work)
        PAPER.write_picture(name, draw(found, "prune"))
        PAPER.record(name, summary(found))


def measure(name: str, experiment: Experiment, work: Path) -> Sensitivity:
    known = entry(name)
    model = published(name, experiment.weights)
    data = load(known.data, preprocess=known.preprocess, parts=("test",))
    return sensitivity(
        tersenet.capture(model.eval(), example_inputs(name, 2)),
        data.test,
        methods=("prune",),
        levels=experiment.levels,
        examples=experiment.examples,
        path=work / f"{name}.json",
        source=f"{name}, {known.data}",
        on_point=lambda done, of: print(name, f"{done}/{of}", flush=True),
    )


def summary(found: Sensitivity) -> dict[str, object]:
    layers = found.of("prune")
    return {
        "original": round(100 * found.original, 2),
        "examples": found.examples,
        "levels": [point.level for point in next(iter(layers.values()))],
        "accuracy": {layer: [round(100 * point.quality, 2) for point in points] for layer, points in layers.items()},
        "mean_lost_points": {
            layer: round(sum(point.lost_points for point in points) / len(points), 3)
            for layer, points in layers.items()
        },
        "minutes": round(sum(point.seconds for point in found.points) / 60, 1),
    }


if __name__ == "__main__":
    main()
