"""Each layer meets what the changed layers before it give, and is told what the original answers."""

from __future__ import annotations

import torch
from torch import nn

from tersenet.graph import capture
from tersenet.methods._meetings import first_uses, meetings


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.again, self.last = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.again(torch.relu(self.again(self.words(x)))))


def test_inputs_come_from_the_changed_network_and_answers_from_the_original():
    torch.manual_seed(0)
    tokens = torch.randint(0, 5, (6, 3))
    original = capture(_Twice(), tokens[:2])
    changed = original.clone()
    weights = {layer.weight for layer in original.weighted_layers()}
    seen = {}
    for layer, given, wanted in meetings(changed, original, [(tokens[:4],), (tokens[4:],)], weights):
        seen[layer.name] = (torch.cat(given) if given else None, torch.cat(wanted) if wanted else None)
        changed.set_tensor(layer.weight, 2 * changed.dense(layer.weight))
    assert list(seen) == ["words", "again", "last"]
    assert seen["words"] == (None, None)
    embedded = nn.functional.embedding(tokens, original.dense("words.weight"))
    torch.testing.assert_close(seen["again"][0], 2 * embedded)
    torch.testing.assert_close(seen["last"][1], original(tokens).detach())
    twice = {name: changed.dense(name) for name in ("again.weight", "again.bias")}
    inner = nn.functional.linear(2 * embedded, twice["again.weight"], twice["again.bias"]).relu()
    torch.testing.assert_close(seen["last"][0], nn.functional.linear(inner, twice["again.weight"], twice["again.bias"]))


def test_only_the_asked_for_weights_come_and_each_at_its_first_use():
    net = capture(_Twice(), torch.zeros(2, 3, dtype=torch.int64))
    uses = first_uses(net.weighted_layers())
    assert [layer.name for layer in uses] == ["words", "again", "last"]
    assert uses[1].index < [layer.index for layer in net.weighted_layers() if layer.name == "again"][1]
    batches = [(torch.zeros(2, 3, dtype=torch.int64),)]
    assert [layer.name for layer, _, _ in meetings(net, net, batches, {"last.weight"})] == ["last"]
