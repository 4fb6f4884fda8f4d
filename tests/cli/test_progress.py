"""What a long command says while it works: a bar on a terminal, few lines elsewhere, nothing when it is to be quiet."""

from __future__ import annotations

import io

import pytest

from tersenet.cli import progress
from tersenet.cli.progress import Progress, clock, left
from tersenet.cli.session import Session

STEP = {"kind": "train", "label": "share [b]", "epoch": 2, "epochs": 9, "step": 3, "steps": 8, "loss": 0.5}
EPOCH = STEP | {"stage": "epoch", "train_loss": 0.25, "validation_accuracy": 0.9}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (65, "1:05"), (7380, "2:03:00")])
def test_a_time_is_minutes_and_seconds(seconds, shown):
    assert clock(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(None, ""), (1.9, ""), (2.0, "0:02 left")])
def test_a_short_wait_needs_no_estimate(seconds, shown):
    assert left(seconds) == shown


def test_a_terminal_gets_a_bar_with_the_time_left_and_labels_as_they_are(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with Session().progress() as show:
        show(STEP | {"seconds_left": 65.0})
        show.bar.refresh()
        show(EPOCH | {"stage": "validate"})
        show({"kind": "evaluate", "label": "share: validate"})
        show(EPOCH)
        show({"kind": "done", "file_bytes": 9})
        show.counter("evaluate on test")(1, None)
    assert "1:05 left" in terminal.getvalue()
    assert "share [b]: epoch 2/9, loss 0.2500, validation accuracy 90.00 %, 1:05 left" in terminal.getvalue()


def test_the_running_accuracy_stands_beside_the_loss_where_there_is_one(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with Session().progress() as show:
        show(STEP | {"accuracy": 0.875})
        show.bar.refresh()
        show(STEP | {"accuracy": None, "loss": 0.25})
        show.bar.refresh()
    assert "loss 0.5000, accuracy 87.5 %" in terminal.getvalue() and "loss 0.2500, accuracy" not in terminal.getvalue()


def test_a_log_gets_a_line_an_epoch_and_one_in_a_while_between(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    show = Progress(Session())
    count = show.counter("evaluate on test")
    for now in (110.0, 131.0, 140.0):  # noqa: B007 - read by the clock above
        show(STEP | {"seconds_left": 65.0})
    show(EPOCH)
    for now in (150.0, 171.0):  # noqa: B007
        count(5, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "share [b]: epoch 2/9, 3/8, loss 0.5000, 1:05 left",
        "share [b]: epoch 2/9, loss 0.2500, validation accuracy 90.00 %, 1:05 left",
        "evaluate on test, 5/10, 1:11 left",
    ]


def test_scoring_inside_a_run_counts_its_batches_and_tells_the_time_left(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    show = Progress(Session())
    told = {"kind": "evaluate", "label": "original: test"}
    show(told)
    now = 131.0
    show(told | {"step": 5, "steps": 10})
    now = 180.0
    show(told | {"step": 6, "steps": None})
    assert capsys.readouterr().err.splitlines() == [
        "original: test, 5/10, 0:31 left",
        "original: test, 6",
    ]


@pytest.mark.parametrize("command", ["compress", "evaluate"])
def test_a_long_evaluation_says_how_far_it_is(tersenet, shelf, tmp_path, monkeypatch, command):
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    words = [f"{shelf.own}:network", "--data", f"{shelf.own}:loaders"]
    more = ["--recipe", "share-code", "-o", tmp_path / "x.terse"] if command == "compress" else []
    lines = tersenet(command, *words, *more).err.splitlines()
    named = ["original: test", "share: validate", "result: test"] if command == "compress" else ["evaluate on test"]
    for label in named:
        assert [f"{label}, {done}/3" for done in (1, 2, 3)] == [line for line in lines if line.startswith(f"{label}, ")]


def test_quiet_is_quiet(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with Session(quiet=True).progress() as show:
        show({"kind": "stage", "label": "prune"})
        show(EPOCH)
    assert terminal.getvalue() == ""
