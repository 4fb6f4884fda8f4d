"""Published networks trained on in another form, taught by themselves or by a larger one: what such papers' run.py share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper import Paper, file_of, published, show, took

import tersenet
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load


@dataclass(frozen=True)
class Experiment:
    """One line of the table: a network with published weights, and what the claim asks for.

    least_accuracy   of the result on the test set, percent
    most_minutes     that training may take
    teacher          a published network that reads the same inputs, and its weights; None: the network itself
    """

    claim: str
    network: str
    weights: str
    paper: str
    least_accuracy: float
    most_minutes: float
    teacher: tuple[str, str] | None = None


def run(paper: Paper, experiments: Mapping[str, Experiment]) -> None:
    """Carry out what the command line names, and write the table anew."""
    arguments = paper.arguments(experiments, devices=True)
    for name in arguments.names:
        paper.record(name, reproduce(paper, name, experiments[name], arguments.work))
    write_table(paper, experiments)


def reproduce(paper: Paper, name: str, experiment: Experiment, work: Path) -> dict[str, Any]:
    entry = ENTRIES[experiment.network]
    data = load(entry.data, preprocess=entry.preprocess)
    # The published weights have seen our validation split, so nothing is decided on it and it is not scored.
    result = tersenet.compress(
        published(experiment.network, experiment.weights),
        recipe=paper.recipes / f"{name}.yaml",
        train=data.train,
        test=data.test,
        run_dir=work / name,
        teacher=None if experiment.teacher is None else published(*experiment.teacher),
        device=paper.device,
        source=experiment.network,
        on_event=show,
    )
    paper.save(result, name)
    final = result.record.final
    before, after = (score["accuracy"] for score in (final["original"]["test"], final["test"]))
    return {
        **file_of(result),
        "original_bytes": result.record.original_bytes,
        "test_accuracy_before": round(100 * before, 2),
        "test_accuracy_after": round(100 * after, 2),
        **took(result),
    }


def write_table(paper: Paper, experiments: Mapping[str, Experiment]) -> None:
    lines = [
        "| claim | paper | target | test accuracy, % | bytes | ratio to float32 | minutes | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    expected = paper.expected()
    for name, experiment in experiments.items():
        run = expected.get(name)
        if run is None:
            continue
        met = run["test_accuracy_after"] >= experiment.least_accuracy and run["minutes"] <= experiment.most_minutes
        lines.append(
            f"| {experiment.claim} | {experiment.paper} "
            f"| >= {experiment.least_accuracy:g} %, <= {experiment.most_minutes:g} minutes "
            f"| {run['test_accuracy_before']:.2f} -> {run['test_accuracy_after']:.2f} | {run['file_bytes']:,} "
            f"| {run['original_bytes'] / run['file_bytes']:.1f}x | {run['minutes']:.1f} | {'yes' if met else 'no'} |"
        )
    paper.write_table(lines)
