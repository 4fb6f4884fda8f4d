"""Reproduce Han et al. 2015, Learning both Weights and Connections: `python run.py [NAME ...] [--seeds 3]`.

`lenet_300_100` and `lenet5` train their own dense baseline, prune and retrain it, and are scored on the test set at the
end; all choices are made on the validation split. `curves` draws the paper's figure 5 for LeNet-300-100. Runs are kept
in --work and go on from there after an interruption. What is finished is written to expected.json, from which table.md
and curves.svg are made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import tersenet
from tersenet.graph import Network
from tersenet.graph.network import Watcher
from tersenet.measure.operations import Operations, count_operations
from tersenet.methods.prune import attach_pruned, global_keep
from tersenet.recipes import Recipe, load_recipe
from tersenet.report.figure import Line, figure
from tersenet.training.evaluate import evaluate
from tersenet.zoo import network
from tersenet.zoo.data import Data, Split, load
from tersenet.zoo.networks import ENTRIES

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, file_of, means, show, took

PAPER = Paper(__file__, __doc__)
DEEP_COMPRESSION = PAPER.folder.parent / "han2016_deep_compression" / "recipes"


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network and what the paper has of it.

    baseline   how the dense network is trained
    layers     the paper's own per-layer table: weights, and the share of them that is kept, %
    times      at least this many times fewer weights, at no more test error than the dense network has
    """

    title: str
    paper: str
    baseline: Path
    layers: dict[str, tuple[str, str]]
    times: float = 12


EXPERIMENTS = {
    "lenet_300_100": Experiment(
        "LeNet-300-100",
        "12x, error 1.64 to 1.59 %",
        DEEP_COMPRESSION / "baseline_lenet_300_100.yaml",
        {"ip1": ("235K", "8"), "ip2": ("30K", "9"), "ip3": ("1K", "26"), "total": ("266K", "8")},
    ),
    "lenet5": Experiment(
        "LeNet-5 (Caffe)",
        "12x, error 0.80 to 0.77 %",
        PAPER.recipes / "baseline_lenet5.yaml",
        {
            "conv1": ("0.5K", "66"),
            "conv2": ("25K", "12"),
            "ip1": ("400K", "8"),
            "ip2": ("5K", "19"),
            "total": ("431K", "8"),
        },
    ),
}
CURVES = "curves"
# Shares of the weights that stay, under one threshold for all layers: where iterate_l2's stages are.
KEPT = tuple(0.01 ** (stage / 10) for stage in range(1, 11))
# The figure's lower edge, as in the paper: points of accuracy.
LOWEST = -4.5


def main() -> None:
    arguments = PAPER.arguments([*EXPERIMENTS, CURVES], seeds=True)
    for name in arguments.names:
        if name == CURVES:
            PAPER.record(name, curves(arguments.work), 0)
            continue
        for seed in range(arguments.seeds):
            PAPER.record(name, reproduce(name, seed, arguments.work), seed)
    expected = PAPER.expected()
    write_table(expected)
    if CURVES in expected:
        PAPER.write_picture(CURVES, picture(expected[CURVES]["0"]))


# The networks ------------------------------------------------------------------------------------------------------


def reproduce(name: str, seed: int, work: Path) -> dict[str, Any]:
    data = splits(name)
    dense = compress(name, fresh(name, seed), EXPERIMENTS[name].baseline, data, seed, work / f"{name}-dense")
    result = compress(name, dense.network, PAPER.recipes / f"{name}.yaml", data, seed, work / name)
    if seed == 0:
        PAPER.save(result, f"{name}-{seed}")
    layers = layer_table(dense.network, result.network, data.test)
    return {
        "layers": layers,
        "times_fewer_weights": round(layers["total"]["weights"] / layers["total"]["kept"], 3),
        "test_error_before": error(dense, "test"),
        "test_error_after": error(result, "test"),
        "validation_error_before": error(dense, "validate"),
        "validation_error_after": error(result, "validate"),
        **file_of(result),
        **took(dense, result),
    }


def splits(name: str) -> Data:
    return load(ENTRIES[name].data, preprocess=ENTRIES[name].preprocess)


def fresh(name: str, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return network(name)


def compress(
    name: str, model: torch.nn.Module, recipe: Path | Recipe, data: Data, seed: int, folder: Path
) -> tersenet.Result:
    return tersenet.compress(
        model,
        recipe=recipe,
        train=data.train,
        validate=data.validate,
        test=data.test,
        seed=seed,
        run_dir=folder.with_name(f"{folder.name}-{seed}"),
        source=name,
        on_event=show,
    )


def error(result: tersenet.Result, split: str) -> float:
    """In per cent."""
    return round(100 * (1 - result.record.final[split]["accuracy"]), 2)


def layer_table(dense: Network, pruned: Network, test: Split) -> dict[str, dict[str, float]]:
    """Each layer, and all together, against the dense network.

    kept                  weights that are left, of `weights`
    flops_percent         multiply-adds whose weight and input are not zero; the network's own input counts as dense
    activations_percent   outputs that are not zero where the next layer reads them; 100 for the last layer
    """
    before, dense_reads = operations(dense, test), reads(dense, test)
    after, pruned_reads = operations(pruned, test), reads(pruned, test)
    names = [layer.name for layer in before]
    after = after.with_activation_density(
        {name: active / places for name, (places, active) in zip(names, pruned_reads)}
    )
    # What left with a dead unit is an activation that is not there: the share is of the dense network's.
    outputs = [(places, active) for (places, _), (_, active) in zip(dense_reads, pruned_reads)]
    answers = len(dense.dense(dense.weighted_layers()[-1].weight))
    outputs.append((answers, answers))
    rows = [
        row(was.weights, now.nonzeros, now.macs_effective / was.macs_dense, active / places)
        for was, now, (places, active) in zip(before, after, outputs)
    ]
    total = row(
        before.weights,
        after.nonzeros,
        after.macs_effective / before.macs_dense,
        sum(active for _, active in outputs) / sum(places for places, _ in outputs),
    )
    return dict(zip([*names, "total"], [*rows, total]))


def row(weights: int, kept: int, flops: float, activations: float) -> dict[str, float]:
    return {
        "weights": weights,
        "kept": kept,
        "flops_percent": round(100 * flops, 2),
        "activations_percent": round(100 * activations, 2),
    }


def operations(network: Network, test: Split) -> Operations:
    """Counted on dense weights, so that zeros are seen."""
    return count_operations(Network(network.graph, network.tensors()), inputs=(test.batch(torch.arange(1))[0],))


def reads(network: Network, test: Split) -> list[tuple[int, float]]:
    """For each layer but the first: its inputs for one example, and how many of them are not zero on average."""
    layers = network.weighted_layers()[1:]
    places, active = [0] * len(layers), [0] * len(layers)

    def watcher(number: int) -> Watcher:
        def look(source: torch.Tensor, _: torch.Tensor) -> None:
            places[number] += source.numel()
            active[number] += int(torch.count_nonzero(source))

        return look

    watchers = {layer.index: watcher(number) for number, layer in enumerate(layers)}
    with network.frozen_weights():
        for some in torch.arange(len(test)).split(500):
            network.watch((test.batch(some)[0],), watchers)
    return [(every // len(test), alive / len(test)) for every, alive in zip(places, active)]


# The curves --------------------------------------------------------------------------------------------------------


def curves(work: Path) -> dict[str, Any]:
    """Test error against weights pruned away, both in per cent, for each line of the figure."""
    name = "lenet_300_100"
    data = splits(name)
    done, lines = [], {}
    for kind in ("l1", "l2"):
        dense = compress(name, fresh(name, 0), recipe(f"dense_{kind}"), data, 0, work / f"curves-dense-{kind}")
        done.append(dense)
        lines[f"{kind} dense"] = [point(dense.network, data.test)]
        lines[f"{kind} without"] = [point(cut(dense.network, keep), data.test) for keep in KEPT]
        lines[f"{kind} with"] = []
        for keep in KEPT:
            once = compress(
                name, dense.network, kept(recipe(f"retrain_{kind}"), keep), data, 0, work / f"curves-{kind}-{keep:.3f}"
            )
            done.append(once)
            lines[f"{kind} with"].append(point(once.network, data.test))
    iterated = compress(name, dense.network, recipe("iterate_l2"), data, 0, work / "curves-iterate-l2")
    done.append(iterated)
    stages = [tersenet.load(iterated.run_dir / stage["file"]) for stage in iterated.record.stages]
    lines["l2 iterative"] = [point(stage, data.test) for stage in stages]
    return {"lines": lines, **took(*done)}


def recipe(name: str) -> Recipe:
    return load_recipe(PAPER.recipes / f"{name}.yaml")


def kept(recipe: Recipe, keep: float) -> Recipe:
    """The recipe with another share in its one step."""
    (step,) = recipe.steps
    return recipe.model_copy(update={"steps": (step.model_copy(update={"keep": keep}),)})


def cut(network: Network, keep: float) -> Network:
    """Without retraining."""
    pruned = network.clone()
    weights = {layer.weight: pruned.dense(layer.weight) for layer in pruned.weighted_layers()}
    for name, weight in global_keep(weights, keep).items():
        attach_pruned(pruned, name, weight)
    return pruned


def point(network: Network, test: Split) -> tuple[float, float]:
    weights = [network.dense(layer.weight) for layer in network.weighted_layers()]
    kept = sum(int(torch.count_nonzero(weight)) for weight in weights)
    pruned = 1 - kept / sum(weight.numel() for weight in weights)
    return round(100 * pruned, 2), round(100 * (1 - evaluate(network, test).accuracy), 2)


def picture(found: dict[str, Any]) -> str:
    """The paper's figure 5 from the numbers in expected.json; by what is left, which spreads the points evenly."""
    lines = found["lines"]
    ((_, reference),) = lines["l2 dense"]
    named = {
        "l2 iterative": "L2, iterative",
        "l2 with": "L2, retrained",
        "l1 with": "L1, retrained",
        "l1 without": "L1, not retrained",
        "l2 without": "L2, not retrained",
    }
    drawn = [
        Line(said, within([(100 - pruned, reference - error) for pruned, error in lines[name]]), "without" in name)
        for name, said in named.items()
    ]
    return figure(
        drawn,
        title="LeNet-300-100 on MNIST: what pruning costs",
        x="weights left, %",
        y="test accuracy against the dense L2 network, points",
        log_x=True,
        falling_x=True,
        y_range=(LOWEST, 0.5),
        reference=(0.0, "dense, L2"),
    )


def within(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Up to the first point below the figure, which is cut off at its edge."""
    beyond = next((number for number, (_, y) in enumerate(points) if y < LOWEST), len(points))
    return points[: beyond + 1]


# What is written ---------------------------------------------------------------------------------------------------


def write_table(expected: dict[str, Any]) -> None:
    """The claims, then each network's layers beside the paper's."""
    lines = [
        "| network | paper | target | ours: fewer weights | bytes | test error before -> after, % | seeds | minutes | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    done = {name: one for name, one in EXPERIMENTS.items() if name in expected}
    for name, experiment in done.items():
        runs = list(expected[name].values())
        mean = means(runs, "times_fewer_weights", "file_bytes", "test_error_before", "test_error_after", "minutes")
        met = mean["times_fewer_weights"] >= experiment.times and mean["test_error_after"] <= mean["test_error_before"]
        lines.append(
            f"| {experiment.title} | {experiment.paper} | >= {experiment.times:g}x, no loss "
            f"| {mean['times_fewer_weights']:.1f}x | {mean['file_bytes']:,.0f} "
            f"| {mean['test_error_before']:.2f} -> {mean['test_error_after']:.2f} "
            f"| {len(runs)} | {mean['minutes']:.1f} | {'yes' if met else 'no'} |"
        )
    for name, experiment in done.items():
        lines += [
            "",
            f"{experiment.title}, seed 0, activations on the test set:",
            "",
            "| layer | weights (paper) | kept % (paper) | weights | kept % | FLOP % | activations % |",
            "|---|---|---|---|---|---|---|",
        ]
        for layer, row in expected[name]["0"]["layers"].items():
            weights, kept = experiment.layers[layer]
            lines.append(
                f"| {layer} | {weights} | {kept} | {row['weights']:,} | {100 * row['kept'] / row['weights']:.1f} "
                f"| {row['flops_percent']:.1f} | {row['activations_percent']:.1f} |"
            )
    PAPER.write_table(lines)


if __name__ == "__main__":
    main()
