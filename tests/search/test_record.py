"""The record is what the file holds, both ways; a file that is none is refused in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tersenet.errors import TersenetError
from tersenet.search import Point, Sensitivity, read_sensitivity


def point(method="prune", name="a", level=0.5, lost=0.0, saved=1000, layers=None) -> Point:
    return Point(
        method=method,
        layers=layers or (name,),
        level=level,
        quality=0.9 - lost / 100,
        lost_points=lost,
        bytes_saved=saved,
        seconds=0.1,
    )


RECORD = Sensitivity(
    fingerprint="f",
    source="net on data",
    measure="accuracy",
    original=0.9,
    examples=10,
    coder="huffman",
    batchnorm=False,
    missing=3,
    points=(
        point(level=0.1, lost=0.5),
        point(level=0.5, lost=0.6),
        point(level=0.3, lost=2),
        point(name="b", level=0.5, lost=9),
        point("bits", level=4, lost=-0.1),
        point("channels", layers=("a", "b"), saved=-3),
    ),
)


def test_the_record_survives_the_way_through_a_file(tmp_path):
    RECORD.save(tmp_path / "s.json")
    assert read_sensitivity(tmp_path / "s.json") == RECORD
    assert Sensitivity.from_dict(RECORD.to_dict()) == RECORD


def test_points_of_a_method_come_by_layer_gentlest_first():
    assert [one.level for one in RECORD.of("prune")["a"]] == [0.5, 0.3, 0.1]
    assert list(RECORD.of("prune")) == ["a", "b"]
    assert RECORD.methods == ("prune", "bits", "channels")


@pytest.mark.parametrize(("tolerance", "level"), [(0.4, None), (0.5, 0.1), (1, 0.1), (2, 0.1)])
def test_a_threshold_is_the_lowest_level_that_was_measured_to_lose_so_little(tolerance, level):
    found = RECORD.threshold("prune", "a", tolerance)
    assert (found and found.level) == level


def test_of_a_layer_without_points_there_is_no_threshold():
    assert RECORD.threshold("bits", "b", 100) is None


def test_the_price_is_points_a_thousand_bytes_and_nothing_saved_has_none():
    assert point(lost=2, saved=4000).lost_points_per_kb == 0.5
    assert point(lost=2, saved=0).lost_points_per_kb is None
    assert point(lost=2, saved=-1).lost_points_per_kb is None


def _spoiled(**changes):
    given = json.loads(json.dumps(RECORD.to_dict()))
    given["points"][0] |= changes.pop("point", {})
    return given | changes


@pytest.mark.parametrize(
    "given",
    [
        [],
        3,
        None,
        {},
        {"format": "tersenet sensitivity 1"},
        _spoiled(format="tersenet sensitivity 9"),
        _spoiled(points=3),
        _spoiled(points=[{}]),
        _spoiled(original=float("nan")),
        _spoiled(original="high"),
        _spoiled(point={"lost_points": float("inf")}),
        _spoiled(point={"level": None}),
        _spoiled(point={"bytes_saved": "many"}),
        _spoiled(point={"method": "tucker"}),
        _spoiled(point={"layers": []}),
        _spoiled(point={"colour": 1}),
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_is_no_record_is_refused_by_its_name(given, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(given))
    with pytest.raises(TersenetError, match="s.json: not a record of sensitivity"):
        read_sensitivity(path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"PK\x03\x04"])
def test_bytes_that_are_not_json_are_refused(data, tmp_path):
    (tmp_path / "s.json").write_bytes(data)
    with pytest.raises(TersenetError, match="s.json: not a record of sensitivity"):
        read_sensitivity(tmp_path / "s.json")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TersenetError, match="cannot be read"):
        read_sensitivity(tmp_path / "no.json")


def test_the_record_is_frozen():
    with pytest.raises(AttributeError):
        RECORD.missing = 0  # type: ignore[misc]
    assert replace(RECORD, missing=0).missing == 0
