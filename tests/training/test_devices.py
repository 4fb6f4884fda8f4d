"""Several processes compute what one does."""

import multiprocessing
import os
import socket
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.training import TrainConfig, devices, fit
from tersenet.training.devices import make_devices

CONFIG = TrainConfig(epochs=2, batch_size=8, lr=0.1, keep_best=True, regularise={"l2": 1e-3})


def _train(pictures, **more):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    # 19 examples: the last batch has 3, which two processes share as 2 and 1.
    history = fit(model, pictures(19), pictures(9, seed=1), CONFIG, seed=3, **more)
    return model, history


def _worker(rank, port, pictures, folder):
    os.environ |= {
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    model, history = _train(pictures, checkpoint=folder / "x.ckpt")
    torch.save((model.state_dict(), history.to_dict()), folder / str(rank))


@pytest.mark.skipif(find_spec("accelerate") is None, reason="the extra accelerate is not installed")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, so that torch is imported once")
def test_two_processes_take_the_steps_of_one_and_write_one_checkpoint(pictures, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_worker, args=(rank, port, pictures, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    model, history = _train(pictures)
    (first, curve), (second, _) = (torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2))
    for name, expected in model.state_dict().items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], expected, atol=1e-6)
    for got, expected in zip(curve["epochs"], history.epochs, strict=True):
        assert got["train_loss"] == pytest.approx(expected.train_loss, rel=1e-5)
        assert got["train_accuracy"] == expected.train_accuracy
    assert (tmp_path / "x.ckpt").exists()


def test_one_process_is_plain_pytorch():
    plain = make_devices("cpu")
    model = nn.Linear(2, 2)
    assert type(plain) is devices.OneProcess and plain.wrap(model) is model


def test_many_processes_without_accelerate_get_a_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(TersenetError, match="4 processes were launched, but accelerate is not installed"):
        make_devices("cpu")
