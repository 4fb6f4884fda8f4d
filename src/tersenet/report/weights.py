"""What became of each layer's weights: the distribution before sharing, and the shared values on it.

Read from the stage files, one tensor at a time. A file that is missing or damaged costs the report that part,
and is named in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tersenet.container import Contents, read
from tersenet.errors import TersenetError
from tersenet.report.record import Record
from tersenet.storage import Floats, Storage, Table, decode, walk

BINS = 48
FILE_NAME = re.compile(r"[\w.-]{1,200}\.terse", re.ASCII)
RESULT = "result.terse"


@dataclass(frozen=True)
class Distribution:
    """The weights of a layer that are not zero, counted.

    edges       BINS + 1 bounds, shared by all counts
    counts      weights in each bin, just before sharing or, where nothing was shared, at the end
    before      the same after the first stage, where that was an earlier one; else None
    centroids   the shared values in use, ascending, and how many weights have each; empty without sharing
    shared_only the counts are of shared values: no stage kept the weights as they were before
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    edges: np.ndarray
    counts: np.ndarray
    before: np.ndarray | None
    centroids: np.ndarray
    uses: np.ndarray
    shared_only: bool

    @property
    def total(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass
class Weights:
    """The layers' distributions, and a sentence for each file that could not be used."""

    layers: list[Distribution] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    last: str = ""
    first: str = ""


def read_weights(record: Record) -> Weights:
    """The weights of the result, or of the last finished stage, beside those of the stages before."""
    found = Weights()
    kept = record.kept_stages
    names = [stage.file for stage in kept]
    labels = {stage.file: stage.label for stage in kept}
    # The result decodes to the last stage's weights; where it is damaged, that stage stands in for it.
    order = ([RESULT] if record.finished else []) + names[::-1]
    contents = {name: _read(record.folder, name, found) for name in dict.fromkeys(order)}
    usable = [(name, contents[name]) for name in order if contents[name] is not None]
    if not usable:
        return found
    last_name, last = usable[0]
    first_name = names[0] if names and contents[names[0]] is not None else None
    found.last = labels.get(last_name, "the result")
    found.first = labels[first_name] if first_name is not None else ""
    assert last is not None
    for name, tree in last.model.tensors.items():
        if tree.kind != "float" or len(tree.shape) < 2 or name in last.model.graph.buffers:
            continue
        try:
            found.layers.append(_distribution(name, tree, usable, contents.get(first_name) if first_name else None))
        except TersenetError as error:
            found.problems.append(f"{name}: {error}")
    return found


def _read(folder: Path, name: str, found: Weights) -> Contents | None:
    # The name comes from run.json: it must not lead out of the folder.
    if not FILE_NAME.fullmatch(name):
        found.problems.append(f"'{name[:80]}' is not the name of a stage's file in the run folder")
        return None
    if not (folder / name).is_file():
        found.problems.append(f"{name} is missing")
        return None
    try:
        return read(folder / name)
    except TersenetError as error:
        found.problems.append(str(error).replace(f"{folder}/", ""))
        return None


def _distribution(
    name: str, tree: Storage, usable: list[tuple[str, Contents | None]], first: Contents | None
) -> Distribution:
    final = _kept_weights(tree)
    centroids, uses = _centroids(tree, final)
    source = _before_sharing(name, tree, usable) if len(centroids) else tree
    shared_only = source is None
    main = final if source is None or source is tree else _kept_weights(source)
    start = first.model.tensors.get(name) if first is not None else None
    ghost = None
    if start is not None and start is not source and start is not tree and not _tables(start):
        ghost = _kept_weights(start)
    together = [part for part in (main, ghost, centroids) if part is not None and part.size]
    low = min((float(part.min()) for part in together), default=-1.0)
    high = max((float(part.max()) for part in together), default=1.0)
    if not high > low:
        low, high = low - max(abs(low), 1e-3), high + max(abs(high), 1e-3)
    edges = np.linspace(low, high, BINS + 1)
    return Distribution(
        name=name,
        shape=tree.shape,
        kept=int(final.size),
        edges=edges,
        counts=np.histogram(main, edges)[0],
        before=None if ghost is None else np.histogram(ghost, edges)[0],
        centroids=centroids,
        uses=uses,
        shared_only=shared_only,
    )


def _kept_weights(tree: Storage) -> np.ndarray:
    """The finite weights that are not zero, in float64 so that the range of float32 has a width."""
    values = decode(tree).reshape(-1)
    kept: np.ndarray = values[np.isfinite(values) & (values != 0)].astype(np.float64)
    return kept


def _tables(tree: Storage) -> list[Table]:
    """The codebooks of single numbers in a tree."""
    return [
        node
        for node in walk(tree)
        if isinstance(node, Table) and isinstance(node.entries, Floats) and len(node.entries.shape) == 1
    ]


def _centroids(tree: Storage, final: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct shared values among the weights; zero stands for a removed weight and is none of them."""
    if not _tables(tree):
        return np.empty(0), np.empty(0, np.int64)
    values, uses = np.unique(final, return_counts=True)
    return values, uses


def _before_sharing(name: str, tree: Storage, usable: list[tuple[str, Contents | None]]) -> Storage | None:
    """The layer in the latest stage in which it had no codebook and the same shape."""
    for _, contents in usable[1:]:
        earlier = contents.model.tensors.get(name) if contents is not None else None
        if earlier is not None and earlier.shape == tree.shape and earlier.kind == "float" and not _tables(earlier):
            return earlier
    return None
