"""Reproduce Han et al. 2016, Deep Compression: `python run.py [NAME ...] [--seeds 3]`.

Every experiment trains its own dense baseline, compresses it, and is scored on the test set at the end; all choices
are made on the validation split. Runs are kept in --work and go on from there after an interruption. Finished ones
are written to expected.json, from which table.md is made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import tersenet
from tersenet.recipes import load_recipe
from tersenet.zoo import network
from tersenet.zoo.data import load
from tersenet.zoo.networks import ENTRIES

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, file_of, means, published, show, took

PAPER = Paper(__file__, __doc__)


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network, how it is compressed, and what the claim asks for.

    weights      published weights under the data folder instead of a baseline of our own
    ratio        at least this many times smaller, float32 parameter bytes over the length of the file
    lost_points  at most this much test accuracy may go
    """

    claim: str
    network: str
    recipe: str
    paper: str
    ratio: float
    lost_points: float = 0.0
    weights: str | None = None
    bits: int | None = None


EXPERIMENTS = {
    "lenet_300_100_paper": Experiment(
        "LeNet-300-100, the paper's settings", "lenet_300_100", "lenet_300_100_paper", "40x, error 1.64 to 1.58 %", 40
    ),
    "lenet_300_100_best": Experiment("LeNet-300-100, best settings", "lenet_300_100", "lenet_300_100_best", "40x", 80),
    "lenet5_paper": Experiment(
        "LeNet-5, the paper's settings", "lenet5", "lenet5_paper", "39x, error 0.80 to 0.74 %", 39
    ),
    "lenet5_best": Experiment("LeNet-5, best settings", "lenet5", "lenet5_best", "39x", 120),
    "lenet_300_100_published": Experiment(
        "published sparse LeNet-300-100, no training",
        "lenet_300_100",
        "share-code",
        "-",
        195,
        0.1,
        "models/lenet-mnist/lenet300100_sparse.safetensors",
        4,
    ),
    "lenet5_published": Experiment(
        "published sparse LeNet-5, no training",
        "lenet5",
        "share-code",
        "-",
        360,
        0.1,
        "models/lenet-mnist/lenet5_sparse.safetensors",
        4,
    ),
    "resnet20": Experiment(
        "ResNet-20, CIFAR-10, fine-tuned",
        "resnet20",
        "resnet20",
        "-",
        16,
        0.5,
        "models/cifar10-resnet/resnet20-12fca82f.safetensors",
    ),
}


def main() -> None:
    arguments = PAPER.arguments(EXPERIMENTS, seeds=True)
    for name in arguments.names:
        for seed in range(arguments.seeds):
            PAPER.record(name, reproduce(name, EXPERIMENTS[name], seed, arguments.work), seed)
    write_table()


def reproduce(name: str, experiment: Experiment, seed: int, work: Path) -> dict[str, object]:
    entry = ENTRIES[experiment.network]
    data = load(entry.data, preprocess=entry.preprocess)
    torch.manual_seed(seed)
    model = network(experiment.network)
    if experiment.weights is None:
        model = baseline(model, experiment.network, data, seed, work)
    else:
        model = published(experiment.network, experiment.weights)
    shipped = PAPER.recipes / f"{experiment.recipe}.yaml"
    recipe = load_recipe(shipped if shipped.exists() else experiment.recipe)
    if experiment.bits is not None:
        recipe = recipe.with_settings(bits={"*": experiment.bits})
    result = tersenet.compress(
        model,
        recipe=recipe,
        train=data.train,
        validate=data.validate,
        test=data.test,
        seed=seed,
        run_dir=work / f"{name}-{seed}",
        source=experiment.network,
        on_event=show,
    )
    if seed == 0:
        PAPER.save(result, f"{name}-{seed}")
    before, after = (
        score["accuracy"] for score in (result.record.final["original"]["test"], result.record.final["test"])
    )
    return {
        **file_of(result),
        **took(result),
        "ratio": round(result.ratio, 2),
        "test_error_before": round(100 * (1 - before), 2),
        "test_error_after": round(100 * (1 - after), 2),
        "validation_error_after": round(100 * (1 - result.record.final["validate"]["accuracy"]), 2),
    }


def baseline(model: torch.nn.Module, name: str, data: object, seed: int, work: Path) -> torch.nn.Module:
    """The dense network that the compressed one is held against."""
    trained = tersenet.compress(
        model,
        recipe=PAPER.recipes / f"baseline_{name}.yaml",
        train=data.train,
        validate=data.validate,
        seed=seed,
        run_dir=work / f"{name}-baseline-{seed}",
        source=name,
        on_event=show,
    )
    return trained.network


def write_table() -> None:
    expected = PAPER.expected()
    lines = [
        "| claim | paper | target | ours: ratio | bytes | test error before -> after, % | seeds | minutes | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        runs = list(expected.get(name, {}).values())
        if not runs:
            continue
        mean = means(runs, "ratio", "file_bytes", "test_error_before", "test_error_after", "minutes")
        lost = round(mean["test_error_after"] - mean["test_error_before"], 3)
        met = mean["ratio"] >= experiment.ratio and lost <= experiment.lost_points
        lines.append(
            f"| {experiment.claim} | {experiment.paper} | >= {experiment.ratio:g}x, <= {experiment.lost_points:g} points lost "
            f"| {mean['ratio']:.1f}x | {mean['file_bytes']:,.0f} | {mean['test_error_before']:.2f} -> {mean['test_error_after']:.2f} "
            f"| {len(runs)} | {mean['minutes']:.1f} | {'yes' if met else 'no'} |"
        )
    PAPER.write_table(lines)


if __name__ == "__main__":
    main()
