"""A student and its teacher from the command line: every loss, every kind of teacher, and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import tersenet as package

MORE = """\
from tersenet.zoo import network, load_weights

def answers(x):
    return x.flatten(1)[:, :3]

def mute(x):
    raise ValueError("no answer today")
"""


@pytest.fixture
def own(shelf):
    """Teacher, student and data of the user's own, all in one file."""
    return ["--student", f"{shelf.own}:network", "--data", f"{shelf.own}:loaders", "--epochs", 2, "--lr", 0.01]


@pytest.mark.parametrize("loss", ["soft", "logits", "values", "hint", "features"])
def test_a_student_of_every_loss_is_written_and_resumes(tersenet, shelf, own, tmp_path, loss):
    words = ["distill", "--teacher", f"{shelf.own}:network", *own, "--loss", loss, "-o", tmp_path / "s.safetensors"]
    record = tersenet(*words, "--json").record
    assert record["epochs"] == (3 if loss == "hint" else 2) and record["bytes"] > 0
    assert record["test"]["accuracy"] >= 0 and record["teacher"] and record["before"]
    assert bool(record["pairs"]) == (loss in ("hint", "features"))
    first = (tmp_path / "s.safetensors").read_bytes()
    (tmp_path / "s.safetensors").unlink()
    again = tersenet(*words)
    assert again.code == 0 and "epoch 1/2" not in again.err
    assert (tmp_path / "s.safetensors").read_bytes() == first
    assert "belongs to another run" in tersenet(*words, "--temperature", 3, "--labels", 0.5, "--seed", 1).refused()


def test_an_ensemble_is_trained_grows_and_teaches(tersenet, tmp_path):
    folder = tmp_path / "members"
    train = ["ensemble", "train", "linear", "--data", "digits28", "--epochs", 1, "-o", folder]
    assert tersenet(*train, "--members", 1).code == 0
    alone = (folder / "member-1.safetensors").read_bytes()
    grown = tersenet(*train, "--members", 2, "--json")
    assert "member-1" not in grown.err and (folder / "member-1.safetensors").read_bytes() == alone
    record = grown.record
    assert [one["seed"] for one in record["members"]] == [0, 1] and record["ensemble"]["members"] == 2
    accuracies = [one["test"]["accuracy"] for one in record["members"]]
    assert accuracies[0] != accuracies[1] and record["ensemble"]["test"]["accuracy"] >= min(accuracies)
    assert {path.name for path in folder.iterdir()} == {
        "ensemble.json", "member-1.safetensors", "member-2.safetensors",
    }  # fmt: skip
    assert "trained otherwise (train differ)" in tersenet(*train, "--members", 2, "--lr", 0.5).refused()
    words = ["distill", "--student", "linear", "--data", "digits28", "--loss", "logits", "--epochs", 2]
    taught = tersenet(*words, "--teacher", folder, "-o", tmp_path / "s.safetensors", "--json").record
    assert taught["teacher"]["accuracy"] == record["ensemble"]["test"]["accuracy"]
    assert (
        "an ensemble of 2"
        in tersenet(*words, "--loss", "hint", "--teacher", folder, "-o", tmp_path / "h.safetensors").refused()
    )


def test_stored_answers_are_found_again_by_the_next_student(tersenet, shelf, tmp_path):
    words = ["distill", "--teacher", "linear", "--teacher-weights", shelf.weights, "--student", "linear"]
    words += ["--data", "digits28", "--augment", "shift", "--store-answers", tmp_path / "kept", "--views", 2]
    first = tersenet(*words, "--epochs", 2, "-o", tmp_path / "a.safetensors", "--json")
    assert first.record["epochs"] == 2
    (kept,) = (tmp_path / "kept").glob("*.npy")
    written = kept.stat().st_mtime_ns
    assert tersenet(*words, "--epochs", 4, "--temperature", 2, "-o", tmp_path / "b.safetensors").code == 0
    assert list((tmp_path / "kept").glob("*.npy")) == [kept] and kept.stat().st_mtime_ns == written
    assert tersenet(*words, "--epochs", 2, "--mixup", 0.01, "-o", tmp_path / "d.safetensors").code == 0
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 2  # other views have other answers
    assert tersenet(*words, "--epochs", 3, "-o", tmp_path / "c.safetensors", "--json").record["epochs"] == 3


def test_a_file_learns_and_stays_a_file(tersenet, shelf, tmp_path):
    words = ["distill", "--teacher", "linear", "--teacher-weights", shelf.weights, "--student", shelf.terse]
    words += ["--data", "digits28", "--epochs", 1, "--lr", 0.001]
    ended = tersenet(*words, "-o", tmp_path / "s.terse", "--json")
    assert ended.record["bytes"] == (tmp_path / "s.terse").stat().st_size
    assert package.load(tmp_path / "s.terse")(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert ".terse" in tersenet(*words, "-o", tmp_path / "s.safetensors").refused(2)


def test_a_teacher_reads_the_pixels_in_its_own_scale(tersenet, tmp_path):
    """The file says that its inputs are pixels; the student's data is prepared by 1/256."""
    from tersenet.artifact import save
    from tersenet.graph import capture
    from tersenet.ir import Preprocess
    from tersenet.zoo import network

    torch.manual_seed(0)
    model = network("linear")
    save(capture(model, torch.zeros(2, 1, 28, 28), preprocess=Preprocess(scale=1 / 256)), tmp_path / "same.terse")
    with torch.no_grad():
        next(iter(model.parameters())).div_(256)
    save(capture(model, torch.zeros(2, 1, 28, 28), preprocess=Preprocess()), tmp_path / "raw.terse")
    words = ["distill", "--student", "linear", "--data", "digits28", "--loss", "logits", "--epochs", 1, "--lr", 0.001]
    found = [
        tersenet(*words, "--teacher", tmp_path / f"{name}.terse", "-o", tmp_path / f"{name}.safetensors", "--json")
        for name in ("same", "raw")
    ]
    losses = [one.record["teacher"]["loss"] for one in found]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("same", "raw"))
    assert all(torch.allclose(first[key], second[key], atol=1e-5) for key in first)


def test_a_function_of_the_users_teaches_and_its_error_is_a_sentence(tersenet, own, tmp_path):
    (tmp_path / "more.py").write_text(MORE)
    words = ["distill", *own, "--loss", "logits", "-o", tmp_path / "s.safetensors"]
    assert tersenet(*words, "--teacher", f"{tmp_path / 'more.py'}:answers").code == 0
    assert "ValueError: no answer today" in tersenet(*words, "--teacher", f"{tmp_path / 'more.py'}:mute").refused()


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--temperature", 0], 3, "--temperature: Input should be greater than 0"),
        (["--temperature", "nan"], 3, "--temperature"),
        (["--temperature", -1, "--loss", "logits"], 3, "--temperature"),
        (["--labels", 1.5], 3, "--labels"),
        (["--loss", "l2"], 2, "known are soft"),
        (["--hint", "0:0"], 2, "which --loss soft does not"),
        (["--loss", "hint", "--hint", "0"], 3, "student_layer:teacher_layer"),
        (["--loss", "hint", "--hint", "0:nine"], 3, "no layer 'nine'"),
        (["--loss", "attention"], 3, "can be matched for attention"),
        (["--hint-epochs", 1], 2, "belongs to --loss hint"),
        (["--views", 2], 2, "give --store-answers"),
        (["--mixup", 0.5], 2, "give --store-answers"),
        (["--store-answers", "kept"], 2, "examples have no numbers"),
        (["--loss", "hint", "--store-answers", "kept"], 2, "looks inside the teacher"),
        (["--teacher-weights", "a.pt", "--teacher-weights", "b.pt"], 2, "b.pt belongs to no --teacher"),
        (["--lr", -1], 3, "lr"),
        (["-o", "s.pt"], 2, "written as .safetensors"),
    ],
)
def test_what_cannot_be_is_refused(tersenet, shelf, own, tmp_path, monkeypatch, words, code, why):
    monkeypatch.chdir(tmp_path)
    asked = ["distill", "--teacher", f"{shelf.own}:network", *own, "-o", "s.safetensors", *words]
    assert why in tersenet(*asked).refused(code)
    assert not list(tmp_path.glob("s.safetensors*"))


def test_teachers_that_do_not_fit_are_refused(tersenet, shelf, own, tmp_path):
    words = ["distill", *own, "-o", tmp_path / "s.safetensors"]
    assert (
        "the teacher answers (16, 12), the student (16, 3)"
        in tersenet(*words, "--teacher", f"{shelf.own}:twelve").refused()
    )
    assert "no trained weights" in tersenet(*words, "--teacher", "linear").refused(2)
    assert "no ensemble.json in it" in tersenet(*words, "--teacher", tmp_path).refused()
    (tmp_path / "ensemble.json").write_text('{"members": 3}')
    assert "not the record of an ensemble" in tersenet(*words, "--teacher", tmp_path).refused()
    (tmp_path / "ensemble.json").write_text('{"net": "linear", "members": []}')
    assert "no finished member" in tersenet(*words, "--teacher", tmp_path).refused()
    assert (
        "member" in tersenet(*words, "--teacher", f"{shelf.own}:twelve", "--teacher", f"{shelf.own}:network").refused()
    )
    assert not (tmp_path / "s.safetensors.run").exists()


def test_an_ensemble_does_nothing_else(tersenet, tmp_path):
    words = ["linear", "--data", "digits28", "-o", tmp_path / "e"]
    assert "nothing an ensemble does" in tersenet("ensemble", "average", *words).refused(2)
    assert "not a network of the zoo" in tersenet("ensemble", "train", "lenet55", *words[1:]).refused()


def test_compress_takes_another_teacher(tersenet, shelf, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("steps: [{id: distill, teacher: {loss: logits}, train: {epochs: 1}}]")
    words = ["compress", "linear", "--weights", shelf.weights, "--data", "digits28", "-o", tmp_path / "x.terse"]
    assert tersenet(*words, "--recipe", recipe, "--teacher", shelf.terse).code == 0
    refused = tersenet(*words, "--recipe", "dense", "--teacher", shelf.terse, "--run-dir", tmp_path / "other").refused()
    assert "no step of recipe dense learns" in refused
