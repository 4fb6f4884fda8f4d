"""A network trained from scratch, as `train` does it, and `compress` where it is given no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from torch import nn

    from tersenet.cli.data import Loaders
    from tersenet.cli.session import Session
    from tersenet.training import History, TrainConfig
    from tersenet.training.config import LossName
    from tersenet.training.evaluate import Observer


def train_settings(net: str, file: Path | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a training is asked for: the file's settings, or else the network's own, and those of the options over them.

    Of the network's own a warm-up is left out where it no longer fits: a short run has no time for it, one_cycle has its
    own.
    """
    from tersenet.zoo.baselines import baseline

    given = {name: value for name, value in asked.items() if value is not None}
    if file is not None:
        return _settings_file(file) | given
    settings = baseline(net) | given
    if "warmup_epochs" not in given:
        short = settings.get("warmup_epochs", 0) >= settings["epochs"]
        if short or settings.get("schedule") == "one_cycle":
            settings.pop("warmup_epochs", None)
    return settings


def _settings_file(path: Path) -> dict[str, Any]:
    import yaml

    from tersenet.container import read_file

    try:
        found = yaml.safe_load(read_file(path).decode())
    except yaml.YAMLError as error:
        raise TersenetError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from error
    except UnicodeDecodeError as error:
        raise TersenetError(f"{path}: not a text file ({error})") from error
    if not isinstance(found, dict):
        raise TersenetError(
            f"{path}: settings of a training are a table, as in 'epochs: 10'; got {type(found).__name__}"
        )
    return {str(name): value for name, value in found.items()}


def train_config(settings: Mapping[str, Any]) -> TrainConfig:
    """Settings as a TrainConfig; what is wrong with them in a sentence."""
    from pydantic import ValidationError

    from tersenet.training import TrainConfig

    try:
        return TrainConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise TersenetError(said) from error
        name = ".".join(str(part) for part in first["loc"])
        raise TersenetError(f"{name}: {said}; got {first['input']!r}") from error


def train_model(
    session: Session,
    model: nn.Module,
    loaders: Loaders,
    config: TrainConfig,
    *,
    checkpoint: Path,
    device: str,
    label: str,
    also: Callable[[dict[str, Any]], None] = lambda event: None,
) -> History:
    """Train in place. Goes on from the checkpoint, and ends in the same bits. `also` gets the events of `fit` too."""
    from tersenet.training import fit

    session.resumable()
    with session.progress() as progress:

        def tell(event: dict[str, Any]) -> None:
            progress({"kind": "train", "label": label, **event})
            also(event)

        history = fit(
            model,
            loaders.need("train"),
            loaders.get("validate"),
            config,
            seed=session.seed,
            checkpoint=checkpoint,
            device=device,
            on_event=tell,
        )
    model.to("cpu")
    return history


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
    session: Session,
    model: nn.Module,
    loaders: Loaders,
    part: str,
    *,
    device: str = "cpu",
    metric: Any = None,
    loss: LossName | None = None,
    observe: Observer | None = None,
) -> dict[str, Any] | None:
    """What the network reaches on a part of the data, or None where that part is not there."""
    from dataclasses import asdict

    from tersenet.training.evaluate import evaluate

    data = loaders.get(part)
    if data is None:
        return None
    with session.progress() as progress:
        found = evaluate(
            model,
            data,
            metric=metric,
            device=device,
            loss=loss,
            on_batch=progress.counter(f"evaluate on {part}"),
            observe=observe,
        )
    return asdict(found)
