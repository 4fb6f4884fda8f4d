"""A network trained from scratch, as `train` does it, and `compress` where it is given no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from torch import nn

    from tersenet.cli.data import Loaders
    from tersenet.cli.session import Session
    from tersenet.training import TrainConfig


def train_config(settings: Mapping[str, Any]) -> TrainConfig:
    """Settings as a TrainConfig; what is wrong with them in a sentence."""
    from pydantic import ValidationError

    from tersenet.training import TrainConfig

    try:
        return TrainConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "training"
        raise TersenetError(f"{name}: {first['msg']}; got {first['input']!r}") from error


def train_model(
    session: Session,
    model: nn.Module,
    loaders: Loaders,
    config: TrainConfig,
    *,
    checkpoint: Path,
    device: str,
    label: str,
) -> list[dict[str, Any]]:
    """Train in place; one record an epoch. Goes on from the checkpoint, and ends in the same bits."""
    from tersenet.training import fit

    session.resumable()
    with session.progress() as progress:
        history = fit(
            model,
            loaders.need("train"),
            loaders.get("validate"),
            config,
            seed=session.seed,
            checkpoint=checkpoint,
            device=device,
            on_event=lambda event: progress({"kind": "train", "label": label, **event}),
        )
    model.to("cpu")
    records: list[dict[str, Any]] = history.to_dict()["epochs"]
    return records


def save_weights(model: nn.Module, path: Path) -> int:
    """The state of a network as safetensors, whole or not at all; its length."""
    from safetensors.torch import save

    from tersenet.container import atomic_write

    # Tensors that are one in memory are copied, since the format holds each on its own.
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    data = save(state)
    atomic_write(path, data)
    return len(data)


def score(
    session: Session, model: nn.Module, loaders: Loaders, part: str, *, device: str = "cpu", metric: Any = None
) -> dict[str, Any] | None:
    """What the network reaches on a part of the data, or None where that part is not there."""
    from dataclasses import asdict

    from tersenet.training.evaluate import evaluate

    data = loaders.get(part)
    if data is None:
        return None
    with session.progress() as progress:
        found = evaluate(model, data, metric=metric, device=device, on_batch=progress.counter(f"evaluate on {part}"))
    return asdict(found)
