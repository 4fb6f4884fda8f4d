"""Laws of the one loop: the same run always ends in the same bytes, wherever it was cut."""

import math
import multiprocessing
import os
import random
import signal
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Sparse
from tersenet.graph import capture
from tersenet.training import TrainConfig, batch_loss, checkpoint, fit
from tersenet.training.errors import TrainingWarning

HARD = TrainConfig(
    epochs=3, batch_size=8, lr=0.05, optimiser="sgd", nesterov=True, weight_decay=1e-3, warmup_epochs=0.5,
    augment="flip_crop", augment_pixels=1, regularise={"l1": 1e-4, "l2": 1e-4}, clip_grad_norm=1.0,
    keep_best=True,
)  # fmt: skip
CONFIGS = {
    "sgd": HARD,
    "plain_sgd": TrainConfig(epochs=3, batch_size=8, lr=0.05, momentum=0.0, schedule="constant"),
    "adam": HARD.model_copy(update={"optimiser": "adam", "nesterov": False, "schedule": "linear"}),
    "adamw": HARD.model_copy(update={"optimiser": "adamw", "nesterov": False, "augment": "shift"}),
    "one_cycle": HARD.model_copy(update={"schedule": "one_cycle", "warmup_epochs": 0.0, "augment": "flip_affine", "augment_pixels": None}),
    "adam_one_cycle": TrainConfig(epochs=3, batch_size=8, optimiser="adam", schedule="one_cycle", average="swa", average_from=0.3),
    "plateau": HARD.model_copy(update={"schedule": "plateau", "plateau_epochs": 0, "average": "ema"}),
    "swa": HARD.model_copy(update={"average": "swa", "average_from": 0.3, "keep_best": False}),
    "patience": HARD.model_copy(update={"average": "ema", "average_decay": 0.5, "patience": 1, "lr": 0.5}),
    "bfloat16": HARD.model_copy(update={"precision": "bfloat16"}),
    "rmsprop": HARD.model_copy(update={"optimiser": "rmsprop", "nesterov": False, "schedule": "step", "lr": 1e-3}),
}  # fmt: skip
STEPS = 3 * 3  # 20 examples by 8 are three steps an epoch


class CutAt:
    """Raises at its n-th event of a stage."""

    def __init__(self, n, error=KeyboardInterrupt, stage="train"):
        self.left, self.error, self.stage = n, error, stage

    def __call__(self, event):
        if event["stage"] == self.stage:
            self.left -= 1
            if self.left == 0:
                raise self.error


def without_seconds(history):
    return [{**vars(record), "seconds": 0} for record in history.epochs], history.best_epoch


@pytest.fixture
def run(pictures, small_net):
    def run(config, *, checkpoint=None, train=None, seed=5, **more):
        model = small_net()
        more.setdefault("event_every_steps", 1)
        validate = more.pop("validate", pictures(12, seed=1))
        train = pictures(20) if train is None else train
        return model, fit(model, train, validate, config, seed=seed, checkpoint=checkpoint, **more)

    return run


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_run_cut_at_any_step_ends_in_the_bytes_of_one_that_was_not(run, state_bytes, tmp_path, config):
    whole, history = run(config)
    assert (len(history.epochs) < 3) == (config.patience is not None)
    for n in range(1, 3 * len(history.epochs) + 1):
        path = tmp_path / f"{n}.ckpt"
        with pytest.raises(KeyboardInterrupt):
            run(config, checkpoint=path, on_event=CutAt(n))
        resumed, again = run(config, checkpoint=path)
        assert state_bytes(resumed) == state_bytes(whole), f"cut at step {n}"
        assert without_seconds(again) == without_seconds(history)


@pytest.mark.parametrize("config", [HARD, CONFIGS["swa"], CONFIGS["plateau"]], ids=["plain", "swa", "ema"])
@pytest.mark.parametrize("stage", ["validate", "epoch"])
def test_a_run_cut_while_it_validates_or_between_epochs_ends_in_the_same_bytes(
    run, state_bytes, tmp_path, stage, config
):
    whole, history = run(config)
    for n in (1, 2, 3):
        path = tmp_path / f"{n}.ckpt"
        with pytest.raises(KeyboardInterrupt):
            run(config, checkpoint=path, on_event=CutAt(n, stage=stage))
        resumed, again = run(config, checkpoint=path)
        assert state_bytes(resumed) == state_bytes(whole)
        assert without_seconds(again) == without_seconds(history)


def test_a_crash_that_saves_nothing_resumes_from_the_last_checkpoint(run, state_bytes, tmp_path):
    whole, _ = run(HARD)
    for every_seconds in (0.0, 1e9):
        path = tmp_path / f"{every_seconds}.ckpt"
        with pytest.raises(ZeroDivisionError):
            run(HARD, checkpoint=path, on_event=CutAt(8, ZeroDivisionError), checkpoint_seconds=every_seconds)
        assert path.exists() == (every_seconds == 0.0)
        assert state_bytes(run(HARD, checkpoint=path)[0]) == state_bytes(whole)


def test_a_run_cut_many_times_ends_in_the_same_bytes(run, state_bytes, tmp_path):
    whole, history = run(HARD)
    for _ in range(STEPS - 1):
        with pytest.raises(KeyboardInterrupt):
            run(HARD, checkpoint=tmp_path / "x", on_event=CutAt(1))
    resumed, again = run(HARD, checkpoint=tmp_path / "x")
    assert state_bytes(resumed) == state_bytes(whole)
    assert without_seconds(again) == without_seconds(history)


class Noisy(TensorDataset):
    """A user's data set that augments with every global generator there is."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.rand(()) + random.random() + float(np.random.rand()), y  # noqa: NPY002


@pytest.mark.parametrize("average", ["none", "ema"])
@pytest.mark.parametrize("own_generator", [False, True])
def test_a_loader_of_the_user_resumes_in_the_same_order(run, pictures, state_bytes, tmp_path, own_generator, average):
    config = HARD.model_copy(update={"augment": "none", "augment_pixels": None, "average": average})
    data = pictures(20)

    def loader():
        generator = torch.Generator() if own_generator else None
        return DataLoader(Noisy(data.x, data.y), batch_size=8, shuffle=True, generator=generator)

    whole, _ = run(config, train=loader())
    for n in (1, 3, 5, 9):
        path = tmp_path / f"{n}.ckpt"
        with pytest.raises(KeyboardInterrupt):
            run(config, train=loader(), checkpoint=path, on_event=CutAt(n))
        assert state_bytes(run(config, train=loader(), checkpoint=path)[0]) == state_bytes(whole)


def test_a_network_that_stores_its_weights_in_forms_resumes_in_the_same_bytes(pictures, state_bytes, tmp_path):
    def trained(path=None, on_event=None):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Linear(20, 3))
        with torch.no_grad():
            plain[1].weight[plain[1].weight.abs() < 0.1] = 0
        network = capture(plain, (torch.zeros(2, 1, 6, 6),))
        weight = network.dense("1.weight")
        network.attach("1.weight", Sparse.fit(weight, values=lambda kept: Codebook.fit(kept, k=4)))
        config = HARD.model_copy(update={"epochs": 1})
        fit(
            network,
            pictures(20),
            pictures(8),
            config,
            seed=1,
            checkpoint=path,
            on_event=on_event,
            event_every_steps=1,
        )
        return network

    whole = trained()
    assert len(whole.dense("1.weight").unique()) == 5, "four shared values and zero"
    for n in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / str(n), CutAt(n))
        assert state_bytes(trained(tmp_path / str(n))) == state_bytes(whole)


def test_another_seed_ends_in_other_bytes_so_the_laws_above_can_fail(run, state_bytes):
    assert state_bytes(run(HARD, seed=5)[0]) != state_bytes(run(HARD, seed=6)[0])


LONG = TrainConfig(epochs=12, batch_size=8, lr=0.01, optimiser="adam", augment="shift", keep_best=True)


def _train_slowly(run, pictures, path, ready):
    def slowly(event):
        ready.set()
        time.sleep(0.004)

    run(LONG, train=pictures(80), checkpoint=path, checkpoint_seconds=0.0, on_event=slowly)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, so that torch is imported once")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_started_again_ends_in_the_same_bytes(run, pictures, state_bytes, tmp_path, number):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    path = tmp_path / "x.ckpt"
    process = context.Process(target=_train_slowly, args=(run, pictures, path, ready))
    process.start()
    assert ready.wait(60)
    time.sleep(random.Random(int(number)).uniform(0.02, 0.3))
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode != 0
    steps = []
    resumed, _ = run(LONG, train=pictures(80), checkpoint=path, on_event=steps.append)
    assert len([event for event in steps if event["stage"] == "train"]) < 120, "nothing was kept"
    assert state_bytes(resumed) == state_bytes(run(LONG, train=pictures(80))[0])


def test_a_signal_waits_for_the_step_and_saves(run, state_bytes, tmp_path):
    """Raised in the middle of a step, where parameters are half moved, by the hook that runs there."""
    before = signal.getsignal(signal.SIGINT)
    whole, _ = run(HARD)
    steps = iter(range(100))

    def interrupt(model, done):
        if next(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(HARD, checkpoint=tmp_path / "x", after_step=interrupt)
    assert next(steps) == 4, "the step that was under way is finished, and no other one begun"
    assert signal.getsignal(signal.SIGINT) is before
    assert state_bytes(run(HARD, checkpoint=tmp_path / "x")[0]) == state_bytes(whole)


def test_a_signal_after_the_last_step_is_not_lost(run, state_bytes, tmp_path, monkeypatch):
    """Raised where the best state is put back: nothing is left to do, so nothing looks for signals any more."""
    whole, _ = run(HARD)
    monkeypatch.setattr("tersenet.training.loop.fill_model", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(HARD, checkpoint=tmp_path / "x")
    monkeypatch.undo()
    assert state_bytes(run(HARD, checkpoint=tmp_path / "x")[0]) == state_bytes(whole)


def test_a_finished_run_asked_again_trains_nothing(run, state_bytes, tmp_path):
    whole, history = run(HARD, checkpoint=tmp_path / "x")
    again, same = run(HARD, checkpoint=tmp_path / "x", on_event=CutAt(1))
    assert state_bytes(again) == state_bytes(whole) and same == history


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(run, pictures, tmp_path):
    run(HARD, checkpoint=tmp_path / "x")
    with pytest.raises(TersenetError, match=r"lr is 0\.05 there and 0\.04 here"):
        run(HARD.model_copy(update={"lr": 0.04}), checkpoint=tmp_path / "x")
    with pytest.raises(TersenetError, match="seed is 5 there and 6 here"):
        run(HARD, seed=6, checkpoint=tmp_path / "x")
    with pytest.raises(TersenetError, match="training examples is 20 there and 24 here"):
        run(HARD, train=pictures(24), checkpoint=tmp_path / "x")
    with pytest.raises(TersenetError, match=r'tensor 0.bias is null there and \["float32", 3\] here'):
        _train_two_networks(pictures, tmp_path)


def _train_two_networks(pictures, tmp_path):
    bare = nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False))
    more = nn.Sequential(nn.Linear(6, 3), nn.Flatten(), nn.Linear(18, 3))
    config = TrainConfig(epochs=1)
    fit(bare, pictures(20), None, config, seed=0, checkpoint=tmp_path / "bare")
    fit(more, pictures(20), None, config, seed=0, checkpoint=tmp_path / "bare")


def test_training_learns_and_its_history_says_so(pictures):
    data = pictures(200)
    data.y = (data.x.mean((1, 2, 3)) > 0).long()
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    config = TrainConfig(epochs=6, batch_size=20, lr=0.1)
    history = fit(model, data, data, config, seed=0)
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4, 5, 6]
    assert history.last.train_loss < history.epochs[0].train_loss
    assert history.last.validation_accuracy > 0.9
    assert history.epochs[0].lr > history.last.lr > 0


def test_keep_best_ends_with_the_state_of_the_best_epoch_on_the_validation_split(run, pictures, small_net, state_bytes):
    """Rates that grow worse: the best epoch is not the last one."""
    config = TrainConfig(epochs=5, batch_size=8, lr=0.3, schedule="constant")
    best, history = run(config.model_copy(update={"keep_best": True}))
    scores = [record.validation_accuracy for record in history.epochs]
    assert history.best_epoch == 1 + scores.index(max(scores))
    # The order of epoch e does not depend on how many follow: a shorter run passes through the same states.
    shorter, _ = run(config.model_copy(update={"epochs": history.best_epoch}))
    assert state_bytes(best) == state_bytes(shorter)
    assert history.best_epoch < 5 and state_bytes(best) != state_bytes(run(config)[0])


def test_a_loss_that_is_not_a_number_stops_and_names_epoch_and_step(run, pictures, tmp_path):
    data = pictures(20)
    data.x[:] = math.inf
    with pytest.raises(TersenetError, match="epoch 1, step 1: the loss is nan; lower lr"):
        run(HARD, train=data, checkpoint=tmp_path / "x", event_every_steps=50)
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_trained_gets_a_sentence(run, pictures):
    with pytest.raises(TersenetError, match="the training data is empty"):
        run(HARD, train=pictures(0))
    with pytest.raises(TersenetError, match="its loader has no batches"):
        run(TrainConfig(epochs=1), train=[])
    with pytest.raises(TersenetError, match="its loader gave no batches"):
        run(TrainConfig(epochs=1), train=iter([]))
    with pytest.raises(TersenetError, match="two tensors; this one gave a tuple of 3"):
        run(TrainConfig(epochs=1), train=[(1, 2, 3)])
    with pytest.raises(TersenetError, match="batches of one example came, but the network has BatchNorm"):
        run(TrainConfig(epochs=1), train=pictures(1))
    with pytest.raises(TersenetError, match="keep_best chooses by the validation split"):
        run(HARD, validate=None)
    with pytest.raises(TersenetError, match="patience counts by the validation split"):
        run(TrainConfig(epochs=1, patience=2), validate=None)
    with pytest.raises(TersenetError, match="schedule plateau goes by the validation split"):
        run(TrainConfig(epochs=1, schedule="plateau"), validate=None)
    with pytest.raises(TersenetError, match="average ema would mix weights of before and after"):
        run(TrainConfig(epochs=1, average="ema"), after_step=lambda model, done: None)
    with pytest.raises(TersenetError, match="no parameter that trains"):
        fit(nn.ReLU(), pictures(4), None, TrainConfig(epochs=1), seed=0)


@pytest.mark.parametrize("label", [-100, -1, 3])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("part", ["train", "validate"])
def test_a_label_that_is_no_class_is_refused_in_whatever_batch_it_comes(run, pictures, part, loss, label):
    data = pictures(20)
    data.y[-1] = label
    with pytest.raises(TersenetError, match=f"a label is {label}; the network has 3 classes, 0 to 2"):
        run(TrainConfig(epochs=1, batch_size=4, loss=loss), **{part: data})


def test_a_teacher_s_loss_refuses_such_labels_too(pictures, small_net):
    data = pictures(20)
    data.y[-1] = 3
    config = TrainConfig(epochs=1, batch_size=4)
    with pytest.raises(TersenetError, match="a label is 3"):
        fit(small_net(), data, None, config, seed=0, criterion=lambda outputs, y, x: batch_loss(config, outputs, y))


def test_a_last_batch_of_one_is_left_out_only_where_batch_norm_needs_more(pictures, small_net):
    for net, steps in ((small_net(), 2), (nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), 3)):
        seen = []
        fit(net, pictures(17), None, TrainConfig(epochs=1, batch_size=8), seed=0, on_event=seen.append)
        assert [event["step"] for event in seen if event["stage"] == "train"] == [steps]


def test_no_epochs_leave_the_network_and_the_global_generators_alone(run, small_net, state_bytes):
    before = torch.get_rng_state()
    model, history = run(TrainConfig(epochs=0))
    assert state_bytes(model) == state_bytes(small_net()) and history.epochs == ()
    run(HARD)
    assert torch.equal(torch.get_rng_state(), before)


def test_events_count_up_and_estimate_the_time_left(run):
    seen = []
    run(HARD, on_event=seen.append)
    train = [event for event in seen if event["stage"] == "train"]
    assert [(event["epoch"], event["step"]) for event in train] == [(e, s) for e in (1, 2, 3) for s in (1, 2, 3)]
    assert all(event["steps"] == 3 and event["epochs"] == 3 for event in train)
    assert train[0]["seconds_left"] > 0 and train[-1]["seconds_left"] == 0
    assert len([event for event in seen if event["stage"] == "epoch"]) == 3


def test_stop_ends_the_run_and_stays_so_when_asked_again(run, state_bytes, tmp_path):
    model, history = run(HARD, checkpoint=tmp_path / "x", stop=lambda history: len(history.epochs) == 2)
    assert len(history.epochs) == 2
    again, same = run(HARD, checkpoint=tmp_path / "x")
    assert state_bytes(again) == state_bytes(model) and same == history


def test_hooks_add_to_the_loss_replace_it_and_put_weights_back(pictures):
    def trained(**hooks):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        fit(model, pictures(20), None, TrainConfig(epochs=20, lr=0.1), seed=0, **hooks)
        return model[1].weight.detach()

    shares = []

    def cut(model, done):
        shares.append(done)
        with torch.no_grad():
            model[1].weight[:, :18] = 0

    plain = trained()
    assert trained(loss_extra=lambda model: model[1].weight.square().sum()).norm() < 0.5 * plain.norm()
    assert trained(criterion=lambda outputs, y, x: outputs.square().mean()).norm() < plain.norm()
    assert (trained(after_step=cut)[:, :18] == 0).all() and (plain[:, :18] != 0).all()
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] == 1


def test_patience_ends_the_run_so_many_epochs_after_the_best_one_and_keeps_that(run, state_bytes):
    config = TrainConfig(epochs=40, batch_size=8, lr=0.3, schedule="constant", patience=3)
    model, history = run(config)
    scores = [record.validation_accuracy for record in history.epochs]
    assert history.best_epoch == 1 + scores.index(max(scores)) == len(scores) - 3 < 37
    longer, all_of_it = run(config.model_copy(update={"patience": None, "keep_best": True, "epochs": len(scores)}))
    assert without_seconds(all_of_it) == without_seconds(history) and state_bytes(longer) == state_bytes(model)


def test_a_plateau_lowers_the_rate_of_the_next_epochs(run):
    config = TrainConfig(epochs=12, batch_size=8, lr=0.3, schedule="plateau", plateau_epochs=1, gamma=0.5)
    _, history = run(config)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=1)
    rates = []
    for record in history.epochs:
        rates.append(optimiser.param_groups[0]["lr"])
        oracle.step(record.validation_loss)
    assert [record.lr for record in history.epochs] == pytest.approx(rates)
    assert len(set(rates)) > 2, "a plateau was met more than once"


def test_one_class_alone_is_warned_of_and_trained(run, pictures):
    data = pictures(20)
    data.y[:] = 2
    with pytest.warns(TrainingWarning, match="every label of the training data is 2; from one class alone"):
        _, history = run(TrainConfig(epochs=2, batch_size=8), train=data)
    assert len(history.epochs) == 2


def test_several_classes_are_not_warned_of_nor_one_that_is_left_of_an_epoch(run, pictures, tmp_path):
    data = pictures(9)
    data.y[:] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(TrainConfig(epochs=1, batch_size=8))
        # All steps but the first, whose labels the resumed run does not see, are of one class.
        batches = [(data.x[:4], torch.tensor([0, 1, 2, 0])), (data.x[4:8], data.y[4:8])]
        with pytest.raises(KeyboardInterrupt):
            run(TrainConfig(epochs=1), train=batches, checkpoint=tmp_path / "x", on_event=CutAt(1))
        run(TrainConfig(epochs=1), train=batches, checkpoint=tmp_path / "x")


def test_a_checkpoint_from_before_the_newer_settings_goes_on(run, tmp_path):
    """Its fingerprint has the fields that there were when it was written."""
    run(HARD, checkpoint=tmp_path / "x")
    with pytest.raises(TersenetError, match="the checkpoint is of another run") as refused:
        checkpoint.load(tmp_path / "x", {})
    assert "average" not in str(refused.value)
    found = set(HARD.model_dump())
    assert set(TrainConfig.model_fields) - found == {
        "plateau_epochs", "peak", "momentum_at_peak", "affine", "average", "average_decay", "average_from", "patience",
        "replay", "cutout",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        ("bce", 1, lambda y: (y > 0).long()),
        ("bce", 1, lambda y: (y > 0).float()[:, None]),
        ("bce", 2, lambda y: torch.stack([y > 0, y > 1], 1).float()),
        ("bce", 3, lambda y: y),
        ("mae", 1, lambda y: y.float()),
        ("mae", 3, lambda y: y),
    ],
    ids=["binary", "binary column", "several labels", "classes", "numbers", "one-hot"],
)
def test_each_loss_learns_what_its_targets_say(Memory, loss, outputs, target):
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > -0.5).long() + (x[:, 0] > 0.5).long()
    torch.manual_seed(0)
    data = Memory(x, target(y))
    config = TrainConfig(epochs=15, batch_size=20, lr=0.05, optimiser="adam", loss=loss)
    history = fit(nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, outputs)), data, data, config, seed=0)
    first, last = history.epochs[0], history.last
    assert last.validation_loss < 0.5 * first.train_loss
    if loss == "mae" and outputs == 1:
        assert last.validation_accuracy is None
    else:
        assert last.train_accuracy > 0.9 and last.validation_accuracy > 0.9


def test_checkpoints_that_take_longer_than_epochs_are_written_seldom(run, tmp_path, monkeypatch):
    written, save = [], checkpoint.save

    def slowly(path, found):
        written.append(found.values["epoch"])
        time.sleep(0.3)
        save(path, found)

    monkeypatch.setattr("tersenet.training.loop.QUIET_SECONDS", 0.0)
    monkeypatch.setattr("tersenet.training.loop.checkpoints.save", slowly)
    run(HARD.model_copy(update={"epochs": 10}), checkpoint=tmp_path / "x")
    assert written == [1, 10]
