"""Reproduce Pan et al. 2016, DropNeuron: `python run.py [NAME ...] [--seeds 10]`.

A dense network is trained, its convolutions are kept, and its fully connected layers are compressed on what the
convolutions answer; both are then put together. All choices are made on the validation split; the test set is scored at
the end. Runs are kept in --work and go on from there after an interruption. Finished ones are written to
expected.json, from which table.md is made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import tersenet
from tersenet.graph import Network
from tersenet.methods.dropneuron import connections
from tersenet.training.evaluate import evaluate
from tersenet.zoo import network
from tersenet.zoo.data import PARTS, Data, Split, load
from tersenet.zoo.networks import ENTRIES

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper, file_of, means, show, took

PAPER = Paper(__file__, __doc__)
NAME = "lenet5_tf"
# Of the fully connected layers, 3136-512-10: what shares are counted of.
WEIGHTS = 3136 * 512 + 512 * 10
NEURONS = 3136 + 512 + 10
# In bytes, of the compressed networks that are kept here.
LARGEST_FILE = 300_000


@dataclass(frozen=True)
class Row:
    """One line of the paper's table on LeNet-5.

    dropout   of the hidden layer while training
    weights   at most this share of the weights of the fully connected layers may stay, in %
    neurons   at most this share of their neurons, inputs and outputs counted, or None where nothing is claimed
    accuracy  at least this on the test set, in %
    """

    claim: str
    dropout: float
    paper: str
    weights: float
    neurons: float | None
    accuracy: float


ROWS = {
    "l1_dn": Row(
        "l1 + drop neurons + prune", 0.0, "1.49 % of weights (67x), 28 % of neurons, 99.07 %", 1.5, 28.0, 99.0
    ),
    "l1_dropout": Row("l1 + dropout + prune", 0.5, "5.57 % of weights (18x)", 5.57, None, 99.0),
    "dropout": Row("dropout + prune", 0.5, "1.8x", 100 / 1.8, None, 99.0),
}


def main() -> None:
    arguments = PAPER.arguments(ROWS, seeds=True)
    pictures = load(ENTRIES[NAME].data, preprocess=ENTRIES[NAME].preprocess)
    for seed in range(arguments.seeds):
        dense = baseline(pictures, seed, arguments.work)
        answers = {part: features(dense, getattr(pictures, part)) for part in PARTS}
        for name in arguments.names:
            PAPER.record(name, reproduce(name, seed, dense, pictures, answers, arguments.work), seed)
            write_table()


def baseline(pictures: Data, seed: int, work: Path) -> Network:
    """The dense network, trained as a whole with dropout."""
    torch.manual_seed(seed)
    return tersenet.compress(
        network(NAME, dropout=0.5),
        recipe=PAPER.recipes / "baseline.yaml",
        train=pictures.train,
        validate=pictures.validate,
        seed=seed,
        run_dir=work / f"baseline-{seed}",
        source=NAME,
        on_event=show,
    ).network


def features(dense: Network, split: Split) -> Split:
    """What the convolutions answer to a split, as a split of its own."""
    convolutions = network(NAME).eval()
    convolutions.load_state_dict(dense.tensors())
    convolutions.fc1 = convolutions.drop = convolutions.fc2 = nn.Identity()
    with torch.no_grad():
        x = torch.cat([convolutions(x) for x, _ in split.batches(1000)])
    return Split(x.numpy(), split.y, split.classes)


def reproduce(
    name: str, seed: int, dense: Network, pictures: Data, answers: dict[str, Split], work: Path
) -> dict[str, object]:
    head = nn.Sequential()
    head.add_module("fc1", nn.Linear(3136, 512))
    head.add_module("relu", nn.ReLU())
    head.add_module("drop", nn.Dropout(ROWS[name].dropout))
    head.add_module("fc2", nn.Linear(512, 10))
    head.load_state_dict({key: tensor for key, tensor in dense.tensors().items() if key.startswith("fc")})
    smaller = tersenet.compress(
        head,
        recipe=PAPER.recipes / f"{name}.yaml",
        **answers,
        seed=seed,
        run_dir=work / f"{name}-{seed}",
        source=f"{NAME}, fully connected layers",
        on_event=show,
    )
    result = tersenet.compress(
        joined(dense, smaller.network),
        recipe=PAPER.recipes / "whole.yaml",
        train=pictures.train,
        validate=pictures.validate,
        test=pictures.test,
        seed=seed,
        run_dir=work / f"{name}-whole-{seed}",
        source=NAME,
        on_event=show,
    )
    if seed == 0 and result.file_bytes <= LARGEST_FILE:
        PAPER.save(result, f"{name}-{seed}")
    return {
        **counted(result.network),
        **file_of(result),
        **took(smaller, result),
        "test_accuracy_dense": percent(evaluate(dense, pictures.test).accuracy),
        "test_accuracy": percent(result.record.final["test"]["accuracy"]),
        "validation_accuracy": percent(result.record.final["validate"]["accuracy"]),
        "validation_accuracy_dense": percent(evaluate(dense, pictures.validate).accuracy),
    }


def joined(dense: Network, head: Network) -> nn.Module:
    """The convolutions of one with the fully connected layers of the other."""
    model = network(NAME)
    model.fc1, model.fc2 = (nn.Linear(*reversed(head.dense(f"{name}.weight").shape)) for name in ("fc1", "fc2"))
    model.load_state_dict(dense.tensors() | head.tensors())
    return model


def counted(result: Network) -> dict[str, object]:
    """What is left of the fully connected layers: weights that are not zero, inputs that some weight reads, hidden
    neurons with inputs and outputs; all outputs.
    """
    left = connections(result)
    fc1, fc2 = left["fc1.weight"], left["fc2.weight"]
    weights = fc1.weights[0] + fc2.weights[0]
    inputs, hidden = fc1.inputs[0], fc2.inputs[0]
    return {
        "fc1_weights": fc1.weights[0],
        "fc2_weights": fc2.weights[0],
        "weights_percent": round(100 * weights / WEIGHTS, 3),
        "inputs": inputs,
        "hidden": hidden,
        "neurons_percent": round(100 * (inputs + hidden + 10) / NEURONS, 2),
    }


def percent(share: float) -> float:
    return round(100 * share, 2)


def write_table() -> None:
    expected = PAPER.expected()
    lines = [
        "| regularisation | paper | target | ours: weights | neurons | smaller | test accuracy dense -> result, % "
        "| seeds | minutes | met |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in ROWS.items():
        runs = list(expected.get(name, {}).values())
        if not runs:
            continue
        mean = means(runs, "weights_percent", "neurons_percent", "test_accuracy_dense", "test_accuracy", "minutes")
        met = (
            mean["weights_percent"] <= row.weights
            and (row.neurons is None or mean["neurons_percent"] <= row.neurons)
            and mean["test_accuracy"] >= row.accuracy
        )
        neurons = "" if row.neurons is None else f", <= {row.neurons:g} % of neurons"
        lines.append(
            f"| {row.claim} | {row.paper} | <= {row.weights:.3g} % of weights{neurons}, >= {row.accuracy:g} % "
            f"| {mean['weights_percent']:.2f} % | {mean['neurons_percent']:.1f} % | {100 / mean['weights_percent']:.1f}x "
            f"| {mean['test_accuracy_dense']:.2f} -> {mean['test_accuracy']:.2f} "
            f"| {len(runs)} | {mean['minutes']:.1f} | {'yes' if met else 'no'} |"
        )
    PAPER.write_table(lines)


if __name__ == "__main__":
    main()
