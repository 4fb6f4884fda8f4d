"""The tables of Han et al. 2015: AlexNet and VGG-16 are built, pruned to the paper's densities and counted."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "han2015_flops"


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("han2015_flops_run", PAPER / "run.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(("name", "layers"), [("alexnet", 8), ("vgg16", 16)])
def test_every_share_of_weights_and_operations_is_the_papers_within_a_point(run, name, layers):
    counted = run.count(name)
    rows = run.rows(counted, name)
    assert [row.name for row in rows] == [*run.printed(name), "total"] and len(rows) == layers + 1
    for row in rows:
        assert row.weights_percent == pytest.approx(row.paper_weights_percent, abs=1), row
        assert row.flops_percent == pytest.approx(row.paper_flops_percent, abs=1), row
    assert (PAPER / "README.md").read_text().count(run.table_of(rows, name)) == 1, "python run.py prints it"
    dense = run.rows(counted.with_input_density({layer.name: 1.0 for layer in counted}), name)
    assert any(abs(row.flops_percent - row.paper_flops_percent) > 1 for row in dense), "the densities decide"
