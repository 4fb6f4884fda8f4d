"""A reference network from scratch: its weights, its record, and going on from where it is."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
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


DIGITS = ["train", "linear", "--data", "digits28", "--threads", 1, "--json"]
# Data of a user's whose targets are yes or no, numbers, or pictures of colours, and what is wrong with some.
OTHER = """
import torch
from torch import nn

def parts(x, y):
    batches = [(x[at:at + 8], y[at:at + 8]) for at in range(0, 48, 8)]
    return {"train": batches, "validate": batches[:2], "test": batches[2:4]}

def x():
    return torch.randn(48, 6, generator=torch.Generator().manual_seed(0))

def yes_or_no():
    return parts(x(), (x()[:, 0] > 0).long())

def numbers():
    return parts(x(), x()[:, 0])

def one_class():
    return parts(x(), torch.full((48,), 1))

def with_nan():
    broken = x()
    broken[20, 3] = float("nan")
    return parts(broken, (x()[:, 0] > 0).long())

def without_examples():
    return {"train": []}

def beyond():
    return parts(x(), torch.arange(48) % 8)

def colours():
    return parts(torch.rand(48, 3, 5, 7, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 2)

def one_output():
    torch.manual_seed(0)
    return nn.Linear(6, 1)

def two_outputs():
    torch.manual_seed(0)
    return nn.Linear(6, 2)

def on_pictures():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(105, 2))
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    file = tmp_path_factory.mktemp("other") / "other.py"
    file.write_text(OTHER)

    def words(net, data, *more):
        return ["train", f"{file}:{net}", "--data", f"{file}:{data}", *more]

    return words


def test_every_setting_has_an_option_that_reaches_the_training(tersenet, tmp_path):
    options = {
        "loss": "cross_entropy", "label_smoothing": 0.125, "optimiser": "sgd", "lr": 0.25, "momentum": 0.75,
        "weight_decay": 0.0625, "clip_grad_norm": 2.0, "schedule": "linear", "warmup_epochs": 0.5, "augment": "flip",
        "average": "swa", "patience": 4, "precision": "bfloat16", "batch_size": 128, "epochs": 2,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    ended = tersenet(*DIGITS, *words, "--nesterov", "--keep-best", "-o", tmp_path / "w.safetensors")
    assert ended.code == 0, ended.err
    config = json.loads((tmp_path / "w.safetensors.run" / "train.json").read_text())["config"]
    assert {name: config[name] for name in options} == options
    assert config["nesterov"] is config["keep_best"] is True
    assert ended.record["best_epoch"] in (1, 2)


def test_a_file_of_settings_is_the_whole_training_and_options_go_over_it(tersenet, tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text(
        "epochs: 1\noptimiser: adamw\nlr: 1e-3\nregularise: {l2: 0.001}\naugment: affine\naffine: {degrees: 3}\n"
    )
    assert tersenet(*DIGITS, "--config", file, "--lr", 0.002, "-o", tmp_path / "w.safetensors").code == 0
    config = json.loads((tmp_path / "w.safetensors.run" / "train.json").read_text())["config"]
    assert (config["epochs"], config["optimiser"], config["lr"]) == (1, "adamw", 0.002)
    assert config["weight_decay"] == 0, "the network's own settings are out"
    assert config["regularise"]["l2"] == 0.001 and config["affine"]["degrees"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: [", "not valid YAML"), ("- 3", "settings of a training are a table"), ("lr: 0.1", "epochs: Field"),
        ("epochs: 2\nepoch: 3", "epoch: Extra"), ("epochs: 2\nnesterov: true\nmomentum: 0", "nesterov needs"),
    ],
)  # fmt: skip
def test_a_file_of_settings_that_is_none_is_refused(tersenet, tmp_path, text, said):
    file = tmp_path / "train.yaml"
    file.write_text(text)
    assert said in tersenet(*DIGITS[:-1], "--config", file, "-o", tmp_path / "w.safetensors").refused()
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--loss", "hinge"], "'cross_entropy', 'mse', 'mae' or 'bce'"),
        (["--loss", "mse", "--label-smoothing", 0.1], "label_smoothing belongs to loss cross_entropy"),
        (["--schedule", "one_cycle", "--warmup-epochs", 1], "drop warmup_epochs"),
        (["--precision", "float16"], "bfloat16 needs none, take it"),
        (["--average", "mean"], "'none', 'ema' or 'swa'"),
        (["--optimiser", "adam", "--nesterov"], "nesterov needs optimiser sgd"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--momentum", "nan"], "momentum"),
    ],
    ids=lambda value: str(value[1]) if isinstance(value, list) else "",
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(tersenet, tmp_path, words, said):
    sentence = tersenet(*DIGITS[:-1], *words, "-o", tmp_path / "w.safetensors").refused()
    assert said in sentence and "{" not in sentence
    assert not list(tmp_path.iterdir())


def test_one_cycle_takes_the_place_of_the_network_s_own_warm_up(tersenet):
    from tersenet.cli.training import train_config, train_settings

    assert train_config(train_settings("resnet8", None, {"epochs": 9})).warmup_epochs == 1
    assert train_config(train_settings("resnet8", None, {"schedule": "one_cycle"})).warmup_epochs == 0
    assert train_config(train_settings("resnet8", None, {"epochs": 1})).warmup_epochs == 0


def test_the_report_shows_the_matrix_and_the_worst_of_the_weights_that_were_written(tersenet, shelf, tmp_path):
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    words = [*DIGITS, "--weights", shelf.weights, "--epochs", 1, "--report", page, "--figures", figures]
    record = tersenet(*words, "-o", tmp_path / "w.safetensors").record
    assert record["report"] == str(page) and [Path(name).name for name in record["figures"]] == [
        "confusion.svg",
        "worst.png",
    ]
    run = json.loads((tmp_path / "w.safetensors.run" / "train.json").read_text())
    counts = torch.tensor(run["examined"]["confusion"])
    assert counts.sum() == 359 and counts.diagonal().sum() == round(359 * record["test"]["accuracy"])
    assert run["examined"]["part"] == "test" and run["examined"]["classes"] == list("0123456789")
    losses = [example["loss"] for example in run["examined"]["worst"]]
    assert losses == sorted(losses, reverse=True) and len(losses) == 24
    assert Image.open(io.BytesIO(base64.b64decode(run["examined"]["worst"][0]["picture"]))).size == (28, 28)
    assert page.read_text().count("data:image/png") == 24
    assert ET.parse(figures / "confusion.svg").getroot().tag.endswith("svg")
    with Image.open(figures / "worst.png") as sheet:
        assert sheet.size == (6 * 124 + 12, 4 * 158 + 12)
    again = tmp_path / "again.html"
    assert tersenet("report", tmp_path / "w.safetensors.run", "-o", again).code == 0
    assert again.read_bytes() == page.read_bytes()


def test_pictures_of_a_user_s_loader_are_shown_as_the_network_reads_them(tersenet, other, tmp_path):
    words = other(
        "on_pictures", "colours", "--epochs", 1, "--figures", tmp_path / "f", "-o", tmp_path / "w.safetensors"
    )
    ended = tersenet(*words)
    assert ended.code == 0, ended.err
    run = json.loads((tmp_path / "w.safetensors.run" / "train.json").read_text())
    picture = Image.open(io.BytesIO(base64.b64decode(run["examined"]["worst"][0]["picture"])))
    assert picture.size == (7, 5) and picture.mode == "RGB" and {0, 255} <= set(picture.tobytes())
    assert (tmp_path / "f" / "worst.png").is_file()


def test_a_report_of_a_training_that_is_not_over_is_refused(tersenet, tmp_path):
    (tmp_path / "train.ckpt").touch()
    assert "this training is not over" in tersenet("report", tmp_path, "-o", tmp_path / "x.html").refused()


@pytest.mark.parametrize(("net", "data"), [("one_output", "yes_or_no"), ("two_outputs", "yes_or_no")])
def test_yes_and_no_are_learnt_and_their_table_has_two_rows(tersenet, other, tmp_path, net, data):
    words = other(net, data, "--loss", "bce", "--epochs", 20, "--lr", 0.1, "--report", tmp_path / "x.html", "--json")
    ended = tersenet(*words, "--figures", tmp_path / "f", "-o", tmp_path / "w.safetensors")
    assert ended.code == 0 and ended.record["test"]["accuracy"] > 0.8, ended.err
    assert [Path(name).name for name in ended.record["figures"]] == ["confusion.svg"]
    run = json.loads((tmp_path / "w.safetensors.run" / "train.json").read_text())
    assert torch.tensor(run["examined"]["confusion"]).shape == (2, 2)
    assert "<table>" in (tmp_path / "x.html").read_text()
    again = ["evaluate", words[1], "--weights", tmp_path / "w.safetensors", "--data", words[3], "--json"]
    assert tersenet(*again, "--loss", "bce").record["loss"] == ended.record["test"]["loss"]
    assert "the losses are" in tersenet(*again[:-1], "--loss", "hinge").refused(code=2)


def test_numbers_have_a_loss_and_no_accuracy(tersenet, other, tmp_path):
    words = other("one_output", "numbers", "--loss", "mae", "--epochs", 2, "--report", tmp_path / "x.html")
    ended = tersenet(*words, "-o", tmp_path / "w.safetensors")
    assert ended.code == 0 and "loss: validate" in ended.out and "accuracy" not in ended.out
    assert "the targets are no classes" in (tmp_path / "x.html").read_text()


def test_data_of_one_class_is_warned_of_also_when_quiet_and_trained(tersenet, other, tmp_path):
    ended = tersenet(*other("two_outputs", "one_class", "--epochs", 2, "--quiet", "-o", tmp_path / "w.safetensors"))
    assert ended.code == 0
    assert ended.err == (
        "warning: every label of the training data is 1; from one class alone a network learns to say nothing else\n"
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("with_nan", "epoch 1, step 3: the loss is nan; lower lr, set clip_grad_norm, or look for NaN in the data"),
        ("without_examples", "the data is empty"),
        ("beyond", "tells 2 classes apart"),
        ("nowhere", "nowhere"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(tersenet, other, tmp_path, data, said):
    assert said in tersenet(*other("two_outputs", data, "--epochs", 1, "-o", tmp_path / "w.safetensors")).refused()
    assert not (tmp_path / "w.safetensors").exists()


def test_places_that_cannot_be_written_are_refused_before_the_training(tersenet, tmp_path):
    (tmp_path / "file").touch()
    words = [*DIGITS[:-1], "--epochs", 1, "-o", tmp_path / "w.safetensors"]
    assert "end its name with .html" in tersenet(*words, "--report", tmp_path / "x.txt").refused(code=2)
    assert "no file can be written" in tersenet(*words, "--report", tmp_path / "none" / "x.html").refused()
    assert "no file can be written" in tersenet(*words, "--figures", tmp_path / "file").refused()
    assert not (tmp_path / "w.safetensors").exists()


def test_patience_says_when_it_ended(tersenet, tmp_path):
    words = [*DIGITS[:-1], "--epochs", 40, "--lr", 0.5, "--schedule", "constant", "--patience", 1]
    ended = tersenet(*words, "-o", tmp_path / "w.safetensors")
    assert ended.code == 0 and " of 40, stopped early, the best is " in ended.out


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="the extra tensorboard is not installed")
def test_events_are_there_for_tensorboard_also_of_a_run_that_was_over(tersenet, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = [*DIGITS, "--epochs", 2, "-o", tmp_path / "w.safetensors", "--tensorboard"]
    assert tersenet(*words, tmp_path / "first").code == 0
    assert tersenet(*words, tmp_path / "second").code == 0
    history = json.loads((tmp_path / "w.safetensors.run" / "train.json").read_text())["history"]["epochs"]
    for folder, axis in (("first", [21, 42]), ("second", [1, 2])):
        events = EventAccumulator(str(tmp_path / folder))
        events.Reload()
        for tag, name in (("loss/train", "train_loss"), ("accuracy/validation", "validation_accuracy"), ("lr", "lr")):
            assert [event.step for event in events.Scalars(tag)] == axis
            assert [event.value for event in events.Scalars(tag)] == pytest.approx([one[name] for one in history])


def test_events_without_the_package_are_refused_before_the_training(tersenet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    words = [*DIGITS[:-1], "-o", tmp_path / "w.safetensors", "--tensorboard", tmp_path / "tb"]
    assert "pip install 'tersenet[tensorboard]'" in tersenet(*words).refused()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("accelerate") is None, reason="the extra accelerate is not installed")
def test_two_processes_started_by_torchrun_speak_once_and_end_where_one_does(tersenet, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone, both = tmp_path / "alone.safetensors", tmp_path / "both.safetensors"
    words = ["train", "linear", "--data", "digits28", "--threads", "1", "--epochs", "1", "--json"]
    launch = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port), "-m", "tersenet"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *words, "-o", both],
        capture_output=True,
        text=True,
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["test"]["loss"] == pytest.approx(tersenet(*words, "-o", alone).record["test"]["loss"], rel=1e-4)
    expected = load_file(alone)
    for name, tensor in load_file(both).items():
        assert torch.allclose(tensor, expected[name], atol=1e-5)
