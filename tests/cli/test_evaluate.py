"""The keys of `evaluate --json`, which scripts rely on."""

from __future__ import annotations

import pytest


def test_ten_classes_have_accuracy_loss_and_examples(tersenet, shelf):
    record = tersenet("evaluate", shelf.terse, "--data", "digits28", "--json").record
    assert set(record) == {"accuracy", "loss", "examples", "source", "data", "split"}
    assert 0.8 < record["accuracy"] <= 1 and record["loss"] > 0
    assert record["examples"] == 359 and record["split"] == "test"
    assert record["accuracy"] * 359 == pytest.approx(round(record["accuracy"] * 359))


def test_twelve_classes_have_top5_too(tersenet, shelf):
    words = ["evaluate", f"{shelf.own}:twelve", "--data", f"{shelf.own}:loaders_of_twelve"]
    record = tersenet(*words, "--json").record
    assert record["accuracy"] <= record["top5"] <= 1
    assert "top 5 " in tersenet(*words).out


def test_a_metric_of_the_user_stands_in_place_of_accuracy(tersenet, shelf):
    own = shelf.own
    words = ["evaluate", f"{own}:network", "--data", f"{own}:loaders"]
    plain = tersenet(*words, "--json").record
    record = tersenet(*words, "--metric", f"{own}:balanced", "--json").record
    assert record["metric"] == pytest.approx(0.5 + plain["accuracy"] / 2)
    assert record["accuracy"] is None and record["loss"] is None
    shown = tersenet(*words, "--metric", f"{own}:balanced").out
    assert f"metric    {record['metric']:g}" in shown and "accuracy" not in shown


def test_numbers_have_a_loss_and_no_accuracy(tersenet, shelf):
    words = ["evaluate", f"{shelf.own}:network", "--data", f"{shelf.own}:regression"]
    record = tersenet(*words, "--json").record
    assert record["accuracy"] is None and record["loss"] > 0
    assert tersenet(*words).out.splitlines()[0] == f"loss      {record['loss']:.4f}"


def test_what_the_user_s_code_prints_stays_out_of_the_result(tersenet, shelf):
    ended = tersenet("evaluate", f"{shelf.own}:network", "--data", f"{shelf.own}:loud", "--json")
    assert ended.record["examples"] == 48
    assert "reading the data" in ended.err


@pytest.mark.parametrize(("split", "examples"), [("train", 1295), ("validate", 143)])
def test_the_other_parts_can_be_asked_for(tersenet, shelf, split, examples):
    record = tersenet("evaluate", shelf.terse, "--data", "digits28", "--split", split, "--json").record
    assert record["split"] == split and record["examples"] == examples


def test_a_file_prepares_its_inputs_as_the_network_s_did(tersenet, shelf):
    """The preprocessing in the file is the zoo's: a network of the zoo and its lossless file answer alike."""
    words = ["compress", "linear", "--weights", shelf.weights, "--recipe", "dense"]
    output = shelf.weights.with_name("lossless.terse")
    assert tersenet(*words, "-o", output).code == 0
    one = tersenet("evaluate", "linear", "--weights", shelf.weights, "--data", "digits28", "--json").record
    other = tersenet("evaluate", output, "--data", "digits28", "--json").record
    assert one["accuracy"] == other["accuracy"] and one["loss"] == pytest.approx(other["loss"])
