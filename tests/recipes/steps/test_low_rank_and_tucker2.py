"""Factorised in a run: ranks by every rule, fine-tuned, stored in a form, and a file that runs; nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tersenet import artifact, runtime
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.recipes import Recipe, Task, parse, run
from tersenet.recipes.steps.low_rank import LowRank
from tersenet.recipes.steps.tucker2 import Tucker2Step


class Blobs:
    """Three classes of pictures; a split as the zoo has them."""

    def __init__(self, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.y = torch.arange(n) % 3
        self.x = torch.randn(n, 3, 6, 6, generator=generator)
        self.x[range(n), self.y] += 1.5

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


DATA = {"train": Blobs(96, 0), "validate": Blobs(60, 1)}
TRAIN = {"epochs": 2, "batch_size": 16, "lr": 0.05}
X = Blobs(12, 2).x


def network() -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 30), nn.ReLU(), nn.Linear(30, 3),
    )  # fmt: skip
    return capture(model, torch.zeros(2, 3, 6, 6))


def carried_out(folder, *steps, data=DATA, given=None, **more):
    recipe = Recipe.model_validate({"name": "thin", "steps": list(steps)})
    contents, record = run(given or network(), Task(recipe=recipe, run_dir=folder, **data, **more))
    return contents, artifact.from_contents(decode(contents)), record


@pytest.mark.parametrize(
    ("amount", "ranks"),
    [
        ({"rank": 2}, {"0": 2, "3": 2, "7": 2}),
        ({"rank": {"7": 5, "*": 1}}, {"0": 1, "3": 1, "7": 5}),
        ({"keep": {"7": 0.25, "*": 0.5}}, {"0": 4, "3": 3, "7": 6}),
        ({"energy": 0.5}, None),
        ({"keep": 0.3}, None),
        ({"max_bytes": 6000}, None),
    ],
)
@pytest.mark.parametrize("covariance", [False, True])
def test_each_rule_gives_its_ranks(amount, ranks, covariance, tmp_path):
    step = {"id": "low_rank", "where": "0,3,7", "covariance": covariance, "examples": 96, **amount}
    _, smaller, record = carried_out(tmp_path, step)
    found = {
        one.name[:-2]: smaller.dense(one.weight).shape[0]
        for one in smaller.weighted_layers()
        if one.name.endswith(".0")
    }
    assert found == ranks or ranks is None
    weights = sum(smaller.dense(one.weight).numel() for one in smaller.weighted_layers()) - 90
    if "max_bytes" in amount:
        assert 0.85 * 6000 < 4 * weights <= 6000
    if amount.get("keep") == 0.3:
        whole = 3 * 12 * 9 + 12 * 8 * 9 + 128 * 30
        assert 0.25 * whole < weights <= 0.3 * whole
    assert sum("m n / (k (m + n + 1))" in note for note in record.stages[0]["notes"]) == len(found) > 0


def test_tucker_ranks_by_each_rule_and_what_cannot_be_is_told(tmp_path):
    _, smaller, record = carried_out(tmp_path / "given", {"id": "tucker2", "rank": {"3": [4, 3], "*": [2, 5]}})
    assert smaller.dense("0.1.weight").shape == (5, 2, 3, 3) and smaller.dense("3.1.weight").shape == (3, 4, 3, 3)
    notes = record.stages[0]["notes"]
    assert sum("left as it is; it has no kernel of more than one place" in note for note in notes) == 2
    assert sum("T S K^2 / (S P + P Q K^2 + Q T)" in note for note in notes) == 2
    _, smaller, _ = carried_out(tmp_path / "energy", {"id": "tucker2", "energy": {"3": 0.6, "*": 1}})
    assert "0.weight" in smaller.graph.parameters and "3.0.weight" in smaller.graph.parameters
    _, smaller, record = carried_out(tmp_path / "vbmf", {"id": "tucker2", "rank": "vbmf"})
    assert any("all of it would be noise" in note for note in record.stages[0]["notes"])


@pytest.mark.parametrize("step", [{"id": "low_rank", "energy": 0.6}, {"id": "tucker2", "rank": [3, 4]}])
@pytest.mark.parametrize(
    "then",
    [
        {"id": "store", "bits": 4},
        {"id": "store", "form": "dense", "dtype": "float16"},
        {"id": "prune", "keep": 0.5},
        {"id": "quantize", "examples": 96},
    ],
)
def test_it_trains_then_its_factors_take_a_form_and_the_file_runs(step, then, tmp_path):
    given = network()
    carried = carried_out(tmp_path, step | {"train": TRAIN, "teacher": {"temperature": 4}}, then, given=given)
    contents, smaller, record = carried
    assert len(record.stages[0]["history"]) == 2
    with torch.no_grad():
        answer = smaller.eval()(X).numpy()
    np.testing.assert_allclose(runtime.open_bytes(contents, threads=1)(X.numpy()), answer, rtol=1e-3, atol=1e-3)
    new = [name for name in smaller.forms() if name not in given.graph.parameters]
    assert len(new) >= 4 or then["id"] == "quantize"


def test_a_form_that_held_the_weight_goes_and_is_told(tmp_path):
    _, smaller, record = carried_out(
        tmp_path, {"id": "prune", "keep": 0.5}, {"id": "low_rank", "where": "7", "rank": 3}
    )
    assert "7.0.weight" in smaller.graph.parameters and "0.weight" in smaller.forms()
    assert record.stages[1]["notes"][0] == "7: its factors are plain numbers; the Sparse form that held it went"


def test_running_statistics_are_those_of_the_factorised_network(tmp_path):
    step = {"id": "tucker2", "where": "0", "rank": [2, 3], "examples": 96, "batch_size": 96}
    _, smaller, _ = carried_out(tmp_path / "data", step)
    with torch.no_grad():
        means: list[torch.Tensor] = []
        layer = next(one for one in smaller.weighted_layers() if one.name == "0.2")
        smaller.eval().watch((DATA["train"].x,), {layer.index: lambda _, out: means.append(out.mean((0, 2, 3)))})
    torch.testing.assert_close(smaller.dense("1.running_mean"), means[0], rtol=1e-4, atol=1e-4)
    _, same, record = carried_out(tmp_path / "none", step, data={})
    torch.testing.assert_close(same.dense("1.running_mean"), network().dense("1.running_mean"))
    assert "BatchNorm keeps the statistics" in record.stages[0]["notes"][-1]


def test_a_drop_that_is_not_allowed_is_tried_again_with_more(tmp_path):
    trained, _ = run_trained(tmp_path / "trained")
    step = {"id": "low_rank", "energy": 0.05, "examples": 0}
    _, _, record = carried_out(tmp_path / "goal", step, given=trained, max_drop=10.0)
    assert [stage["rejected"] for stage in record.stages][-1] is False and len(record.stages) > 1
    assert LowRank(rank=3).gentler() is None and LowRank(keep=0.5).gentler().keep == 0.75
    assert Tucker2Step(energy=0.995).gentler().energy == 1 and Tucker2Step(rank="vbmf").gentler() is None


def run_trained(folder):
    _, trained, record = carried_out(folder, {"id": "train", "train": TRAIN | {"epochs": 6}})
    return trained, record


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id: low_rank", "low_rank needs one of rank"),
        ("id: low_rank, rank: 3, keep: 0.5", "low_rank needs one of rank"),
        ("id: low_rank, rank: 0", "steps.0.low_rank.rank"),
        ("id: low_rank, rank: svd", "steps.0.low_rank.rank"),
        ("id: low_rank, energy: 1.5", "steps.0.low_rank.energy"),
        ("id: low_rank, max_bytes: 0", "steps.0.low_rank.max_bytes"),
        ("id: tucker2", "tucker2 needs either rank"),
        ("id: tucker2, rank: 4", "steps.0.tucker2.rank"),
        ("id: tucker2, rank: [4]", "steps.0.tucker2.rank"),
        ("id: tucker2, rank: [4, 0]", "steps.0.tucker2.rank"),
    ],
)
def test_settings_that_make_no_sense_are_refused(text, sentence):
    with pytest.raises(TersenetError, match=f"x.yaml: .*{sentence}"):
        parse(f"steps: [{{{text}}}]", "x.yaml")


def test_ranks_above_the_matrix_and_missing_data_are_refused(tmp_path):
    with pytest.raises(TersenetError, match="layer '9': rank 20 for a weight of 3 x 30; expected is 1 to 3"):
        carried_out(tmp_path / "a", {"id": "low_rank", "where": "7,9", "rank": 20})
    with pytest.raises(TersenetError, match=r"layer '0': ranks \(4, 5\) for a convolution of 3 to 12 channels"):
        carried_out(tmp_path / "b", {"id": "tucker2", "rank": [4, 5]})
    with pytest.raises(TersenetError, match="needs training data"):
        carried_out(tmp_path / "c", {"id": "low_rank", "rank": 2, "covariance": True}, data={})
    with pytest.raises(TersenetError, match="no layer matches 'fc9'"):
        carried_out(tmp_path / "d", {"id": "tucker2", "where": "fc9", "rank": "vbmf"})
    with pytest.raises(TersenetError, match="examples is 0"):
        carried_out(tmp_path / "e", {"id": "low_rank", "rank": 2, "covariance": True, "examples": 0})
