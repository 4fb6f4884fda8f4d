"""Events of `fit` on TensorBoard's axis: steps of the whole training, each once, also after an interruption."""

import pytest
from torch import nn

from tersenet.training import TrainConfig, fit
from tersenet.training.tensorboard import TensorBoard

pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


CONFIG = TrainConfig(epochs=3, batch_size=5)


def test_each_step_is_there_once_also_where_the_run_was_cut_and_started_again(pictures, tmp_path):
    class Cut(TensorBoard):
        def __call__(self, event):
            super().__call__(event)
            if (event["stage"], event["epoch"], event.get("step")) == ("train", 2, 3):
                raise ZeroDivisionError

    def trained(writer):
        return fit(
            net(), pictures(20), pictures(9, seed=1), CONFIG, seed=0, on_event=writer, event_every_steps=1,
            checkpoint=tmp_path / "x", checkpoint_seconds=0.0,
        )  # fmt: skip

    cut = Cut(tmp_path / "tb")
    with pytest.raises(ZeroDivisionError):
        trained(cut)
    cut.close()
    writer = TensorBoard(tmp_path / "tb")
    history = trained(writer)
    writer.close(history)
    found = read(tmp_path / "tb")
    assert [step for step, _ in found["running/loss"]] == list(range(1, 13))
    assert found["loss/validation"] == [
        (4 * record.epoch, pytest.approx(record.validation_loss)) for record in history.epochs
    ]
    assert set(found) == {
        "running/loss", "running/accuracy", "running/lr", "loss/train", "loss/validation", "accuracy/train",
        "accuracy/validation", "lr",
    }  # fmt: skip


def test_a_loader_without_a_length_has_epochs_and_what_was_not_measured_is_left_out(Memory, pictures, tmp_path):
    data = pictures(8)
    writer = TensorBoard(tmp_path)

    class Endless:
        def __iter__(self):
            yield data.x, data.y.float()[:, None].expand(8, 3)

    fit(net(), Endless(), None, TrainConfig(epochs=2, loss="mse"), seed=0, on_event=writer, event_every_steps=1)
    writer.close()
    found = read(tmp_path)
    assert set(found) == {"loss/train", "lr"} and [step for step, _ in found["lr"]] == [1, 2]
