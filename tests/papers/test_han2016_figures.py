"""The figures of Han et al. 2016: pruning and sharing together give the smallest file at little loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from tersenet.search import read_comparison

FIGURES = Path(__file__).parents[2] / "papers" / "han2016_deep_compression" / "figures"
LOST_POINTS = 1.0


def _smallest(path: Path) -> dict[str, int]:
    """Bytes of the smallest file of each line that loses little."""
    lines = read_comparison(path).lines()
    return {
        line: min((point.file_bytes for point in points if point.lost_points <= LOST_POINTS), default=10**12)
        for line, points in lines.items()
    }


@pytest.mark.parametrize("path", sorted(FIGURES.glob("*-retrained.json")), ids=lambda path: path.stem)
def test_with_training_both_together_are_smaller_than_each_alone_and_than_svd(path):
    found = _smallest(path)
    both = found.pop("prune + codebook")
    assert set(found) == {"prune", "codebook", "low_rank"}
    assert both < min(found.values())


@pytest.mark.parametrize("path", sorted(FIGURES.glob("*.json")), ids=lambda path: path.stem)
def test_a_figure_and_a_table_lie_beside_each_record_and_no_point_is_missing(path):
    record = read_comparison(path)
    assert record.missing == 0
    assert path.with_suffix(".svg").is_file()
    rows = path.with_suffix(".md").read_text().splitlines()
    assert len(rows) == 2 + sum(len(points) for points in record.lines().values())
