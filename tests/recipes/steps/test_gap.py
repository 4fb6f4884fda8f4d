"""The step `gap`: the head leaves, the old network teaches, and files run on other sizes in torch and without."""

import pytest
import torch
from structures import distance
from torch import nn

import tersenet
from tersenet import runtime
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.distill import Teacher
from tersenet.recipes import Recipe, Task, parse, run


def network():
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(216, 20),
        nn.ReLU(),
        nn.Linear(20, 3),
    )
    return capture(nn.Sequential(*layers), torch.zeros(2, 1, 8, 8)).eval()


X = torch.randn(160, 1, 8, 8, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    Y = network()(X).argmax(1)
DATA = {"train": [(X, Y)], "validate": [(X, Y)]}


def carried_out(folder, data=DATA, start=None, **settings):
    recipe = Recipe.model_validate({"name": "short", "steps": [{"id": "gap", **settings}]})
    contents, record = run(start or network(), Task(recipe=recipe, run_dir=folder, **data))
    (folder / "x.terse").write_bytes(contents)
    return tersenet.load(folder / "x.terse").eval(), record.stages[0]


def test_the_file_of_a_step_runs_on_other_sizes_in_torch_and_without(tmp_path):
    smaller, stage = carried_out(tmp_path, train={"epochs": 2, "lr": 0.01})
    assert stage["notes"] == ["4, 6 left: 4,475 parameters are 93"]
    assert [epoch["epoch"] for epoch in stage["history"]] == [1, 2]
    for side in (3, 8, 13):
        x = torch.randn(2, 1, side, side + 2)
        with torch.no_grad():
            expected = smaller(x)
        session = runtime.open(tmp_path / "x.terse", threads=1, shapes=[(1, side, side + 2)])
        assert session.inputs[0].shape == (None, 1, side, side + 2)
        assert distance((torch.from_numpy(session(x.numpy())),), (expected,)) < 1e-5


def test_the_old_network_teaches_unless_told_otherwise(tmp_path):
    step = parse("steps: [{id: gap}]", "x.yaml").steps[0]
    assert step.teacher == Teacher() and step.teacher.label_share == 0.1
    taught, _ = carried_out(tmp_path / "a", train={"epochs": 1})
    alone, _ = carried_out(tmp_path / "b", train={"epochs": 1}, teacher=None)
    assert not torch.equal(taught.dense("gap.weight"), alone.dense("gap.weight"))
    # With labels alone in its loss the teacher is not heard.
    deaf, _ = carried_out(tmp_path / "c", train={"epochs": 1}, teacher={"labels": 1})
    torch.testing.assert_close(deaf.dense("gap.weight"), alone.dense("gap.weight"))


def test_without_data_or_examples_the_start_is_random(tmp_path):
    for name, data, more in (("a", {}, {}), ("b", DATA, {"examples": 0})):
        _, stage = carried_out(tmp_path / name, data=data, **more)
        assert stage["notes"][0].startswith("the new head starts at random")
    _, stage = carried_out(tmp_path / "c")
    assert len(stage["notes"]) == 1
    smaller, stage = carried_out(tmp_path / "d", hidden=12)
    assert stage["notes"] == ["4, 6 left: 4,475 parameters are 195"] and smaller.dense("gap.hidden.bias").shape == (12,)


def test_the_fitted_start_is_nearer_to_the_old_answers_than_a_random_one(tmp_path):
    fitted, random = carried_out(tmp_path / "a")[0], carried_out(tmp_path / "b", examples=0)[0]
    with torch.no_grad():
        far = [float((one(X) - network()(X)).square().mean()) for one in (fitted, random)]
    assert far[0] < 0.5 * far[1]


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(TersenetError, match="no layer matches 'fc"):
        carried_out(tmp_path / "a", where="fc*")
    with pytest.raises(TersenetError, match="'6' leaves out 4"):
        carried_out(tmp_path / "b", where="6")
    with pytest.raises(TersenetError, match="needs training data, and none was given"):
        carried_out(tmp_path / "c", data={}, train={"epochs": 1})
    with pytest.raises(TersenetError, match="fully connected from its input on"):
        carried_out(tmp_path / "d", start=capture(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), X[:2]))
    pooled = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(TersenetError, match="no head to replace"):
        carried_out(tmp_path / "e", start=capture(pooled, X[:2]))
    for text in ("examples: -1", "hidden: -1", "epochs: 3", "teacher: {temperature: 0}"):
        with pytest.raises(TersenetError, match="x.yaml: steps"):
            parse(f"steps: [{{id: gap, {text}}}]", "x.yaml")
