"""The command line as a user meets it: words in, exit code, stdout and stderr out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tersenet.cli import main

TINY = """\
name: tiny
steps:
  - {id: prune, keep: {last: 0.5, "*": 0.3}, iterations: 2, train: {epochs: 1, optimiser: adam, lr: 0.001}}
  - {id: store, bits: 3, train: {epochs: 1, optimiser: adam, lr: 0.0005}}
  - {id: round}
"""

# What a user would have: a network, loaders and a metric of their own.
OWN = """\
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset


def network(classes=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, classes))


def twelve():
    return network(12)


def pruned():
    model = network()
    prune.l1_unstructured(model[0], "weight", 0.75)
    return model


def not_finite():
    broken = network()
    with torch.no_grad():
        broken[0].weight[2, 3] = float("nan")
    return broken


def _part(seed, examples=48, classes=3):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(examples) % classes
    x = torch.randn(examples, 8, generator=generator)
    x[torch.arange(examples), y % 8] += 3
    return DataLoader(TensorDataset(x, y), batch_size=16)


def loaders():
    return {"train": _part(0), "validate": _part(1), "test": _part(2)}


def loaders_of_twelve():
    return _part(0, classes=12), _part(1, classes=12), _part(2, classes=12)


def mislabelled():
    parts = loaders()
    for part in parts.values():
        part.dataset.tensors[1][-1] = -100
    return parts


def regression():
    x = torch.ones(8, 8)
    return {"test": DataLoader(TensorDataset(x, x[:, :3]))}


def empty():
    return {"train": [], "validate": [], "test": []}


def raising():
    raise RuntimeError("the disk with the data is not mounted")


def leaving():
    raise SystemExit("no data today")


def once():
    return {"train": (batch for batch in _part(0)), "test": _part(1)}


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def number():
    return 3


def balanced(model, loader):
    right = [(model(x).argmax(1) == y).float().mean() for x, y in loader]
    return 0.5 + float(sum(right)) / len(right) / 2


def loud():
    print("reading the data")
    return loaders()


def broken_loader():
    class Broken:
        def __iter__(self):
            raise OSError("the disk with the data is gone")

    return {"test": Broken()}


def failing(model, loader):
    raise KeyError("no such label")


def wordy(model, loader):
    return "good"


calls = 0
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:
        """Stdout, which is to be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def refused(self, code: int = 3) -> str:
        """The one sentence of an error, without a traceback and without a result."""
        assert self.code == code, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("tersenet: error: ")]
        assert len(lines) == 1 and self.err.rstrip().endswith(lines[0]), self.err
        return lines[0].removeprefix("tersenet: error: ")


Run = Callable[..., Ran]


def run(*words: Any) -> Ran:
    """`tersenet WORDS...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return Ran(code, out.getvalue(), err.getvalue())


def python(code: str, *words: Any) -> Ran:
    """Python code in a process of its own, the words as its arguments."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def tersenet() -> Run:
    return run


@pytest.fixture(scope="session")
def in_python() -> Run:
    return python


@dataclass(frozen=True)
class Shelf:
    """Files that many tests start from; none of them is written to.

    weights   of the zoo's `linear`, trained for two epochs on digits28
    terse     the same, compressed by `recipe`; its run folder is `run_dir`
    own       a Python file with a network, loaders and a metric
    """

    weights: Path
    recipe: Path
    terse: Path
    run_dir: Path
    own: Path
    trained: Ran
    compressed: Ran


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    weights, recipe, terse, own = (folder / name for name in ("w.safetensors", "tiny.yaml", "w.terse", "own.py"))
    recipe.write_text(TINY)
    own.write_text(OWN)
    trained = run("train", "linear", "--data", "digits28", "--epochs", 2, "-o", weights, "--threads", 1, "--json")
    assert trained.code == 0, trained.err
    words = ["compress", "linear", "--weights", weights, "--data", "digits28", "--recipe", recipe, "-o", terse]
    compressed = run(*words, "--json")
    assert compressed.code == 0, compressed.err
    return Shelf(weights, recipe, terse, folder / "w.terse.run", own, trained, compressed)
