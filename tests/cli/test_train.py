"""A reference network from scratch: its weights, its record, and going on from where it is."""

from __future__ import annotations

from safetensors.torch import load_file


def test_the_weights_are_those_that_were_scored(tersenet, shelf):
    record = shelf.trained.record
    assert record["weights"] == str(shelf.weights) and record["bytes"] == shelf.weights.stat().st_size
    assert record["epochs"] == 2 and record["seed"] == 0
    again = tersenet("evaluate", "linear", "--weights", shelf.weights, "--data", "digits28", "--json").record
    assert again["accuracy"] == record["test"]["accuracy"] > 0.8
    assert record["validate"]["examples"] == 143 and again["examples"] == 359


def test_progress_is_on_stderr_a_line_an_epoch(shelf):
    assert "train linear: epoch 1/2, loss " in shelf.trained.err
    assert "validation accuracy" in shelf.trained.err


def test_quiet_says_nothing(tersenet, shelf, tmp_path):
    words = ["train", f"{shelf.own}:network", "--data", f"{shelf.own}:loaders", "--epochs", 1, "--quiet"]
    ended = tersenet(*words, "-o", tmp_path / "w.safetensors")
    assert ended.code == 0 and ended.err == ""
    assert "accuracy: validate" in ended.out


def test_the_same_command_again_gives_the_same_bytes_and_another_seed_is_refused(tersenet, shelf, tmp_path):
    output = tmp_path / "w.safetensors"
    words = ["train", f"{shelf.own}:network", "--data", f"{shelf.own}:loaders", "--epochs", 2, "-o", output]
    assert tersenet(*words).code == 0
    first = output.read_bytes()
    output.unlink()
    again = tersenet(*words)
    assert again.code == 0 and "epoch 1/2" not in again.err
    assert output.read_bytes() == first
    tersenet(*words, "--seed", 1).refused()
    assert output.read_bytes() == first


def test_no_epochs_leave_the_weights_as_they_came(tersenet, shelf, tmp_path):
    output = tmp_path / "same.safetensors"
    words = ["train", "linear", "--weights", shelf.weights, "--data", "digits28", "--epochs", 0, "-o", output]
    assert tersenet(*words).code == 0
    before, after = load_file(shelf.weights), load_file(output)
    assert before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)


def test_settings_that_cannot_be_are_refused_before_a_folder_is_made(tersenet, tmp_path):
    words = ["train", "linear", "--data", "digits28", "-o", tmp_path / "w.safetensors"]
    assert "optimiser" in tersenet(*words, "--optimiser", "lion").refused()
    assert "lr" in tersenet(*words, "--lr", "-1").refused()
    assert not list(tmp_path.iterdir())
