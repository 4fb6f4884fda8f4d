"""`tersenet sensitivity`: a table, a picture, a file to go on from, and thresholds that compress takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml

from tersenet.search import read_sensitivity

FEW = ("--levels", "0.5,0.1", "--bits", "4,1")
IN_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tersenet.cli import main
main()
"""


@pytest.fixture(scope="module")
def own(shelf):
    return [f"{shelf.own}:network", "--data", f"{shelf.own}:loaders"]


@pytest.fixture(scope="module")
def measured(tersenet, own, tmp_path_factory):
    path = tmp_path_factory.mktemp("measured") / "s.json"
    ended = tersenet("sensitivity", *own, *FEW, "-o", path, "--json")
    assert ended.code == 0, ended.err
    return path


def test_the_record_has_every_point_its_price_and_the_thresholds(tersenet, own, measured):
    record = tersenet("sensitivity", *own, *FEW, "-o", measured, "--json", "--tolerance", 100).record
    assert record["missing"] == 0 and len(record["points"]) == 8 and record["measure"] == "accuracy"
    assert record["thresholds"] == {"prune": {"0": 0.1, "2": 0.1}, "bits": {"0": 1, "2": 1}}
    for point in record["points"]:
        assert point["lost_points_per_kb"] == pytest.approx(1000 * point["lost_points"] / point["bytes_saved"])


def test_the_table_has_the_cheapest_first_and_the_recipe_at_its_end(tersenet, own, measured):
    shown = tersenet("sensitivity", *own, *FEW, "-o", measured, "--tolerance", 100).out
    assert shown.count("points lost a kB") == 4
    first = shown.split("\n\n")[1].splitlines()[2:]
    prices = [max(float(line.split()[-1]), 0) for line in first]
    assert len(prices) == 4 and prices == sorted(prices)
    assert "id: prune" in shown and f"kept in   {measured}" in shown


def test_pictures_are_one_a_method(tersenet, own, measured, tmp_path):
    both = ["sensitivity", *own, *FEW, "-o", measured, "--figure"]
    record = tersenet(*both, tmp_path / "s.svg", "--json").record
    assert record["figures"] == [str(tmp_path / f"s-{method}.svg") for method in ("prune", "bits")]
    for path in record["figures"]:
        assert ET.parse(path).getroot().tag.endswith("svg")
    one = ["sensitivity", *own, "--methods", "prune", "--levels", 0.5, "-o", tmp_path / "one.json", "--figure"]
    assert tersenet(*one, tmp_path / "one.svg").code == 0
    assert (tmp_path / "one.svg").is_file()


def test_a_budget_ends_the_work_with_a_count_and_the_same_command_goes_on(tersenet, own, measured, tmp_path):
    words = ["sensitivity", *own, *FEW, "-o", tmp_path / "s.json"]
    ended = tersenet(*words, "--budget", 1e-9)
    assert ended.code == 0 and "the time was up: 0 of 8 points are there; the same command goes on" in ended.out
    assert "no recipe: " in ended.out
    assert tersenet(*words).code == 0
    found, whole = read_sensitivity(tmp_path / "s.json"), read_sensitivity(measured)
    assert [(point.key, point.quality) for point in found.points] == [(p.key, p.quality) for p in whole.points]


def test_channels_are_measured_when_asked_for(tersenet, own, tmp_path):
    words = ["sensitivity", *own, "--methods", "channels", "--levels", 0.5, "-o", tmp_path / "s.json"]
    (point,) = tersenet(*words, "--json").record["points"]
    assert point["layers"] == ["0"] and point["bytes_saved"] > 0
    assert "no recipe: no layer was measured to lose" in tersenet(*words).out


def test_metric_examples_split_and_batchnorm_are_taken(tersenet, shelf, own, tmp_path):
    words = ["sensitivity", *own, "--methods", "prune", "--levels", 0.5, "--where", "0", "--json"]
    plain = tersenet(*words, "-o", tmp_path / "a.json").record
    record = tersenet(*words, "-o", tmp_path / "b.json", "--metric", f"{shelf.own}:balanced").record
    assert record["measure"] == "metric" and record["original"] == pytest.approx(0.5 + plain["original"] / 2)
    assert tersenet(*words, "-o", tmp_path / "c.json", "--examples", 16, "--split", "test").record["examples"] == 16
    assert tersenet(*words, "-o", tmp_path / "d.json", "--batchnorm").record["batchnorm"] is True


def test_another_metric_s_file_is_refused(tersenet, shelf, own, tmp_path):
    words = ["sensitivity", *own, "--methods", "prune", "--levels", 0.5, "-o", tmp_path / "s.json", "--metric"]
    assert tersenet(*words, f"{shelf.own}:balanced").code == 0
    assert "belongs to other measurements" in tersenet(*words, f"{shelf.own}:failing").refused()


def test_compress_goes_to_the_thresholds(tersenet, own, measured, tmp_path):
    """Also where the recipe said otherwise; what is given by hand goes before."""
    words = ["compress", *own, "--recipe", "share-code", "--sensitivity", measured, "--tolerance", 100]
    ended = tersenet(*words, "-o", tmp_path / "a.terse", "--bits", "2=3")
    assert ended.code == 0, ended.err
    assert "thresholds of prune are not used: recipe share-code has no such step" in ended.err
    from tersenet import load

    small = load(tmp_path / "a.terse")
    assert [len(small.dense(layer.weight).unique()) for layer in small.weighted_layers()] == [2, 8]


def test_compress_takes_the_recipe_that_was_written(tersenet, own, measured, tmp_path):
    recipe = tmp_path / "mine.yaml"
    words = ["sensitivity", *own, *FEW, "-o", measured, "--tolerance", 100, "--recipe-out", recipe]
    assert tersenet(*words).code == 0
    assert yaml.safe_load(recipe.read_text())["name"] == "mine"
    assert tersenet("compress", *own, "--recipe", recipe, "-o", tmp_path / "a.terse").code == 0
    from tersenet import load

    small = load(tmp_path / "a.terse")
    for layer in small.weighted_layers():
        weight = small.dense(layer.weight)
        assert int((weight != 0).sum()) == round(0.1 * weight.numel())


def test_compress_refuses_thresholds_of_another_network(tersenet, shelf, measured, tmp_path):
    words = ["compress", "linear", "--weights", shelf.weights, "--recipe", "share-code", "--sensitivity", measured]
    assert "no layer matches" in tersenet(*words, "--tolerance", 100, "-o", tmp_path / "a.terse").refused()
    assert not (tmp_path / "a.terse").exists()


def test_compress_refuses_a_tolerance_without_thresholds_or_that_is_no_number(tersenet, own, measured, tmp_path):
    words = ["compress", *own, "--recipe", "share-code", "-o", tmp_path / "a.terse", "--tolerance"]
    assert "--tolerance belongs to --sensitivity" in tersenet(*words, 1).refused(2)
    assert "--tolerance nan" in tersenet(*words, "nan", "--sensitivity", measured).refused(2)


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["--where", "conv*"], "no layer matches 'conv*'", 3),
        (["--methods", "tucker"], "'tucker' is not there; present are prune, bits, channels, rank", 3),
        (["--methods", ""], "present are prune, bits, channels", 3),
        (["--levels", "0"], "a level of 0", 3),
        (["--levels", "1.5"], "a level of 1.5", 3),
        (["--levels", "half"], "--levels half: expected are shares", 2),
        (["--bits", "2.5"], "--bits 2.5: expected are whole numbers", 2),
        (["--bits", "17"], "a level of 17 bits", 3),
        (["--budget", "0"], "a budget of 0 seconds", 3),
        (["--tolerance", "nan"], "--tolerance nan", 2),
        (["--split", "dev"], "--split dev", 2),
        (["--coder", "zip"], "zip", 3),
        (["--figure", "s.png"], "s.png: what is written there is known by its name; end it with .svg", 2),
        (["--recipe-out", "no/s.yaml"], "no file can be written there", 3),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    tersenet, own, tmp_path, monkeypatch, words, sentence, code
):
    monkeypatch.chdir(tmp_path)
    assert sentence in tersenet("sensitivity", *own, *words).refused(code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "data", "sentence", "code"),
    [
        ("network", "empty", "empty", 3),
        ("network", "regression", "has no validate part", 3),
        ("network", "raising", "the disk with the data is not mounted", 3),
        ("not_finite", "loaders", "'0.weight' holds 1 NaN", 3),
        ("network", "loaders_of_twelve", "3 classes apart", 3),
    ],
)
def test_sources_and_data_that_do_not_fit_are_refused(tersenet, shelf, tmp_path, source, data, sentence, code):
    words = ["sensitivity", f"{shelf.own}:{source}", "--data", f"{shelf.own}:{data}", "-o", tmp_path / "s.json"]
    assert sentence in tersenet(*words).refused(code)
    assert not (tmp_path / "s.json").exists()


def test_without_weights_or_data_there_is_nothing_to_measure(tersenet, tmp_path):
    words = ["sensitivity", "linear", "-o", tmp_path / "s.json"]
    assert "no trained weights" in tersenet(*words, "--data", "digits28").refused(2)
    assert tersenet(*words).code == 2


@pytest.mark.parametrize("text", ["", "{", '{"format": "other"}'])
def test_a_file_that_is_something_else_is_refused_and_left_alone(tersenet, own, tmp_path, text):
    path = tmp_path / "s.json"
    path.write_text(text)
    assert "not a record of sensitivity" in tersenet("sensitivity", *own, "-o", path).refused()
    assert path.read_text() == text


def test_ctrl_c_keeps_what_was_measured_and_says_so(tersenet, shelf, tmp_path):
    path = tmp_path / "s.json"
    words = ["sensitivity", str(shelf.terse), "--data", "digits28", "-o", str(path), "--threads", "1"]
    words += ["--levels", ",".join(str(level / 4000) for level in range(1, 4001))]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        while not (path.exists() and json.loads(path.read_text())["points"]):
            assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.endswith("tersenet: error: interrupted; the same command goes on from here\n")
    measured = len(read_sensitivity(path).points)
    assert measured
    again = tersenet(*words, "--budget", 1e-9, "--json").record
    assert len(again["points"]) == measured


def test_layers_that_lose_more_at_every_level_are_named(tersenet, own, measured):
    shown = tersenet("sensitivity", *own, *FEW, "-o", measured, "--tolerance", 0).out
    threshold = shown.split("prune: the lowest level measured that loses at most 0 points\n")[1].split("\n\n")[0]
    named = [name for name in ("0", "2") if read_sensitivity(measured).threshold("prune", name, 0) is None]
    assert named and threshold.endswith(f"no level measured loses so little: {', '.join(named)}")
