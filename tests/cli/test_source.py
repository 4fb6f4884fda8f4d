"""What SOURCE, --weights, --data and --metric name; everything else they could name is refused with a sentence."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

from tersenet import zoo
from tersenet.cli.source import NAMED


def _evaluate(tersenet, source, data="digits28", *more):
    return tersenet("evaluate", source, "--data", data, *more)


def test_a_file_that_is_not_there_is_refused(tersenet, tmp_path):
    assert "none.terse" in _evaluate(tersenet, tmp_path / "none.terse").refused()
    said = _evaluate(tersenet, "linear", "digits28", "--weights", tmp_path / "none.safetensors").refused()
    assert "none.safetensors" in said


def test_a_folder_in_place_of_a_file_is_refused(tersenet, tmp_path):
    for name in ("x.terse", "w.safetensors"):
        (tmp_path / name).mkdir()
    assert "x.terse" in _evaluate(tersenet, tmp_path / "x.terse").refused()
    assert "x.terse" in tersenet("inspect", tmp_path / "x.terse").refused()
    said = _evaluate(tersenet, "linear", "digits28", "--weights", tmp_path / "w.safetensors").refused()
    assert "w.safetensors: a folder" in said


@pytest.mark.parametrize("command", ["inspect", "evaluate", "unpack"])
def test_a_cut_file_is_refused(tersenet, shelf, tmp_path, command):
    cut = tmp_path / "cut.terse"
    more = {"inspect": [], "evaluate": ["--data", "digits28"], "unpack": ["-o", tmp_path / "w.safetensors"]}[command]
    whole = shelf.terse.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        assert "cut.terse" in tersenet(command, cut, *more).refused()
    assert not (tmp_path / "w.safetensors").exists()


def test_a_file_above_the_limit_asks_for_max_bytes(tersenet, shelf):
    tersenet("inspect", shelf.terse, "--max-bytes", 100).refused()
    assert tersenet("inspect", shelf.terse, "--max-bytes", 10_000_000).code == 0


def test_weights_of_another_network_are_refused_with_the_tensors(tersenet, shelf, tmp_path):
    said = _evaluate(tersenet, "lenet_300_100", "digits28", "--weights", shelf.weights).refused()
    assert "fc.weight" in said or "ip1.weight" in said
    mlp = zoo.network("linear").state_dict()
    mlp["fc.weight"] = mlp["fc.weight"][:, :700].contiguous()
    save_file(mlp, tmp_path / "narrow.safetensors")
    said = _evaluate(tersenet, "linear", "digits28", "--weights", tmp_path / "narrow.safetensors").refused()
    assert "fc.weight" in said and "700" in said


def test_weights_that_are_no_weights_are_refused(tersenet, tmp_path):
    for name in ("w.safetensors", "w.pt", "w.th"):
        (tmp_path / name).write_bytes(b"not weights at all")
        assert name in _evaluate(tersenet, "linear", "digits28", "--weights", tmp_path / name).refused()


def test_data_without_batches_is_refused_everywhere(tersenet, shelf, tmp_path):
    own = shelf.own
    assert "empty" in _evaluate(tersenet, f"{own}:network", f"{own}:empty").refused()
    words = ["--data", f"{own}:empty", "--recipe", shelf.recipe, "-o", tmp_path / "x.terse"]
    assert "empty" in tersenet("compress", f"{own}:network", *words).refused()
    words = ["--data", f"{own}:empty", "--epochs", 1, "-o", tmp_path / "w.safetensors"]
    assert "empty" in tersenet("train", f"{own}:network", *words).refused()
    assert not (tmp_path / "x.terse").exists() and not (tmp_path / "w.safetensors").exists()


def test_data_for_another_network_is_refused(tersenet, shelf, tmp_path):
    weights = ["--weights", shelf.weights]
    words = ["linear", "--data", "digits", "-o"]
    for ended in (
        _evaluate(tersenet, "linear", "digits", *weights),
        tersenet("train", *words, tmp_path / "w.safetensors"),
        tersenet("compress", *words, tmp_path / "x.terse", "--recipe", "share-code", *weights),
    ):
        assert "does not take the inputs of digits: inputs of shape (2, 1, 8, 8) came" in ended.refused()
    assert not list(tmp_path.iterdir())


def test_more_classes_than_outputs_are_refused(tersenet, shelf, tmp_path):
    own = shelf.own
    said = _evaluate(tersenet, f"{own}:network", f"{own}:loaders_of_twelve").refused()
    assert "tells 3 classes apart" in said and "12 or more" in said
    words = ["--data", "digits", "--epochs", 1, "-o", tmp_path / "w.safetensors"]
    assert "tells 3 classes apart, digits has 10" in tersenet("train", f"{own}:flat", *words).refused()


def test_a_label_that_is_no_class_is_refused_in_whatever_batch_it_comes(tersenet, shelf, tmp_path):
    words = [f"{shelf.own}:network", "--data", f"{shelf.own}:mislabelled"]
    said = "a label is -100; the network has 3 classes, 0 to 2; none is ignored"
    assert said in tersenet("evaluate", *words).refused()
    assert said in tersenet("train", *words, "--epochs", 1, "-o", tmp_path / "w.safetensors").refused()
    compress = ["compress", *words, "--recipe", shelf.recipe, "-o", tmp_path / "x.terse"]
    assert said in tersenet(*compress).refused()
    assert not (tmp_path / "w.safetensors").exists() and not (tmp_path / "x.terse").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_those_that_may_be(tersenet, shelf, tmp_path, device):
    words = [f"{shelf.own}:network", "--data", f"{shelf.own}:loaders", "--device", device]
    said = f"device '{device}' cannot be used here ("
    assert tersenet("evaluate", *words).refused().startswith(said)
    assert tersenet("train", *words, "-o", tmp_path / "w.safetensors").refused().startswith(said)
    compress = ["compress", *words, "--recipe", "share-code", "-o", tmp_path / "x.terse"]
    assert tersenet(*compress).refused().endswith("; take cpu, cuda, or auto")
    assert not list(tmp_path.iterdir())


def test_auto_is_a_device(tersenet, shelf, tmp_path):
    words = [f"{shelf.own}:network", "--data", f"{shelf.own}:loaders", "--device", "auto"]
    assert tersenet("evaluate", *words).code == 0
    assert tersenet("compress", *words, "--recipe", "share-code", "-o", tmp_path / "x.terse").code == 0


def test_a_loader_that_can_be_gone_through_once_is_refused(tersenet, shelf):
    said = _evaluate(tersenet, f"{shelf.own}:network", f"{shelf.own}:once").refused()
    assert "train is a generator, which can be gone through once" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.py:network", "no such file"),
        ("{own}:netwrok", "did you mean network"),
        ("{own}:", "not of the form"),
        ("{own}:number", "gave a int; a function without arguments that gives an nn.Module"),
        ("{own}:calls", "is a int; a function without arguments is expected"),
        ("{own}:raising", "raised RuntimeError: the disk with the data is not mounted"),
        ("{own}:leaving", "raised SystemExit: no data today"),
        ("no_such_package.net:make", "no module 'no_such_package.net'"),
        ("{folder}/bad.py:net", "raised SyntaxError"),
        ("{folder}/needs.py:net", "no_such_package"),
    ],
)
def test_code_that_gives_no_network_is_refused(tersenet, shelf, tmp_path, name, said):
    (tmp_path / "bad.py").write_text("def net(:\n")
    (tmp_path / "needs.py").write_text("import no_such_package\n")
    name = name.format(own=shelf.own, folder=tmp_path)
    assert said in _evaluate(tersenet, name, f"{shelf.own}:loaders").refused()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("number", "gave a int; expected is a dict of loaders"),
        ("raising", "raised RuntimeError"),
        ("lodaers", "did you mean loaders"),
    ],
)
def test_code_that_gives_no_data_is_refused(tersenet, shelf, name, said):
    assert said in _evaluate(tersenet, f"{shelf.own}:network", f"{shelf.own}:{name}").refused()


def test_a_metric_that_is_no_function_is_refused(tersenet, shelf):
    words = [f"{shelf.own}:network", f"{shelf.own}:loaders", "--metric", f"{shelf.own}:calls"]
    assert "a function (model, loader) that gives a number" in _evaluate(tersenet, *words).refused()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("failing", "failing raised KeyError: 'no such label'; --debug shows where"),
        ("wordy", "wordy gave a str; a number is expected"),
    ],
)
def test_a_metric_that_gives_no_number_is_refused(tersenet, shelf, name, said):
    words = [f"{shelf.own}:network", f"{shelf.own}:loaders", "--metric", f"{shelf.own}:{name}"]
    assert said in _evaluate(tersenet, *words).refused()


def test_a_loader_that_fails_is_told_in_a_sentence(tersenet, shelf):
    said = _evaluate(tersenet, f"{shelf.own}:network", f"{shelf.own}:broken_loader").refused()
    assert "the loader raised OSError: the disk with the data is gone" in said


def test_a_part_that_is_not_there_is_refused_with_those_that_are(tersenet, shelf, tmp_path):
    data = tmp_path / "two.py"
    data.write_text(
        f"import sys\nsys.path.insert(0, {str(shelf.own.parent)!r})\nimport own\n\n\ndef parts():\n"
        "    return own._part(0), own._part(1)\n"
    )
    said = _evaluate(tersenet, f"{shelf.own}:network", f"{data}:parts").refused()
    assert "has no test part" in said and "train, validate" in said
    assert _evaluate(tersenet, f"{shelf.own}:network", f"{data}:parts", "--split", "validate").code == 0


def test_a_folder_of_images_that_is_not_there_is_refused(tersenet, shelf, tmp_path):
    said = _evaluate(tersenet, "linear", f"folder:{tmp_path}/none", "--weights", shelf.weights).refused()
    assert "none" in said


def test_a_data_folder_that_is_not_there_is_refused_though_the_data_is_elsewhere(tersenet, shelf, tmp_path):
    words = ["linear", "digits28", "--weights", shelf.weights, "--data-dir"]
    assert f"--data-dir {tmp_path}/none: no such folder" in _evaluate(tersenet, *words, tmp_path / "none").refused()
    assert _evaluate(tersenet, *words, tmp_path).code == 0


def test_an_unknown_network_is_refused_with_some_names_and_how_many_more_there_are(tersenet):
    said = _evaluate(tersenet, "zzzz").refused()
    assert ", lenet5, " in said and f" and {len(zoo.ENTRIES) - NAMED} more)" in said


def test_data_that_was_not_fetched_is_refused_with_what_to_do(tersenet, shelf, tmp_path, monkeypatch):
    monkeypatch.delenv("TERSENET_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    said = _evaluate(tersenet, "linear", "mnist", "--weights", shelf.weights, "--data-dir", tmp_path).refused()
    assert "mnist" in said and "--download" in said


def test_a_network_that_cannot_be_captured_is_refused_with_the_operation(tersenet, shelf, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Linear):\n    def forward(self, x):\n"
        "        return super().forward(torch.cumsum(x, 1))\n\n\ndef network():\n    return Net(8, 3)\n"
    )
    words = [f"{tmp_path}/own.py:network", "--data", f"{shelf.own}:loaders", "--recipe", "share-code"]
    said = tersenet("compress", *words, "-o", tmp_path / "x.terse").refused()
    assert "cumsum" in said and "own.py" in said and "torch.cumsum(x, 1)" in said
    assert not (tmp_path / "x.terse").exists()
