"""The smallest files for the same answers: `python run.py [NAME ...] [--seeds 3]`.

A network with published weights is trained on with the price of its coded bits in the loss. Each experiment is one price;
which one stands in the table was chosen by validation error among those of its line. Runs are kept in --work and go on
from there after an interruption; finished ones are written to expected.json, from which table.md is made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import tersenet
from tersenet.recipes import Recipe, load_recipe
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, file_of, means, published, show, took

PAPER = Paper(__file__, __doc__)
TEACHER = "lenet5"
WEIGHTS = {
    "lenet_300_100": "models/lenet-mnist/lenet300100_original.safetensors",
    "lenet5": "models/lenet-mnist/lenet5_original.safetensors",
    "resnet20": "models/cifar10-resnet/resnet20-12fca82f.safetensors",
    "resnet8": "models/mlperf-tiny/resnet8_cifar10.safetensors",
}


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network, its recipe, the price of a bit, and what the claim asks for.

    taught       by a LeNet-5 of our own, trained on moved pictures; else the recipe's teacher, if any, is the network
                 as published
    file_bytes   at most so many, the whole file
    test_error   at most so many percent
    """

    claim: str
    network: str
    recipe: str
    rate: float
    record: str
    file_bytes: int
    test_error: float
    taught: bool = False


EXPERIMENTS = {
    "lenet_300_100_smaller": Experiment(
        "LeNet-300-100, best recipe", "lenet_300_100", "lenet_300_100", 1.2, "8,560 B at 1.9 %", 3_000, 1.9, True
    ),
    "lenet_300_100_better": Experiment(
        "LeNet-300-100, best recipe", "lenet_300_100", "lenet_300_100", 0.3, "27 KB at 1.58 %", 6_000, 1.6, True
    ),
    "lenet_300_100_plain": Experiment(
        "LeNet-300-100, plain", "lenet_300_100", "lenet_300_100_plain", 0.5, "8,560 B at 1.9 %", 3_000, 1.9
    ),
    "lenet5_smaller": Experiment(
        "LeNet-5 (Caffe), best recipe", "lenet5", "lenet5_long", 2.5, "1,520 B at 0.96 %", 1_000, 1.0, True
    ),
    "lenet5_better": Experiment(
        "LeNet-5 (Caffe), best recipe", "lenet5", "lenet5", 0.7, "3,030 B at 0.69 %", 2_200, 0.7, True
    ),
    "resnet8_int8": Experiment(
        "ResNet-8 (MLPerf Tiny), itself as teacher",
        "resnet8",
        "resnet8",
        0.035,
        "98,496 B at 13.03 %, int8",
        25_000,
        13.03,
    ),
    "lenet5_plain": Experiment(
        "LeNet-5 (Caffe), plain", "lenet5", "lenet5_plain", 1.0, "1,520 B at 0.96 %", 1_000, 1.0
    ),
}


def main() -> None:
    arguments = PAPER.arguments(EXPERIMENTS, seeds=True)
    for name in arguments.names:
        for seed in range(arguments.seeds):
            PAPER.record(name, reproduce(name, EXPERIMENTS[name], seed, arguments.work), seed)
    write_table()


def reproduce(name: str, experiment: Experiment, seed: int, work: Path) -> dict[str, Any]:
    entry = ENTRIES[experiment.network]
    data = load(entry.data, preprocess=entry.preprocess)
    result = tersenet.compress(
        published(experiment.network, WEIGHTS[experiment.network]),
        recipe=priced(load_recipe(PAPER.recipes / f"{experiment.recipe}.yaml"), experiment.rate),
        train=data.train,
        validate=data.validate,
        test=data.test,
        teacher=teacher(data, work) if experiment.taught else None,
        seed=seed,
        run_dir=work / f"{name}-{experiment.rate:g}-{seed}",
        provenance=False,
        source=experiment.network,
        on_event=show,
    )
    if seed == 0:
        PAPER.save(result, name)
    final = result.record.final
    return {
        **file_of(result),
        **took(result),
        "rate": experiment.rate,
        "test_error_before": error(final["original"]["test"]),
        "test_error_after": error(final["test"]),
        "validation_error_after": error(final["validate"]),
    }


def priced(recipe: Recipe, rate: float) -> Recipe:
    """The recipe with another price of a bit."""
    steps = [step.model_copy(update={"rate": rate}) if hasattr(step, "rate") else step for step in recipe.steps]
    return recipe.model_copy(update={"steps": tuple(steps)})


def teacher(data: Any, work: Path) -> torch.nn.Module:
    """A LeNet-5 of about half the errors of the published one; the same for all seeds."""
    torch.manual_seed(0)
    trained = tersenet.compress(
        network(TEACHER),
        recipe=PAPER.recipes / "teacher.yaml",
        train=data.train,
        validate=data.validate,
        run_dir=work / "teacher",
        on_event=show,
    )
    return trained.network


def error(score: dict[str, Any]) -> float:
    return round(100 * (1 - score["accuracy"]), 2)


def write_table() -> None:
    lines = [
        "| network | best published | target | price | bytes | smaller than float32 | test error, % | seeds | minutes | met |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    expected = PAPER.expected()
    for name in (name for name in EXPERIMENTS if name in expected):
        runs = expected[name]
        one, seeds = EXPERIMENTS[name], list(runs.values())
        mean = means(seeds, "file_bytes", "test_error_after", "test_error_before", "minutes")
        met = mean["file_bytes"] <= one.file_bytes and mean["test_error_after"] <= one.test_error
        whole = 4 * sum(parameter.numel() for parameter in network(one.network).parameters())
        lines.append(
            f"| {one.claim} | {one.record} | <= {one.file_bytes:,} B, <= {one.test_error:g} % | {seeds[0]['rate']:g} "
            f"| {mean['file_bytes']:,.0f} | {whole / mean['file_bytes']:,.0f}x "
            f"| {mean['test_error_before']:.2f} -> {mean['test_error_after']:.2f} | {len(seeds)} "
            f"| {mean['minutes']:.0f} | {'yes' if met else 'no'} |"
        )
    PAPER.write_table(lines)


if __name__ == "__main__":
    main()
