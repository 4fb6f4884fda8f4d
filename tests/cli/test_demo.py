"""The demonstration with less training; continuous integration runs it whole."""

from __future__ import annotations

from tersenet import load


def test_the_demo_leaves_what_it_says(tersenet, shelf, tmp_path, monkeypatch):
    monkeypatch.setattr("tersenet.cli.demo.TRAINING", {"epochs": 3, "batch_size": 64, "optimiser": "adam", "lr": 1e-3})
    monkeypatch.setattr("tersenet.cli.demo.RECIPE", str(shelf.recipe))
    words = ["demo", "-o", tmp_path / "demo", "--threads", 1]
    ended = tersenet(*words, "--json")
    record = ended.record
    assert ended.code == 0
    folder = tmp_path / "demo"
    assert record["bytes_after"] == (folder / "digits.terse").stat().st_size < record["bytes_before"] / 5
    assert record["bytes_before"] == 4 * 266_610
    assert record["examples"] == 359 and record["accuracy_before"] > 0.8 and record["accuracy_after"] > 0.8
    assert (folder / "report.html").stat().st_size > 10_000
    load(folder / "digits.terse")
    again = tersenet(*words)
    assert "epoch" not in again.err and "x smaller" in again.out
