"""A checkpoint is whole, or it is refused and the one before it serves."""

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.training.checkpoint import Checkpoint, load, older, save

TENSORS = {
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 4),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
}


def write(path, number):
    tied = TENSORS["bytes"]
    save(
        path,
        Checkpoint(tensors={**TENSORS, "tied": tied}, values={"fingerprint": {"seed": 1}, "number": number}),
    )


def number(path):
    found = load(path, {"seed": 1})
    return None if found is None else found.values["number"]


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    write(tmp_path / "x", 0.1)
    found = load(tmp_path / "x", {"seed": 1})
    assert found.values["number"] == 0.1
    for name, tensor in TENSORS.items():
        assert found.tensors[name].dtype == tensor.dtype and found.tensors[name].shape == tensor.shape
        assert found.tensors[name].numpy().tobytes() == tensor.contiguous().numpy().tobytes()


def test_no_checkpoint_is_none_and_the_folder_is_made(tmp_path):
    assert load(tmp_path / "x", {}) is None
    write(tmp_path / "a" / "b" / "x", 1)
    assert number(tmp_path / "a" / "b" / "x") == 1


def test_the_one_before_is_kept_and_serves_when_the_newest_is_gone(tmp_path):
    for n in (1, 2, 3):
        write(tmp_path / "x", n)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.old"]
    assert number(tmp_path / "x") == 3
    (tmp_path / "x").unlink()
    assert number(tmp_path / "x") == 2


def test_every_damage_of_the_newest_falls_back_to_the_one_before(tmp_path):
    path = tmp_path / "x"
    write(path, 1)
    write(path, 2)
    old, new = older(path).read_bytes(), path.read_bytes()
    damages = [new[:n] for n in (0, 1, 7, 12, 20, len(new) - 1)] + [new + b"\0"]
    damages += [bytes([*new[:at], new[at] ^ 1, *new[at + 1 :]]) for at in range(0, len(new), 7)]
    for damaged in damages:
        path.write_bytes(damaged)
        older(path).write_bytes(old)
        assert number(path) == 1
        write(path, 4)
        assert number(path) == 4 and older(path).read_bytes() == old, "a damaged one never replaces a whole one"


def test_two_damaged_ones_are_refused_by_name(tmp_path):
    for n in (1, 2):
        write(tmp_path / "x", n)
    for path in (tmp_path / "x", tmp_path / "x.old"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TersenetError, match=r"x: the checkpoint is damaged.*x\.old: .*delete the checkpoint"):
        number(tmp_path / "x")


def test_a_checkpoint_of_another_run_is_refused_even_if_older_ones_fit(tmp_path):
    write(tmp_path / "x", 1)
    with pytest.raises(TersenetError, match="seed is 1 there and 2 here"):
        load(tmp_path / "x", {"seed": 2})
