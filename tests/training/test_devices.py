"""Several processes compute what one does."""

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import process_of_two
import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.training import devices
from tersenet.training.devices import make_devices


@pytest.mark.skipif(find_spec("accelerate") is None, reason="the extra accelerate is not installed")
def test_two_processes_take_the_steps_of_one_and_write_one_checkpoint(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, process_of_two.__file__]
    package = Path(devices.__file__).parents[2]
    paths = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(port), tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            said, _ = process.communicate(timeout=240)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
    (first, curve), (second, _) = (torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2))
    weights, history = process_of_two.train()
    for name, expected in weights.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], expected, atol=1e-6)
    for got, expected in zip(curve["epochs"], history["epochs"], strict=True):
        assert got["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
        assert got["train_accuracy"] == expected["train_accuracy"]
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
