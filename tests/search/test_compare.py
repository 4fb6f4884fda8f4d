"""A comparison is of real files; it can be stopped anywhere and goes on to the same record."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.search import ComparedPoint, Comparison, compare, read_comparison
from tersenet.search.lines import amounts, check_lines, known_lines
from tersenet.training import TrainConfig
from tersenet.training.evaluate import evaluate

FEW = {"lines": ("codebook", "prune + codebook", "dense"), "levels": 2}


def bare(record):
    """The record without the seconds, which no run has twice."""
    return replace(record, points=tuple(replace(point, seconds=0.0) for point in record.points))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(trained, validate, folder):
    return compare(trained, validate, folder, **FEW)


def test_every_point_is_a_file_and_the_score_of_the_network_in_it(whole, trained, validate, folder):
    assert whole.missing == 0 and len(whole.points) == 6 == len({point.key for point in whole.points})
    assert whole.measure == "accuracy" and whole.original == evaluate(trained, validate).accuracy
    files = {path.stat().st_size: path for path in (folder / "files").iterdir()}
    assert sorted(files) == sorted(point.file_bytes for point in whole.points)
    for point in whole.points:
        inside = artifact.load(files[point.file_bytes])
        assert point.quality == evaluate(inside, validate).accuracy
        assert point.lost_points == pytest.approx(100 * (whole.original - point.quality))
        assert point.rate == pytest.approx(whole.original_bytes / point.file_bytes, abs=1e-4)
    assert not list((folder / "run").iterdir())


def test_lines_run_from_large_to_small_and_pruning_stores_fewer_weights(whole):
    lines = whole.lines()
    assert list(lines) == list(FEW["lines"])
    for points in lines.values():
        assert points[0].file_bytes > points[1].file_bytes
    assert [point.amount for point in lines["codebook"]] == ["bits 5", "bits 3"]
    assert all(point.formula_rate is None for point in lines["prune + codebook"])
    assert all(point.formula_rate > 1 for point in lines["codebook"])


def test_the_rate_by_formula_counts_the_numbers_that_factors_spare(trained, validate, tmp_path):
    point = compare(trained, validate, tmp_path, lines=("low_rank",), levels=1).points[0]
    (path,) = (tmp_path / "files").iterdir()
    inside = artifact.load(path)
    # The factors are float32; the step round leaves 16 bits of all that is no layer's weight, which has one axis here.
    tensors = [inside.dense(name) for name in inside.graph.parameters]
    bits = sum(tensor.numel() * (32 if tensor.ndim > 1 else 16) for tensor in tensors)
    numbers = sum(tensor.numel() for tensor in trained.state_dict().values() if tensor.is_floating_point())
    statistics = sum(trained.dense(name).numel() for name in trained.graph.buffers)
    assert point.formula_rate == pytest.approx(32 * (numbers - statistics) / bits, abs=1e-4)
    assert point.formula_rate > 1.1


def test_the_front_is_what_nothing_beats_in_bytes_and_quality():
    def point(name, size, quality):
        return ComparedPoint(line=name, amount="", steps=(), file_bytes=size, quality=quality)

    points = (point("a", 10, 0.5), point("b", 20, 0.9), point("c", 20, 0.8), point("d", 30, 0.9), point("e", 40, 0.95))
    found = Comparison(
        fingerprint="", source="", measure="accuracy", original=1.0, original_top5=None, original_bytes=100, examples=1,
        coder="raw", missing=0, points=points,
    )  # fmt: skip
    assert found.front() == {point.key for point in points if point.line in "abe"}


def test_a_comparison_that_ran_out_of_time_goes_on_to_the_same_record(whole, trained, validate, tmp_path):
    part = compare(trained, validate, tmp_path, budget_s=1e-9, **FEW)
    assert part.missing == 6 and not part.points
    assert read_comparison(tmp_path / "compare.json") == part

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(trained, validate, tmp_path, on_point=stop, **FEW)
    assert len(read_comparison(tmp_path / "compare.json").points) == 2
    seen = []
    found = compare(trained, validate, tmp_path, on_point=lambda done, of: seen.append((done, of)), **FEW)
    assert seen == [(done, 4) for done in (1, 2, 3, 4)]
    assert bare(found) == bare(whole)


def test_other_lines_join_what_is_there(trained, validate, tmp_path):
    compare(trained, validate, tmp_path, lines=("dense",), levels=1)
    found = compare(trained, validate, tmp_path, lines=("dense", "binary"), levels=1)
    assert [point.line for point in found.points] == ["dense", "binary"]


@pytest.mark.parametrize("differs", ["data", "calibrate", "seed", "where", "train_config"])
def test_another_comparison_s_folder_is_refused_and_left_alone(differs, trained, validate, train, tmp_path):
    request = {"lines": ("dense",), "levels": 1}
    compare(trained, validate, tmp_path, **request)
    before = (tmp_path / "compare.json").read_bytes()
    other = {"calibrate": 16, "seed": 1, "where": "last", "train_config": TrainConfig(epochs=1)}
    if differs in ("calibrate", "train_config"):
        request["train"] = train
    request |= {} if differs == "data" else {differs: other[differs]}
    with pytest.raises(TersenetError, match=r"compare.json belongs to other measurements"):
        compare(trained, train if differs == "data" else validate, tmp_path, **request)
    assert (tmp_path / "compare.json").read_bytes() == before


def test_calibration_and_training_reach_the_steps(trained, validate, train, tmp_path):
    plain = compare(trained, validate, tmp_path / "a", lines=("codebook",), levels=1)
    fitted = compare(trained, validate, tmp_path / "b", lines=("codebook",), levels=1, train=train, calibrate=64)
    config = TrainConfig(epochs=1, batch_size=32)
    learned = compare(trained, validate, tmp_path / "c", lines=("prune",), levels=1, train=train, train_config=config)
    assert "calibrate" not in plain.points[0].steps[0] and fitted.points[0].steps[0]["calibrate"] == 64
    assert learned.points[0].steps[0]["train"]["epochs"] == 1


def test_what_a_network_cannot_be_is_a_point_with_the_reason(validate, tmp_path):
    torch.manual_seed(0)
    flat = capture(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), validate.x[:2])
    found = compare(flat, validate, tmp_path, lines=("tucker2", "dense"), levels=1)
    assert [bool(point.refused) for point in found.points] == [True, False]
    assert list(found.lines()) == ["dense"] and read_comparison(tmp_path / "compare.json") == found
    with pytest.raises(TersenetError, match="nothing could be compared: tucker2"):
        compare(flat, validate, tmp_path / "none", lines=("tucker2",), levels=1)


def test_every_form_over_its_range_is_a_line_and_each_point_has_a_name_of_its_own():
    assert {"codebook", "dense", "uniform", "product", "binary", "prune", "prune + codebook", "low_rank"} <= set(
        known_lines()
    )
    found = amounts(known_lines(), where="*", calibrate=8, train=None, most=None)
    for points in found.values():
        assert points and len({point.name for point in points}) == len(points)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"lines": ("codebok",)}, "form 'codebok' is not there; did you mean codebook"),
        ({"lines": ("zzz",)}, "form 'zzz' is not there; there are codebook"),
        ({"lines": ()}, "no form to compare"),
        ({"levels": 0}, "0 points a line"),
        ({"budget_s": 0}, "a budget of 0 seconds"),
        ({"examples": 1}, "1 examples to score on"),
        ({"calibrate": 8}, "need training data"),
        ({"train_config": TrainConfig(epochs=1)}, "need training data"),
        ({"where": "nowhere*"}, "no layer matches 'nowhere"),
        ({"data": []}, "empty"),
    ],
)
def test_what_cannot_be_compared_is_refused(request_, sentence, trained, validate, tmp_path):
    request = {"data": validate, "lines": ("dense",), "levels": 1} | request_
    with pytest.raises(TersenetError, match=sentence):
        compare(trained, request.pop("data"), tmp_path, **request)


def test_a_file_that_is_no_record_is_refused(trained, validate, tmp_path):
    for text in ("no json", "{}", '{"format": "tersenet comparison 1"}'):
        (tmp_path / "compare.json").write_text(text)
        with pytest.raises(TersenetError, match="not a record of a comparison"):
            compare(trained, validate, tmp_path, lines=("dense",))
    check_lines(["dense"])
