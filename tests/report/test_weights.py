"""The distributions are those of the files; a file that is damaged costs only its part, and is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tersenet.container import Model, read
from tersenet.container import write as write_file
from tersenet.report import write
from tersenet.report.histogram import draw
from tersenet.report.record import read_record
from tersenet.report.weights import BINS, Distribution, read_weights
from tersenet.storage import Floats, Reshape, decode

Edit = Callable[[Callable[[dict[str, Any]], Any]], None]


def test_counts_are_of_the_kept_weights_before_sharing_and_rules_are_the_centroids(run_dir: Path) -> None:
    found = read_weights(read_record(run_dir))
    (layer,) = found.layers
    before = decode(read(run_dir / "stage-0.0.0.terse").model.tensors["fc.weight"])
    assert not found.problems and layer.name == "fc.weight" and layer.shape == (12, 40)
    assert layer.kept == layer.counts.sum() == layer.uses.sum() == np.count_nonzero(before) == 60
    assert layer.centroids.tolist() == [-0.75, -0.25, 0.5, 1.25] and layer.uses.tolist() == [15] * 4
    assert layer.edges[0] == before.min() and layer.edges[-1] == before.max() and len(layer.edges) == BINS + 1
    assert not layer.shared_only and layer.before is None


def test_the_first_stage_is_drawn_beside_a_later_pruning(run_dir: Path, edit: Edit) -> None:
    (run_dir / "stage-0.1.0.terse").write_bytes((run_dir / "stage-0.0.0.terse").read_bytes())
    edit(
        lambda record: record["stages"].insert(1, record["stages"][0] | {"file": "stage-0.1.0.terse", "label": "again"})
    )
    (layer,) = read_weights(read_record(run_dir)).layers
    assert layer.before is not None and layer.before.tolist() == layer.counts.tolist()


def test_without_a_stage_before_sharing_the_shared_weights_are_counted(run_dir: Path, edit: Edit) -> None:
    edit(lambda record: record["stages"].pop(0))
    (layer,) = read_weights(read_record(run_dir)).layers
    assert layer.shared_only and layer.counts.max() == 15 and layer.counts.sum() == 60


@pytest.mark.parametrize("name", ["stage-0.0.0.terse", "stage-1.0.0.terse", "result.terse"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_file_is_named_and_the_rest_is_drawn(run_dir: Path, name: str, damage: str) -> None:
    path = run_dir / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flipped" else data[:-5])
    found = read_weights(read_record(run_dir))
    assert len(found.problems) == 1 and name in found.problems[0] and str(run_dir) not in found.problems[0]
    assert len(found.layers) == 1 and found.layers[0].kept == 60
    write(run_dir, run_dir / "report.html")
    assert name in (run_dir / "report.html").read_text().split("This part is not complete")[1][:200]


@pytest.mark.parametrize("name", ["../secret.terse", "/etc/passwd", "", "..", "a/b.terse"])
def test_a_stage_file_outside_the_folder_is_not_read(run_dir: Path, edit: Edit, name: str) -> None:
    (run_dir.parent / "secret.terse").write_bytes((run_dir / "result.terse").read_bytes())
    edit(lambda record: record["stages"][0].update(file=name))
    found = read_weights(read_record(run_dir))
    assert len(found.problems) == 1
    assert found.layers[0].shared_only


def test_many_shared_values_are_one_shape_and_few_are_rules_with_numbers() -> None:
    def with_values(k: int) -> str:
        values = np.linspace(-1, 1, k)
        counts, edges = np.histogram(values, BINS)
        return draw(Distribution("w", (k, 1), k, edges, counts, None, values, np.ones(k, np.int64), False))

    assert with_values(64).count('<line class="centroid"') == 64
    many = with_values(65)
    assert "<line class" in many and '<line class="centroid"' not in many and "65 shared values" in many


@pytest.mark.parametrize("weights", [[], [0.5], [0.5, 0.5], [3e38, -3e38], [1e-45, 2e-45]])
def test_distributions_of_little_or_no_width_are_drawn(weights: list[float], run_dir: Path) -> None:
    values = np.zeros(8, np.float32)
    values[: len(weights)] = weights
    tree = Reshape(Floats(values), (2, 4))
    for name in ("stage-0.0.0.terse", "stage-1.0.0.terse", "result.terse"):
        model = read(run_dir / name).model
        write_file(run_dir / name, Model(graph=model.graph, tensors=model.tensors | {"fc.weight": tree}))
    (layer,) = read_weights(read_record(run_dir)).layers
    assert layer.counts.sum() == layer.kept == len(weights)
    assert "nan" not in draw(layer) and "inf" not in draw(layer)
