"""A run ends in the same bytes wherever it was stopped, keeps its promises, and refuses what cannot be done."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.recipes import GoalNotMet, Recipe, Task, run

RECIPE = Recipe.model_validate(
    {
        "name": "short",
        "steps": [
            {"id": "train", "train": {"epochs": 3, "batch_size": 16, "lr": 0.05}},
            {"id": "prune", "keep": {"last": 0.5, "*": 0.2}, "iterations": 2, "train": {"epochs": 2, "batch_size": 16}},
            {"id": "store", "bits": 3, "train": {"epochs": 2, "batch_size": 16, "optimiser": "adam", "lr": 0.001}},
            {"id": "round"},
        ],
    }
)


class Blobs:
    """Two classes of points; a split as the zoo has them."""

    def __init__(self, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.y = torch.arange(n) % 3
        self.x = torch.randn(n, 12, generator=generator) + 2 * nn.functional.one_hot(self.y, 12)

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


@pytest.fixture(scope="module")
def data():
    return {"train": Blobs(96, 0), "validate": Blobs(60, 1), "test": Blobs(60, 2)}


def _network():
    torch.manual_seed(0)
    return capture(
        nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)), torch.zeros(2, 12)
    )


def _task(data, run_dir, **changes):
    return dataclasses.replace(Task(recipe=RECIPE, run_dir=run_dir, **data), **changes)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    return run(_network(), _task(data, tmp_path_factory.mktemp("whole")))


def test_the_file_is_the_network_that_was_scored_and_the_ledger_adds_up(undisturbed, data):
    contents, record = undisturbed
    network = artifact.from_contents(decode(contents))
    network.eval()
    right = (network(data["test"].x).argmax(1) == data["test"].y).float().mean()
    assert float(right) == pytest.approx(record.final["test"]["accuracy"])
    assert sum(row["size_bytes"] for row in record.final["ledger"]) == len(contents) == record.final["file_bytes"]
    assert [stage["step"] for stage in record.stages] == ["train", "prune", "prune", "store", "round"]
    assert int(torch.count_nonzero(network.dense("0.weight"))) == round(0.2 * 12 * 16)


def test_both_networks_are_timed_and_the_file_does_not_say_how_long_they_took(undisturbed):
    contents, record = undisturbed
    before, after = (record.final["cost"][which]["latency"] for which in ("before", "after"))
    assert set(before) == {"torch"} and set(after) == {"torch", "tersenet"}
    assert all(found["median_ms"] > 0 and found["repeats"] >= 3 for found in (*before.values(), *after.values()))
    assert b"latency" not in json.dumps(decode(contents).model.provenance).encode()


def test_a_network_of_numbers_is_scored_by_the_loss_it_was_trained_for(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(32, 12)
    pairs, probabilities = [(x, x[:, :3])], [(x, torch.softmax(x[:, :3], 1))]
    network = capture(nn.Linear(12, 3), x)

    def score(name, data, **train):
        steps = [{"id": "train", "train": train}] if train else []
        recipe = Recipe.model_validate({"name": name, "steps": steps})
        _, record = run(network, Task(recipe=recipe, train=data, validate=data, run_dir=tmp_path / name))
        return record.final["original"]["validate"]

    squared = nn.functional.mse_loss(network(x), pairs[0][1]).item()
    assert score("untrained", pairs) == pytest.approx({"loss": squared, "examples": 32})
    assert score("squares", pairs, epochs=1, loss="mse")["loss"] == pytest.approx(squared)
    entropy = nn.functional.cross_entropy(network(x), probabilities[0][1]).item()
    assert score("soft", probabilities, epochs=1)["loss"] == pytest.approx(entropy, rel=1e-5)


def test_a_run_stopped_at_every_event_ends_in_the_same_bytes(undisturbed, data, tmp_path):
    events = []
    run(_network(), _task(data, tmp_path / "count"), events.append)
    assert len(events) > 15
    for stop in range(len(events)):
        seen = 0

        def interrupt(event, stop=stop):
            nonlocal seen
            seen += 1
            if seen == stop + 1:
                raise KeyboardInterrupt

        folder = tmp_path / "stopped"
        with pytest.raises(KeyboardInterrupt):
            run(_network(), _task(data, folder), interrupt)
        again, _ = run(_network(), _task(data, folder))
        assert again == undisturbed[0], events[stop]
        shutil.rmtree(folder)


def test_every_score_of_a_run_is_told_batch_by_batch(data, tmp_path):
    events = []
    long = data | {"validate": Blobs(600, 1)}
    run(_network(), _task(long, tmp_path, recipe=RECIPE.model_copy(update={"steps": ()})), events.append)
    told = [(event["label"], event.get("step"), event.get("steps")) for event in events if event["kind"] == "evaluate"]
    assert told == [
        (f"{which}: {split}", *count)
        for which in ("original", "result")
        for split, of in (("validate", 3), ("test", 1))
        for count in ((None, None), *((done, of) for done in range(1, of + 1)))
    ]


def test_a_finished_run_is_not_done_again(undisturbed, data, tmp_path):
    run(_network(), _task(data, tmp_path))
    events = []
    again, _ = run(_network(), _task(data, tmp_path), events.append)
    assert again == undisturbed[0]
    assert not [event for event in events if event["kind"] == "train"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"recipe": RECIPE.model_copy(update={"coder": "rans"})}])
def test_the_folder_of_another_run_is_refused(data, tmp_path, change):
    run(_network(), _task(data, tmp_path))
    with pytest.raises(TersenetError, match="belongs to another run"):
        run(_network(), _task(data, tmp_path, **change))


def test_other_data_of_the_same_length_is_another_run(data, tmp_path):
    run(_network(), _task(data, tmp_path))
    with pytest.raises(TersenetError, match="belongs to another run"):
        run(_network(), _task(data, tmp_path, test=Blobs(60, 3)))


def test_a_promise_that_pruning_breaks_is_kept_by_the_stage_before(data, tmp_path):
    harsh = Recipe.model_validate(
        {"name": "harsh", "steps": [RECIPE.steps[0], {"id": "prune", "keep": 0.01, "iterations": 4}]}
    )
    trained, record = run(
        _network(), _task(data, tmp_path / "train", recipe=harsh.model_copy(update={"steps": harsh.steps[:1]}))
    )
    start = artifact.from_contents(decode(trained))
    _, record = run(
        start, _task(data, tmp_path / "kept", recipe=harsh.model_copy(update={"steps": harsh.steps[1:]}), max_drop=5.0)
    )
    assert record.stages[-1]["rejected"]
    assert record.final["drop_points"] <= 5.0


def test_sharing_takes_more_bits_until_the_promise_is_kept_or_says_that_none_does(data, tmp_path):
    trained, _ = run(
        _network(), _task(data, tmp_path / "t", recipe=RECIPE.model_copy(update={"steps": RECIPE.steps[:1]}))
    )
    start = artifact.from_contents(decode(trained))
    share = Recipe.model_validate({"name": "share", "steps": [{"id": "store", "bits": 1, "init": "linear"}]})
    _, record = run(start, _task(data, tmp_path / "more", recipe=share, max_drop=1.0))
    assert record.stages[0]["rejected"]
    assert not record.stages[-1]["rejected"]
    assert record.final["drop_points"] <= 1.0
    with pytest.raises(GoalNotMet, match="at its gentlest"):
        run(start, _task(data, tmp_path / "none", recipe=share, max_drop=-101.0))


def test_bad_input_is_refused_before_any_work(data, tmp_path):
    broken = _network()
    with torch.no_grad():
        broken.layer("0").weight[0, 0] = float("nan")
    with pytest.raises(TersenetError, match=r"tensor '0.weight' holds 1 NaN"):
        run(broken, _task(data, tmp_path / "a"))
    with pytest.raises(TersenetError, match="needs training data"):
        run(_network(), _task(data, tmp_path / "b", train=None))
    with pytest.raises(TersenetError, match="no validation data"):
        run(_network(), _task(data, tmp_path / "c", validate=None, max_drop=1.0))
    (tmp_path / "file").write_text("")
    with pytest.raises(TersenetError, match="cannot be made"):
        run(_network(), _task(data, tmp_path / "file" / "d"))
    folder = tmp_path / "e"
    run(_network(), _task(data, folder, recipe=RECIPE.model_copy(update={"steps": ()})))
    (folder / "run.json").write_text("{")
    with pytest.raises(TersenetError, match="not a run record"):
        run(_network(), _task(data, folder))


def test_the_record_is_json_that_names_every_stage(data, tmp_path):
    run(_network(), _task(data, tmp_path))
    record = json.loads((tmp_path / "run.json").read_text())
    for stage in record["stages"]:
        assert (tmp_path / stage["file"]).stat().st_size == stage["raw_bytes"]
    assert not list(tmp_path.glob("*.ckpt*"))


def test_batchnorm_statistics_are_those_of_the_changed_network(data, tmp_path):
    recipe = Recipe.model_validate(
        {"name": "bn", "steps": [{"id": "prune", "keep": 0.3}, {"id": "batchnorm", "examples": 96, "batch_size": 96}]}
    )
    contents, _ = run(_network(), _task(data, tmp_path, recipe=recipe))
    network = artifact.from_contents(decode(contents))
    hidden = data["train"].x @ network.dense("0.weight").T + network.dense("0.bias")
    assert torch.allclose(network.dense("1.running_mean"), hidden.mean(0), atol=1e-5)
    assert torch.allclose(network.dense("1.running_var"), hidden.var(0), rtol=1e-4)
    plain = capture(nn.Linear(12, 3), torch.zeros(2, 12))
    _, record = run(plain, _task(data, tmp_path / "none", recipe=recipe))
    assert "no BatchNorm" in record.stages[1]["notes"][0]


def test_steps_that_change_the_op_list_keep_the_answers_and_go_on_after_a_stop(data, tmp_path):
    train = {"epochs": 2, "batch_size": 16}
    teacher = {"temperature": 2, "labels": 0.5}
    recipe = Recipe.model_validate(
        {
            "name": "smaller",
            "steps": [
                {"id": "prune", "keep": 0.1, "train": train, "teacher": teacher},
                {"id": "remove_dead"},
                {"id": "store", "bits": 3, "train": train | {"optimiser": "adam", "lr": 0.001}, "teacher": teacher},
                {"id": "fold_batchnorm"},
            ],
        }
    )
    contents, record = run(_network(), _task(data, tmp_path / "whole", recipe=recipe))
    pruned, removed, stored, folded = record.stages
    assert "0: " in removed["notes"][0] and "outputs were dead and left" in removed["notes"][0]
    assert removed["validate"]["accuracy"] == pruned["validate"]["accuracy"]
    assert folded["validate"]["accuracy"] == stored["validate"]["accuracy"]
    assert removed["coded_bytes"] < pruned["coded_bytes"]
    before, after = record.final["cost"]["before"], record.final["cost"]["after"]
    assert before["macs_dense"] == 12 * 16 + 16 * 3 > after["macs_dense"] > after["macs_effective"]
    assert (before["file_bytes"], after["file_bytes"]) == (None, len(contents))
    assert before["dense_bytes"] > after["dense_bytes"]
    assert not any("running" in name for name in decode(contents).model.graph.parameters)

    def stop_while_storing(event):
        if event["kind"] == "train" and event["label"] == "share":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(_network(), _task(data, tmp_path / "stopped", recipe=recipe), stop_while_storing)
    assert run(_network(), _task(data, tmp_path / "stopped", recipe=recipe))[0] == contents


def test_a_teacher_changes_what_is_learnt(data, tmp_path):
    def trained(name, **settings):
        step = {"id": "train", "train": {"epochs": 2, "batch_size": 16}} | settings
        recipe = Recipe.model_validate({"name": "taught", "steps": [step]})
        return run(_network(), _task(data, tmp_path / name, recipe=recipe))[1].stages[0]["history"]

    alone, taught = trained("alone"), trained("taught", teacher={"temperature": 4, "labels": 0.0})
    assert taught[0]["train_loss"] < 1e-2 < alone[0]["train_loss"]  # the teacher is the network it begins with


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_ends_on_the_cpu_and_answers_about_as_on_the_cpu(data, tmp_path):
    scores = {}
    for device in ("cpu", "cuda"):
        written, record = run(_network(), _task(data, tmp_path / device, device=device))
        network = artifact.from_contents(decode(written))
        assert all(tensor.device.type == "cpu" for tensor in network.tensors().values())
        scores[device] = record.final["test"]["accuracy"]
    assert scores["cuda"] == pytest.approx(scores["cpu"], abs=0.1)
