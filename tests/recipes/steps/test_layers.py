"""Branches leave by their damage on the validation data, and the record names them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.recipes import Recipe, Task, parse, run


class Blocks(nn.Module):
    """Four branches around a stream; the second and the fourth add next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 8)) for _ in range(4)
        )
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            for number, scale in enumerate((6, 0.001, 6, 0.01)):
                self.blocks[number][3].weight.mul_(scale)
                self.blocks[number][3].bias.mul_(scale)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def network():
    torch.manual_seed(0)
    return capture(Blocks(), torch.zeros(2, 6)).eval()


X = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    Y = network()(X).argmax(1)
DATA = {"train": [(X[:100], Y[:100])], "validate": [(X, Y)]}


def carried_out(folder, data=DATA, **settings):
    recipe = Recipe.model_validate({"name": "short", "steps": [{"id": "layers", **settings}]})
    contents, record = run(network(), Task(recipe=recipe, run_dir=folder, **data))
    return artifact.from_contents(decode(contents)), record.stages[0]


def test_the_branches_that_add_next_to_nothing_leave(tmp_path):
    smaller, stage = carried_out(tmp_path, remove=2, examples=0)
    assert "blocks.1 left (blocks.1.0, blocks.1.3): quality 1.0000, best of 4" in stage["notes"]
    assert any(note.startswith("blocks.3 left") for note in stage["notes"])
    assert stage["validate"]["accuracy"] > 0.97
    assert {name.split(".")[1] for name in smaller.graph.parameters if name.startswith("blocks")} == {"0", "2"}
    assert "BatchNorm keeps the statistics of the larger network" in stage["notes"][-1]


def test_a_share_of_the_candidates_stays(tmp_path):
    smaller, stage = carried_out(tmp_path / "half", where="blocks.*", keep=0.5)
    assert len(stage["notes"]) == 2 and smaller(X).shape == (200, 3)
    _, stage = carried_out(tmp_path / "all", keep=1.0)
    assert stage["notes"] == ["no layer left the network: 1 of 4 that could are all of them"]


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(TersenetError, match="after blocks"):
        carried_out(tmp_path / "a", remove=5)
    with pytest.raises(TersenetError, match="chooses by validation data, and none was given"):
        carried_out(tmp_path / "b", data={"train": DATA["train"]}, remove=1)
    with pytest.raises(TersenetError, match="no layer matches 'nowhere'"):
        carried_out(tmp_path / "c", where="nowhere", remove=1)
    for text in ("remove: 0", "keep: 0", "remove: 1, keep: 0.5", 'where: "*"'):
        with pytest.raises(TersenetError, match="x.yaml: steps"):
            parse(f"steps: [{{id: layers, {text}}}]", "x.yaml")
