"""tersenet run, bench and tune-kernels on a small file, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tersenet import load


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TERSENET_CACHE", str(tmp_path / "kernels"))


@pytest.fixture
def given(shelf, tmp_path):
    import torch

    network = load(shelf.terse).eval()
    shape = network.graph.inputs[0].shape
    x = np.random.default_rng(0).random((3, *shape), np.float32)
    np.save(tmp_path / "x.npy", x)
    with torch.no_grad():
        return tmp_path / "x.npy", network(torch.from_numpy(x)).numpy()


def test_run_writes_what_the_network_answers(tersenet, shelf, given, tmp_path):
    path, expected = given
    record = tersenet("run", shelf.terse, path, "-o", tmp_path / "y.npy", "--json").record
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert list(record["shapes"].values()) == [list(y.shape)] and record["ms"] > 0
    tersenet("run", shelf.terse, path, "-o", tmp_path / "y.npz")
    assert [one.tobytes() for one in np.load(tmp_path / "y.npz").values()] == [y.tobytes()]


def test_run_refuses_bad_input_with_one_sentence(tersenet, shelf, given, tmp_path):
    path, _ = given
    np.save(tmp_path / "wrong.npy", np.zeros((1, 2, 3), np.float32))
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "several.npz", np.load(path))
    for bad in ("wrong.npy", "object.npy", "text.npy", "none.npy", "several.npz"):
        done = tersenet("run", shelf.terse, tmp_path / bad, "-o", tmp_path / "y.npy")
        assert done.code == 3
        assert done.err.count("\n") == 1, done.err
    assert tersenet("run", shelf.terse, path, "-o", tmp_path / "y.txt").code == 2
    assert tersenet("run", tmp_path / "none.terse", path, "-o", tmp_path / "y.npy").code == 3


def test_run_takes_a_picture_of_another_size_where_the_network_does(tersenet, tmp_path):
    import torch

    from tersenet import capture, save

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)).eval()
    save(capture(model, torch.zeros(2, 1, 8, 8)), tmp_path / "net.terse")
    x = torch.randn(2, 1, 5, 11)
    np.save(tmp_path / "x.npy", x.numpy())
    record = tersenet("run", tmp_path / "net.terse", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--json").record
    assert list(record["shapes"].values()) == [[2, 4, 1, 1]]
    with torch.no_grad():
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model(x).numpy(), rtol=1e-5, atol=1e-6)
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 2, 11), np.float32))
    done = tersenet("run", tmp_path / "net.terse", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert done.code == 3 and "an input of 2" in done.err


def test_bench_times_the_file_beside_torch(tersenet, shelf):
    options = ("--batch", "1,2", "--repeats", "3", "--against", "torch", "--layers", "--json")
    record = tersenet("bench", shelf.terse, *options).record
    assert [(row["batch"], row["who"]) for row in record["rows"]] == [
        (batch, who) for batch in (1, 2) for who in ("tersenet", "torch")
    ]
    assert all(row["median_ms"] > 0 for row in record["rows"])
    assert any(layer["kernel"] for layer in record["layers"])
    assert tersenet("bench", shelf.terse, "--batch", "0").code == 2
    assert tersenet("bench", shelf.terse, "--against", "abacus").code == 3


def test_tune_kernels_keeps_the_fastest(tersenet, shelf, tmp_path):
    record = tersenet("tune-kernels", shelf.terse, "--threads", "1", "--json").record
    for layer in record["layers"]:
        assert layer["tried"][layer["kernel"]] == min(layer["tried"].values())
    (kept,) = (tmp_path / "kernels").glob("*.json")
    assert json.loads(kept.read_text()) == {layer["weight"]: layer["kernel"] for layer in record["layers"]}
