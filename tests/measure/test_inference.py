"""Networks are timed as they are used, and the process is left as it was."""

import torch
from torch import nn

from tersenet.forms import Codebook, Sparse
from tersenet.graph import capture
from tersenet.measure.inference import compare_networks


class Watched(nn.Module):
    """Notes how it is called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        self.calls.append((self.training, torch.is_grad_enabled(), torch.get_num_threads()))
        return x


def test_each_is_called_alike_for_inference_on_one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, other = Watched(), Watched()
        inputs = (torch.zeros(1, 3),)
        found = compare_networks({"one": (one, inputs), "other": (other, inputs)})
        assert torch.get_num_threads() == 2 and torch.is_grad_enabled()
    finally:
        torch.set_num_threads(threads)
    assert set(one.calls) == {(False, False, 1)} and one.calls == other.calls
    assert len(one.calls) == 1 + found["one"].repeats == 1 + found["other"].repeats
    assert one.training and other.training


def test_other_calls_take_turns_with_the_networks():
    turns = []

    class Turn(nn.Module):
        def forward(self, x):
            turns.append("network")

    compare_networks({"network": (Turn(), (torch.zeros(1, 3),))}, {"other": lambda: turns.append("other")})
    assert turns[2:] == ["network", "other"] * (len(turns) // 2 - 1), "after a warm-up of one call each"


def test_a_form_makes_its_weight_dense_once(monkeypatch):
    network = capture(nn.Linear(8, 4), torch.zeros(2, 8))
    network.attach("weight", Sparse.fit(network.dense("weight"), values=lambda kept: Codebook.fit(kept, k=4)))
    forward, made = Sparse.forward, []
    monkeypatch.setattr(Sparse, "forward", lambda self: (made.append(1), forward(self))[1])
    assert compare_networks({"": (network, (torch.zeros(1, 8),))})[""].repeats > 1
    assert len(made) == 1
