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
from tersenet.zoo.preprocess import Preprocess
from tersenet.zoo.rescaled import rescaled

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, file_of, means, published, show, took

PAPER = Paper(__file__, __doc__)
WEIGHTS = {
    "lenet_300_100": "models/lenet-mnist/lenet300100_original.safetensors",
    "lenet5": "models/lenet-mnist/lenet5_original.safetensors",
    "resnet20": "models/cifar10-resnet/resnet20-12fca82f.safetensors",
    "resnet56": "models/cifar10-resnet/resnet56-4bfd9763.safetensors",
    "resnet8": "models/mlperf-tiny/resnet8_cifar10.safetensors",
}
TRAINED = {"lenet5": "teacher", "vgg16_cifar": "vgg16_cifar_dense"}
"""Networks of our own, by the recipes that train them unless the experiment has another."""


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network, its recipe, the price of a bit, and what the claim asks for.

    rate         the price of a bit; with a target, where it begins
    rates        where it begins in each step, if not at one price
    targets      coded bytes that the price leads to in each step that has one, if any
    teacher      who teaches: a network with published weights, or one of our own; else the recipe's teacher, if any, is the
                 network as it came
    dense        the recipe that trains the network and its teacher, if not that of TRAINED
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
    teacher: str | None = None
    targets: tuple[int, ...] | None = None
    rates: tuple[float, ...] | None = None
    dense: str | None = None


LENET_300_100 = ("LeNet-300-100, best recipe", "lenet_300_100", "lenet_300_100")
LENET_5 = ("LeNet-5 (Caffe), best recipe", "lenet5")
VGG = ("VGG-16, trained by us", "vgg16_cifar")
EXPERIMENTS = {
    "lenet_300_100_smaller": Experiment(*LENET_300_100, 1.2, "8,560 B at 1.9 %", 3_000, 1.9, "lenet5"),
    "lenet_300_100_better": Experiment(*LENET_300_100, 0.3, "27 KB at 1.58 %", 6_000, 1.6, "lenet5"),
    "lenet_300_100_plain": Experiment(
        "LeNet-300-100, plain", "lenet_300_100", "lenet_300_100_plain", 0.5, "8,560 B at 1.9 %", 3_000, 1.9
    ),
    "lenet5_smaller": Experiment(*LENET_5, "lenet5_long", 2.8, "1,520 B at 0.96 %", 1_000, 1.0, "lenet5"),
    "lenet5_better": Experiment(*LENET_5, "lenet5", 0.49, "3,030 B at 0.69 %", 2_200, 0.7, "lenet5"),
    "lenet5_plain": Experiment(
        "LeNet-5 (Caffe), plain", "lenet5", "lenet5_plain", 1.0, "1,520 B at 0.96 %", 1_000, 1.0
    ),
    "resnet20": Experiment(
        "ResNet-20, ResNet-56 as teacher", "resnet20", "resnet20", 0.05, "none coded; 65 KB at 8.0 %", 27_000, 8.5, "resnet56", (23_050, 22_750),
        (0.05, 2.0),
    ),
    "resnet8": Experiment(
        "ResNet-8 (MLPerf Tiny), ResNet-56 as teacher", "resnet8", "resnet8", 0.02, "98,496 B at 13.03 %, int8", 25_000, 13.03,
        "resnet56", (21_850, 22_550),
    ),
    "vgg16_smaller": Experiment(
        *VGG, "vgg16_cifar", 0.02, "76 KB at 10.0 %", 60_000, 10.0, "vgg16_cifar", (51_300, 51_300, 54_000)
    ),
    "vgg16_better": Experiment(
        *VGG, "vgg16_cifar_better", 0.01, "129 KB at 7.4 %", 120_000, 7.0, "vgg16_cifar", (112_000, 112_000, 115_000),
        dense="vgg16_cifar_better_dense",
    ),
}  # fmt: skip


def main() -> None:
    arguments = PAPER.arguments(EXPERIMENTS, seeds=True, devices=True)
    for name in arguments.names:
        for seed in range(arguments.seeds):
            PAPER.record(name, reproduce(name, EXPERIMENTS[name], seed, arguments.work), seed)
    write_table()


def reproduce(name: str, experiment: Experiment, seed: int, work: Path) -> dict[str, Any]:
    entry = ENTRIES[experiment.network]
    data = load(entry.data, preprocess=entry.preprocess)
    dense = experiment.dense
    result = tersenet.compress(
        begun(experiment.network, data, work, dense),
        recipe=priced(load_recipe(PAPER.recipes / f"{experiment.recipe}.yaml"), experiment),
        train=data.train,
        validate=data.validate,
        test=data.test,
        teacher=None
        if experiment.teacher is None
        else teacher(experiment.teacher, entry.preprocess, data, work, dense),
        seed=seed,
        run_dir=work / f"{name}-{seed}",
        device=PAPER.device,
        provenance=False,
        source=experiment.network,
        on_event=show,
    )
    if seed == 0:
        PAPER.save(result, name)
    final = result.record.final
    return {
        "network": experiment.network,
        **file_of(result),
        **took(result),
        "rate": experiment.rate,
        "target": experiment.targets[-1] if experiment.targets else None,
        "test_error_before": error(final["original"]["test"]),
        "test_error_after": error(final["test"]),
        "validation_error_after": error(final["validate"]),
    }


def begun(name: str, data: Any, work: Path, recipe: str | None) -> torch.nn.Module:
    """A network with published weights, or one of our own where there are none."""
    return published(name, WEIGHTS[name]) if name in WEIGHTS else trained(name, data, work, recipe)


def trained(name: str, data: Any, work: Path, recipe: str | None) -> torch.nn.Module:
    """A network of our own, where there is a recipe for it; the same for all seeds. Else with published weights."""
    recipe = recipe or TRAINED.get(name)
    if recipe is None:
        return published(name, WEIGHTS[name])
    torch.manual_seed(0)
    return tersenet.compress(
        network(name),
        recipe=PAPER.recipes / f"{recipe}.yaml",
        train=data.train,
        validate=data.validate,
        run_dir=work / recipe,
        device=PAPER.device,
        on_event=show,
    ).network


def teacher(name: str, given: Preprocess, data: Any, work: Path, recipe: str | None) -> torch.nn.Module:
    """One that reads pictures prepared for the student."""
    found, change = trained(name, data, work, recipe), rescaled(given, ENTRIES[name].preprocess)
    return found if change is None else torch.nn.Sequential(change, found)


def priced(recipe: Recipe, experiment: Experiment) -> Recipe:
    """The recipe with the experiment's price of a bit, and its targets."""
    targets, rates = iter(experiment.targets or ()), iter(experiment.rates or ())
    changed = [
        step.model_copy(update={"rate": next(rates, experiment.rate), "target": next(targets, None)})
        if hasattr(step, "rate")
        else step
        for step in recipe.steps
    ]
    return recipe.model_copy(update={"steps": tuple(changed)})


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
