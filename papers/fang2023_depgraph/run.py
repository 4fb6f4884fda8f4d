"""Half of ResNet-56 without half a point: `python run.py [NAME ...] [--work DIR]`.

The published network loses channels by score, is fine-tuned with itself as teacher, scored on the test set at the end,
and timed beside the original in PyTorch. Runs are kept in --work and go on from there after an interruption; finished
ones are written to expected.json, from which table.md is made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import tersenet
from tersenet.measure.inference import compare_networks
from tersenet.zoo.data import load
from tersenet.zoo.networks import ENTRIES

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, file_of, published, show, took

PAPER = Paper(__file__, __doc__)
BATCHES = (1, 64)


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network with published weights, and what the claim asks for.

    flops        at most this share of the multiply-adds may stay
    lost_points  at most this much test accuracy may go
    """

    claim: str
    network: str
    weights: str
    paper: str
    flops: float
    lost_points: float


EXPERIMENTS = {
    "resnet56": Experiment(
        "ResNet-56, CIFAR-10, fine-tuned",
        "resnet56",
        "models/cifar10-resnet/resnet56-4bfd9763.safetensors",
        "2.11x fewer, 93.53 to 93.77 %",
        0.5,
        0.5,
    ),
}


def main() -> None:
    arguments = PAPER.arguments(EXPERIMENTS)
    for name in arguments.names:
        PAPER.record(name, reproduce(name, EXPERIMENTS[name], arguments.work))
    write_table()


def reproduce(name: str, experiment: Experiment, work: Path) -> dict[str, object]:
    entry = ENTRIES[experiment.network]
    data = load(entry.data, preprocess=entry.preprocess)
    model = published(experiment.network, experiment.weights)
    # The published weights have seen our validation split, so nothing is decided on it and it is not scored.
    result = tersenet.compress(
        model,
        recipe=PAPER.recipes / f"{name}.yaml",
        train=data.train,
        test=data.test,
        run_dir=work / name,
        source=experiment.network,
        on_event=show,
    )
    PAPER.save(result, name)
    final = result.record.final
    before, after = (score["accuracy"] for score in (final["original"]["test"], final["test"]))
    return {
        **file_of(result),
        **took(result),
        "macs_before": final["cost"]["before"]["macs_dense"],
        "macs_after": final["cost"]["after"]["macs_dense"],
        "parameters_before": result.record.parameters,
        "parameters_after": sum(parameter.numel() for parameter in model_of(result).parameters()),
        "test_accuracy_before": round(100 * before, 2),
        "test_accuracy_after": round(100 * after, 2),
        "latency": timed(model, model_of(result)),
    }


def model_of(result: tersenet.Result) -> tersenet.Network:
    """The smaller network with ordinary float32 tensors."""
    return tersenet.Network(result.network.graph, result.network.tensors())


def timed(original: torch.nn.Module, smaller: torch.nn.Module) -> dict[str, dict[str, float]]:
    """Median milliseconds of both in turns, in float32 on one thread, by batch size."""
    captured = tersenet.capture(original, torch.zeros(1, 3, 32, 32))
    found = {}
    for batch in BATCHES:
        inputs = (torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)
        both = compare_networks({"original": (captured, inputs), "smaller": (smaller, inputs)}, limit_s=20)
        found[str(batch)] = {
            "original_ms": round(both["original"].median_ms, 3),
            "smaller_ms": round(both["smaller"].median_ms, 3),
            "ratio": round(both["original"].median_ms / both["smaller"].median_ms, 3),
            "spread": round(max(one.spread for one in both.values()), 3),
        }
    return found


def write_table() -> None:
    expected = PAPER.expected()
    lines = [
        "| claim | paper | target | multiply-adds, millions | parameters | test accuracy, % "
        "| torch, 1 thread: batch 1, 64 | minutes | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        run = expected.get(name)
        if run is None:
            continue
        share = run["macs_after"] / run["macs_before"]
        lost = round(run["test_accuracy_before"] - run["test_accuracy_after"], 2)
        ratios = [run["latency"][str(batch)]["ratio"] for batch in BATCHES]
        met = share <= experiment.flops and lost <= experiment.lost_points and min(ratios) > 1
        lines.append(
            f"| {experiment.claim} | {experiment.paper} | <= {experiment.flops:.0%} of them, <= {experiment.lost_points:g} points lost "
            f"| {run['macs_before'] / 1e6:.1f} -> {run['macs_after'] / 1e6:.1f} ({share:.1%}) "
            f"| {run['parameters_before']:,} -> {run['parameters_after']:,} "
            f"| {run['test_accuracy_before']:.2f} -> {run['test_accuracy_after']:.2f} "
            f"| {', '.join(f'{ratio:.2f}x' for ratio in ratios)} | {run['minutes']:.1f} | {'yes' if met else 'no'} |"
        )
    PAPER.write_table(lines)


if __name__ == "__main__":
    main()
