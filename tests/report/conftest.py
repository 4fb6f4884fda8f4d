"""A run folder made by hand: every number in it is known, so the page can be held against it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.container import Model, read, write
from tersenet.ir import Graph, Input, Parameter, Value, make_node
from tersenet.storage import Floats, Integers, Reshape, Scatter, Storage, Table

ROWS, COLUMNS = 12, 40
PLACES = np.arange(3, ROWS * COLUMNS, 8)
CENTROIDS = np.array([-0.75, -0.25, 0.5, 1.25], np.float32)


def scattered(values: Storage) -> Storage:
    """The values at PLACES of a (ROWS, COLUMNS) weight."""
    mask = np.zeros(ROWS * COLUMNS, np.uint8)
    mask[PLACES] = 1
    bits = Integers(IntStream(name="bitmask", values=mask, alphabet=2))
    return Reshape(Scatter(values, bits, ROWS * COLUMNS, True), (ROWS, COLUMNS))


def model(weight: Storage) -> Model:
    graph = Graph(
        inputs=(Input("x", "float32", (COLUMNS,)),),
        nodes=(make_node("linear", input=Value(0), weight=Parameter("fc.weight"), bias=Parameter("fc.bias")),),
        outputs=(Value(1),),
        output_names=("y",),
        parameters={"fc.weight": "float32", "fc.bias": "float32"},
    )
    bias = Floats(np.linspace(-1, 1, ROWS).astype(np.float32))
    return Model(graph=graph, tensors={"fc.weight": weight, "fc.bias": bias}, provenance={"seed": 7})


def pruned() -> Storage:
    return scattered(Floats(np.linspace(-0.9, 1.4, len(PLACES)).astype(np.float32)))


def shared() -> Storage:
    index = IntStream(name="index", values=np.arange(len(PLACES)) % 4, alphabet=4)
    return scattered(Table(Floats(CENTROIDS), Integers(index)))


def epoch(number: int, loss: float, accuracy: float) -> dict[str, Any]:
    return {
        "epoch": number,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": loss + 0.05,
        "validation_accuracy": accuracy - 0.01,
        "lr": 0.01,
        "seconds": 1.5,
    }


@pytest.fixture
def record() -> dict[str, Any]:
    """A finished run's record, but for what is measured on the file."""
    score = {"accuracy": 0.9125, "loss": 0.3217, "examples": 1234}
    return {
        "fingerprint": "f" * 64,
        "source": "tiny net",
        "recipe": {
            "name": "han2016",
            "description": "Prune, share, code.",
            "steps": [
                {"where": "*", "id": "prune", "keep": {"op:conv*": 0.37, "*": 0.125}, "train": None},
                {"id": "store", "form": "codebook", "bits": 2},
            ],
            "coder": "huffman",
        },
        "seed": 7,
        "machine": "test machine, 2 cores",
        "parameters": ROWS * COLUMNS + ROWS,
        "original_bytes": 4 * (ROWS * COLUMNS + ROWS),
        "stages": [
            {
                "key": "0.0.0", "step": "prune", "label": "prune 1/1", "file": "stage-0.0.0.terse",
                "raw_bytes": 411, "coded_bytes": 405, "validate": score, "drop_points": 0.25,
                "rejected": False, "history": [epoch(1, 0.9, 0.71), epoch(2, 0.6, 0.83)],
                "notes": [], "seconds": 3.25,
            },
            {
                "key": "1.0.0", "step": "store", "label": "share", "file": "stage-1.0.0.terse",
                "raw_bytes": 237, "coded_bytes": 231, "validate": score, "drop_points": 0.5,
                "rejected": False, "history": [epoch(1, 0.5, 0.9)],
                "notes": ["fc.weight: 4 values are enough"], "seconds": 75.0,
            },
        ],
        "final": {
            "original": {"validate": score | {"accuracy": 0.9175}, "test": score | {"accuracy": 0.9342}},
            "validate": score,
            "test": score | {"accuracy": 0.9301, "examples": 5678},
            "drop_points": 0.5,
            "operations": [
                {
                    "name": "fc", "weights": 480, "nonzeros": 60, "biases": 12, "macs_dense": 48_000,
                    "input_density": 1.0,
                }
            ],
            "table": [
                {
                    "name": "fc.weight", "form": "sparse(codebook)", "weights": 480, "nonzeros": 60,
                    "stored": 60, "index_symbols": 480, "weight_bits": 2.0, "weight_bits_coded": 1.75,
                    "index_bits": 8.0,
                    "index_bits_coded": 5.5, "k": 4, "table_bits": 128, "pruned_bits": 2400,
                    "shared_bits": 728, "coded_bits": 600, "formula_bits": 248.0, "code_and_table_bits": 320,
                },
                {
                    "name": "fc.bias", "form": "dense(float32)", "weights": 12, "nonzeros": 12, "stored": 12,
                    "index_symbols": 0, "weight_bits": 32.0, "weight_bits_coded": 32.0, "index_bits": 0.0,
                    "index_bits_coded": 0.0, "k": 0, "table_bits": 0, "pruned_bits": 384, "shared_bits": 384,
                    "coded_bits": 400, "formula_bits": 384.0, "code_and_table_bits": 384,
                },
            ],
        },
    }  # fmt: skip


@pytest.fixture
def run_dir(tmp_path: Path, record: dict[str, Any]) -> Path:
    """A finished run: two stage files, the result, run.json."""
    folder = tmp_path / "net.terse.run"
    folder.mkdir()
    write(folder / "stage-0.0.0.terse", model(pruned()), "raw")
    write(folder / "stage-1.0.0.terse", model(shared()), "raw")
    write(folder / "result.terse", model(shared()), "huffman")
    contents = read(folder / "result.terse")
    record = copy.deepcopy(record)
    record["final"]["file_bytes"] = contents.file_bytes
    record["final"]["ratio"] = record["original_bytes"] / contents.file_bytes
    record["final"]["ledger"] = [asdict(row) for row in contents.ledger]
    _save(folder, record)
    return folder


def _save(folder: Path, record: dict[str, Any]) -> None:
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def edit(run_dir: Path) -> Callable[[Callable[[dict[str, Any]], Any]], None]:
    """Change the record on disk through a function."""

    def change(how: Callable[[dict[str, Any]], Any]) -> None:
        found = json.loads((run_dir / "run.json").read_text())
        how(found)
        _save(run_dir, found)

    return change
