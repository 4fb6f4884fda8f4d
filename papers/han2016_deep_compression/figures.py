"""Accuracy against bytes, drawn: `python figures.py [NAME ...]`, after figure 6 of the paper and Gong et al. 2014's curves.

NAME is a network and what is drawn of it: `lenet5-forms` compares every form after training, weights fitted to 256
training inputs; `lenet5-retrained` prunes, shares, does both, and factorises (SVD), with training after each step. All
points are scored on the test set; none is chosen by it. Points are kept in --work, and the same command goes on there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tersenet.graph import capture
from tersenet.report.comparison import draw, table
from tersenet.search import compare
from tersenet.training import TrainConfig
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
DRAWN = HERE / "figures"
# The paper's four lines; SVD is low_rank.
PAPER = ("prune", "codebook", "prune + codebook", "low_rank")
INPUTS = 256


@dataclass(frozen=True)
class Subject:
    """A published network; `within` points of accuracy below the original are drawn.

    levels     points a line that are trained again, spread over its range
    forms      points a line that are not
    """

    weights: str
    train: TrainConfig
    levels: int = 3
    forms: int = 5
    within: float = 5.0


SUBJECTS = {
    "lenet_300_100": Subject("lenet-mnist/lenet300100_original", TrainConfig(epochs=3, optimiser="adam", lr=0.001)),
    "lenet5": Subject("lenet-mnist/lenet5_original", TrainConfig(epochs=1, optimiser="adam", lr=0.001)),
    "resnet20": Subject(
        "cifar10-resnet/resnet20-12fca82f",
        TrainConfig(
            epochs=5,
            batch_size=128,
            lr=0.02,
            weight_decay=1e-4,
            warmup_epochs=0.2,
            augment="flip_crop",
            precision="bfloat16",
        ),
        forms=2,
        within=15.0,
    ),
}
KINDS = ("forms", "retrained")


def main() -> None:
    known = [f"{name}-{kind}" for name in SUBJECTS for kind in KINDS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/han2016-figures"))
    parser.add_argument("--budget", type=float, help="seconds after which no other point is begun")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    for one in arguments.names or known:
        name, _, kind = one.rpartition("-")
        reproduce(name, kind, arguments.work / one, arguments.budget)


def reproduce(name: str, kind: str, folder: Path, budget: float | None) -> None:
    subject, entry = SUBJECTS[name], ENTRIES[name]
    data = load(entry.data, preprocess=entry.preprocess)
    weights = Path(os.environ["TERSENET_DATA"]) / "models" / f"{subject.weights}.safetensors"
    net = capture(load_weights(network(name), weights).eval(), data.test.batch(torch.arange(2))[0])
    retrained = kind == "retrained"
    folder.mkdir(parents=True, exist_ok=True)
    found = compare(
        net,
        data.test,
        folder,
        train=data.train,
        lines=PAPER if retrained else None,
        calibrate=0 if retrained else INPUTS,
        train_config=subject.train if retrained else None,
        levels=subject.levels if retrained else subject.forms,
        budget_s=budget,
        source=f"{name}, {'retrained' if retrained else 'not trained again'}",
        on_point=lambda done, of: print(time.strftime("%H:%M:%S"), name, kind, done, of, flush=True),
    )
    if found.missing:
        print(f"{name}-{kind}: {found.missing} points are missing; the same command goes on")
        return
    DRAWN.mkdir(exist_ok=True)
    shutil.copy(folder / "compare.json", DRAWN / f"{name}-{kind}.json")
    (DRAWN / f"{name}-{kind}.svg").write_text(draw(found, within=subject.within))
    headers, rows = table(found)
    lines = [headers, ["---"] * len(headers), *rows]
    (DRAWN / f"{name}-{kind}.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))


if __name__ == "__main__":
    main()
