"""Compression from every kind of SOURCE; promises kept or said to be broken; slips refused before work begins."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tersenet import load


def _share(tersenet, source, output, *more):
    return tersenet("compress", source, "--recipe", "share-code", "-o", output, *more)


def test_a_network_of_the_zoo_becomes_a_file_whose_numbers_are_true(tersenet, shelf):
    record = shelf.compressed.record
    assert record["bytes"] == shelf.terse.stat().st_size
    assert record["original_bytes"] == 4 * record["parameters"] == 4 * 7850
    assert record["ratio"] == record["original_bytes"] / record["bytes"] > 10
    assert record["recipe"] == "tiny"
    assert set(record["latency_ms"]) == {"original", "result", "result_in_tersenet"}
    again = tersenet("evaluate", shelf.terse, "--data", "digits28", "--json").record
    assert again["accuracy"] == record["result"]["test"]["accuracy"]
    drop = record["original"]["validate"]["accuracy"] - record["result"]["validate"]["accuracy"]
    assert record["drop_points"] == pytest.approx(100 * drop)
    assert record["layers"][0]["nonzeros"] <= 0.5 * 7840


def test_progress_names_the_stages_on_stderr(shelf):
    lines = shelf.compressed.err.splitlines()
    assert [line for line in lines if ":" not in line] == ["prune 1/2", "prune 2/2", "share", "round"]
    assert any(line.startswith("share: epoch 1/1, loss ") for line in lines)


def test_a_finished_run_gives_its_file_again_without_training(tersenet, shelf, tmp_path):
    output, folder = tmp_path / "again.terse", tmp_path / "run"
    shutil.copytree(shelf.run_dir, folder)
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", shelf.recipe]
    again = tersenet(*words, "-o", output, "--run-dir", folder)
    assert again.code == 0 and "epoch" not in again.err
    assert output.read_bytes() == shelf.terse.read_bytes()
    assert "x smaller" in again.out and f"tersenet report {folder}" in again.out
    was, now = (shelf.compressed.record["latency_ms"][which] for which in ("original", "result"))
    assert f"latency     {was:.3g} -> {now:.3g} ms an example" in again.out, "what was timed stays"


def test_the_folder_of_another_run_is_refused(tersenet, shelf, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(shelf.run_dir, folder)
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", shelf.recipe]
    said = tersenet(*words, "-o", tmp_path / "x.terse", "--run-dir", folder, "--seed", 1).refused()
    assert "belongs to another run" in said
    assert not (tmp_path / "x.terse").exists()


def test_without_data_a_recipe_that_does_not_train_shares_and_codes(tersenet, shelf, tmp_path):
    output = tmp_path / "x.terse"
    record = _share(tersenet, "linear", output, "--weights", shelf.weights, "--bits", "4", "--json").record
    assert (
        record["original"] == {"validate": None, "test": None, "macs": 7840, "parameters": 7850}
        and record["drop_points"] is None
    )
    assert record["layers"][0]["k"] == 16
    assert len(load(output).dense("fc.weight").unique()) <= 16


def test_code_data_and_metric_of_the_user_go_together(tersenet, shelf, tmp_path):
    own, output = shelf.own, tmp_path / "own.terse"
    words = ["--data", f"{own}:loaders", "--metric", f"{own}:balanced", "--recipe", shelf.recipe, "-o", output]
    record = tersenet("compress", f"{own}:network", *words, "--json").record
    assert set(record["original"]["test"]) == set(record["result"]["test"]) == {"metric"}
    again = tersenet("evaluate", output, "--data", f"{own}:loaders", "--metric", f"{own}:balanced", "--json").record
    assert again["metric"] == record["result"]["test"]["metric"] >= 0.5
    assert record["drop_points"] == pytest.approx(
        100 * (record["original"]["validate"]["metric"] - record["result"]["validate"]["metric"])
    )


def test_a_module_and_a_shape_do_where_there_is_no_data(tersenet, tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(40, 30)\n")
    monkeypatch.chdir(tmp_path)
    assert "how mine_here:net is called is not known" in _share(tersenet, "mine_here:net", "x.terse").refused(code=2)
    assert "is not a shape" in _share(tersenet, "mine_here:net", "x.terse", "--input", "4xx").refused(code=2)
    said = _share(tersenet, "mine_here:net", "x.terse", "--input", "4x41").refused()
    assert said.startswith("the network does not take the inputs of --input 4x41: inputs of shape (2, 4, 41) came")
    assert _share(tersenet, "mine_here:net", "x.terse", "--input", "40").code == 0
    assert load(tmp_path / "x.terse")(torch.zeros(3, 40)).shape == (3, 30)


def test_what_torch_pruned_keeps_its_zeros_while_it_trains_on(tersenet, shelf, tmp_path):
    recipe = tmp_path / "zeros.yaml"
    recipe.write_text("steps: [{id: prune, where: '0', threshold: 0, train: {epochs: 1}}]")
    words = ["compress", f"{shelf.own}:pruned", "--recipe", recipe, "--data", f"{shelf.own}:loaders"]
    ran = tersenet(*words, "-o", tmp_path / "x.terse", "--json")
    assert ran.code == 0
    rows = {row["name"]: row for row in ran.record["layers"]}
    assert (rows["0.weight"]["nonzeros"], rows["2.weight"]["nonzeros"]) == (32, 48)
    assert load(tmp_path / "x.terse").weighted_layers()[0].weight == "0.weight"


def test_a_compressed_file_can_be_compressed_again(tersenet, shelf, tmp_path):
    output = tmp_path / "again.terse"
    words = ["compress", shelf.terse, "--recipe", "dense", "--coder", "raw", "-o", output]
    assert tersenet(*words).code == 0
    before, after = load(shelf.terse), load(output)
    for name in before.graph.parameters:
        assert torch.equal(before.dense(name), after.dense(name)), name


def test_an_untrained_network_of_the_zoo_is_trained_first(tersenet, shelf, tmp_path, monkeypatch):
    monkeypatch.setattr("tersenet.zoo.baselines.baseline", lambda name: {"epochs": 1, "lr": 0.02})
    output = tmp_path / "fresh.terse"
    words = ["compress", "linear", "--data", "digits28", "--recipe", "dense", "-o", output]
    first = tersenet(*words)
    assert first.code == 0 and "is trained first, 1 epochs" in first.err
    kept = load_file(tmp_path / "fresh.terse.run" / "original.safetensors")
    assert torch.equal(load(output).dense("fc.weight"), kept["fc.weight"])
    data = output.read_bytes()
    assert tersenet(*words).code == 0
    assert output.read_bytes() == data


def test_no_provenance_leaves_it_out(tersenet, shelf, tmp_path):
    one, other = tmp_path / "with.terse", tmp_path / "without.terse"
    assert _share(tersenet, "linear", one, "--weights", shelf.weights).code == 0
    assert _share(tersenet, "linear", other, "--weights", shelf.weights, "--no-provenance").code == 0
    assert other.stat().st_size < one.stat().st_size
    assert tersenet("inspect", one, "--json").record["provenance"]["recipe"]["name"] == "share-code"
    assert tersenet("inspect", other, "--json").record["provenance"] is None


def test_a_promise_that_cannot_be_kept_is_code_1_and_no_file(tersenet, shelf, tmp_path):
    output = tmp_path / "x.terse"
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", "share-code"]
    said = tersenet(*words, "--max-drop", "-50", "-o", output).refused(code=1)
    assert "points of validation accuracy" in said and "-50 were allowed" in said
    assert not output.exists()
    output.write_bytes(b"of an earlier run")
    tersenet(*words, "--max-drop", "-50", "-o", output).refused(code=1)
    assert output.read_bytes() == b"of an earlier run"


def test_a_promise_that_is_kept_is_code_0(tersenet, shelf, tmp_path):
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", "share-code", "--json"]
    record = tersenet(*words, "--max-drop", "2", "-o", tmp_path / "x.terse").record
    assert record["drop_points"] <= 2


def test_a_codebook_larger_than_the_tensor_works_and_is_said(tersenet, shelf, tmp_path):
    output = tmp_path / "x.terse"
    words = ["compress", f"{shelf.own}:network", "--input", "8", "--recipe", "share-code", "--bits", "12", "-o", output]
    record = tersenet(*words, "--json").record
    assert any("0.weight" in note and "not 4096" in note for note in record["notes"])
    assert len(load(output).dense("0.weight").unique()) > 100


@pytest.mark.parametrize("setting", ["*=0", "*=-1", "*=1.5", "*=nan", "*=many", "*=", "fc=0.5,fc=0.6"])
def test_a_share_of_weights_that_cannot_be_is_refused(tersenet, shelf, tmp_path, setting):
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", shelf.recipe]
    assert tersenet(*words, "--keep", setting, "-o", tmp_path / "x.terse").refused().startswith("--keep")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", ["0", "17", "2.5", "fc"])
def test_bits_that_cannot_be_are_refused(tersenet, shelf, tmp_path, setting):
    said = _share(tersenet, "linear", tmp_path / "x.terse", "--weights", shelf.weights, "--bits", setting).refused()
    assert said.startswith("--bits") and "a whole number from 1 to 16" in said


def test_a_pattern_that_names_no_layer_is_refused(tersenet, shelf, tmp_path):
    words = ["linear", tmp_path / "x.terse", "--weights", shelf.weights, "--bits", "ip1=3,*=5"]
    assert "ip1" in _share(tersenet, *words).refused()
    assert not list(tmp_path.iterdir())


def test_settings_for_a_recipe_that_has_none_are_refused(tersenet, shelf, tmp_path):
    words = ["linear", tmp_path / "x.terse", "--weights", shelf.weights, "--keep", "0.5"]
    assert "recipe share-code has no step that takes keep" in _share(tersenet, *words).refused()


def test_an_unknown_coder_is_refused_with_those_there_are(tersenet, shelf, tmp_path):
    words = ["linear", tmp_path / "x.terse", "--weights", shelf.weights, "--coder", "zip"]
    assert "coder 'zip' is unknown; this build knows raw, huffman, rans, range" in _share(tersenet, *words).refused()


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"source": "lenet_300_10"}, "lenet_300_100"),
        ({"recipe": "share_code"}, "share-code"),
        ({"data": "digit28"}, "digits28"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(tersenet, shelf, tmp_path, changes, near):
    asked = {"source": "linear", "recipe": "share-code", "data": "digits28"} | changes
    weights = ["--weights", shelf.weights] if asked["source"] == "linear" else []
    words = ["--recipe", asked["recipe"], "--data", asked["data"], *weights, "-o", tmp_path / "x.terse"]
    said = tersenet("compress", asked["source"], *words).refused()
    assert near in said.split("did you mean")[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("steps: [", "not valid YAML"),
        ("- 3", "a recipe is a table"),
        ("steps: [{id: prune, keep: 0}]", "keep"),
        ("steps: [{id: squeeze}]", "squeeze"),
        ("coder: zip", "coder"),
    ],
)
def test_a_recipe_file_that_says_nonsense_is_refused_with_the_place(tersenet, shelf, tmp_path, text, named):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text)
    words = ["compress", "linear", "--weights", shelf.weights, "--recipe", recipe, "-o", tmp_path / "x.terse"]
    said = tersenet(*words).refused()
    assert "mine.yaml" in said and named in said


@pytest.mark.parametrize("place", ["none/x", "file/x", "folder"])
@pytest.mark.parametrize("command", ["train", "compress"])
def test_an_output_that_cannot_be_is_refused_before_training(tersenet, shelf, tmp_path, command, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "folder.terse").mkdir()
    there = sorted(tmp_path.rglob("*"))
    if command == "train":
        words = ["train", "linear", "--data", "digits28", "-o", tmp_path / f"{place}.safetensors"]
    else:
        words = ["compress", "linear", "--data", "digits28", "--recipe", "han2016", "-o", tmp_path / f"{place}.terse"]
    ended = tersenet(*words)
    said = ended.refused()
    assert "no file can be written there" in said or "is a folder; give the name of a file" in said
    assert "epoch" not in ended.err
    assert sorted(tmp_path.rglob("*")) == there


def test_a_run_folder_that_cannot_be_made_is_refused_before_training(tersenet, tmp_path):
    (tmp_path / "file").write_text("")
    words = ["compress", "linear", "--data", "digits28", "--recipe", "han2016", "-o", tmp_path / "x.terse"]
    ended = tersenet(*words, "--run-dir", tmp_path / "file" / "run")
    assert "no file can be written there" in ended.refused() and "epoch" not in ended.err


def test_a_disk_without_room_is_refused_before_training(tersenet, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    words = ["compress", "linear", "--data", "digits28", "--recipe", "han2016", "-o", tmp_path / "x.terse"]
    ended = tersenet(*words)
    assert "can need 251,200 bytes" in ended.refused() and "epoch" not in ended.err


def test_a_disk_that_fills_up_leaves_what_was_there(tersenet, shelf, tmp_path, monkeypatch):
    output = tmp_path / "x.terse"
    output.write_bytes(b"of an earlier run")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tersenet.container.io_safe.os.fsync", full)
    said = _share(tersenet, "linear", output, "--weights", shelf.weights).refused()
    assert "No space left on device" in said
    assert output.read_bytes() == b"of an earlier run"


def test_nan_weights_are_refused_with_the_tensor(tersenet, shelf, tmp_path):
    said = _share(tersenet, f"{shelf.own}:not_finite", tmp_path / "x.terse", "--input", "8").refused()
    assert "0.weight" in said and "NaN" in said
    broken = load_file(shelf.weights)
    broken["fc.bias"][3] = np.inf
    save_file(broken, tmp_path / "broken.safetensors")
    weights = ["--weights", tmp_path / "broken.safetensors"]
    said = _share(tersenet, "linear", tmp_path / "x.terse", *weights).refused()
    assert "fc.bias" in said and "infinite" in said
    assert not (tmp_path / "x.terse").exists()


def test_where_neurons_leave_the_table_says_of_how_many_parameters_its_rates_are(tersenet, shelf, tmp_path):
    recipe = tmp_path / "dead.yaml"
    recipe.write_text("steps: [{id: prune, keep: 0.05, where: '0'}, {id: remove_dead}]")
    source = ("compress", f"{shelf.own}:network", "--data", f"{shelf.own}:loaders")
    found = tersenet(*source, "--recipe", recipe, "-o", tmp_path / "x.terse")
    record = tersenet(*source, "--recipe", recipe, "-o", tmp_path / "x.terse", "--json").record
    before, after = record["original"]["parameters"], record["result"]["parameters"]
    assert after < before == 9 * 16 + 17 * 3
    assert f"count the {after:,} parameters that the network has now; the original had {before:,}" in found.out


def test_a_target_size_is_kept_and_a_quality_says_which_way(tersenet, shelf, tmp_path):
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", "weights-only"]
    found = tersenet(*words, "--target-size", "2.5KB", "--json", "-o", tmp_path / "x.terse")
    assert (tmp_path / "x.terse").stat().st_size == found.record["bytes"] <= 2500
    assert "quality 50 (point 1 of at most 7)" in found.err
    report = tmp_path / "report.html"
    tersenet("report", found.record["run_dir"], "-o", report)
    page = report.read_text()
    assert "Size against accuracy" in page and "data:image/svg+xml;base64," in page
    low, high = (
        tersenet(*words, "--quality", quality, "--json", "-o", tmp_path / f"{quality}.terse").record["bytes"]
        for quality in ("20", "80")
    )
    assert low < high


def test_a_target_that_no_point_reaches_is_a_goal_not_met(tersenet, shelf, tmp_path):
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", "weights-only"]
    said = tersenet(*words, "--target-size", "100B", "-o", tmp_path / "x.terse").refused(code=1)
    assert "no point that was tried keeps the goal" in said
    assert not (tmp_path / "x.terse").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--target-size", "much"], "such as 34000, 34KB or 32KiB"),
        (["--target-size", "0"], "such as 34000, 34KB or 32KiB"),
        (["--target-size", "2KB", "--quality", "3"], "give one of them"),
        (["--target-size", "2KB", "--recipe", "share-code"], "no step with a quality"),
        (["--quality", "20", "--recipe", "share-code"], "no step with a quality"),
    ],
)
def test_slips_about_the_point_are_refused(tersenet, shelf, tmp_path, more, sentence):
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "--recipe", "weights-only"]
    words += ["-o", tmp_path / "x.terse"]
    said = tersenet(*words, *more)
    assert said.code in (2, 3) and sentence in said.err
    assert not (tmp_path / "x.terse").exists()


def test_a_target_without_data_is_refused(tersenet, shelf, tmp_path):
    words = ["compress", "linear", "--weights", shelf.weights, "--recipe", "weights-only", "--target-size", "2KB"]
    said = tersenet(*words, "-o", tmp_path / "x.terse")
    assert said.code == 2 and "--target-size chooses by validation data; give --data" in said.err
