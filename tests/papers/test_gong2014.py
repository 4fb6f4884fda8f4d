"""Vector quantization of fully connected layers: the table is that of the points, and a few points are found again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "gong2014_vector_quantization"
EXPECTED = json.loads((PAPER / "expected.json").read_text())


def _run():
    spec = importlib.util.spec_from_file_location("gong2014_run", PAPER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", EXPECTED)
def test_each_method_has_all_its_points_and_the_table_is_theirs(name):
    run, points = _run(), EXPECTED[name]["points"]
    for method in run.METHODS:
        assert set(points[method]) == {setting for setting, _ in run.settings(method)}
        line = run.front(points[method])
        assert line == sorted(line)
        floor = points["dense"]["original"]["test"] - 1
        reached = run.compression_at(line, floor)
        if reached is not None:
            assert f"{reached:.1f}x" in (PAPER / "table.md").read_text()


@pytest.mark.parametrize("name", EXPECTED)
def test_product_quantization_leads_and_factors_trail_at_one_point_lost(name):
    run, points = _run(), EXPECTED[name]["points"]
    floor = points["dense"]["original"]["test"] - 1
    reached = {method: run.compression_at(run.front(points[method]), floor) or 1 for method in run.METHODS}
    order = sorted(reached, key=reached.get, reverse=True)
    assert order[0] == "product_shared"
    assert set(order[-2:]) == {"svd", "residual"}


def test_a_point_of_each_method_is_found_again(data_dir, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    run = _run()
    original, data = run.dense("lenet_300_100")
    for method, setting in (("kmeans", "bits 3"), ("product_shared", "dim 4, bits 4"), ("svd", "rank 16")):
        how = dict(run.settings(method))[setting]
        net, sizes = run.compressed(original, "lenet_300_100", how)
        want = EXPECTED["lenet_300_100"]["points"][method][setting]
        assert sizes["compression"] == want["compression"]
        assert run.scores(net, data)["test"] == pytest.approx(want["test"], abs=0.3)
