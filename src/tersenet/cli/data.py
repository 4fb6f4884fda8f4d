"""What --data names: a data set of the zoo, or loaders of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersenet.cli.source import call_user, guarded, user_object
from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from tersenet.zoo import Preprocess

PARTS = ("train", "validate", "test")
FOLDER = "folder:"


@dataclass(frozen=True, kw_only=True)
class Loaders:
    """The parts that are there, why others are not, and what the inputs went through."""

    text: str
    parts: Mapping[str, Any]
    absent: Mapping[str, str] = field(default_factory=dict)
    preprocess: Preprocess | None = None
    class_names: tuple[str, ...] = ()

    def get(self, part: str) -> Any:
        """A part, or None."""
        return self.parts.get(part)

    def need(self, part: str) -> Any:
        """A part, or the reason why it is not there."""
        if part not in self.parts:
            reason = self.absent.get(part, f"it has {', '.join(self.parts)}")
            raise TersenetError(f"{self.text} has no {part} part: {reason}")
        return self.parts[part]

    def first_batch(self) -> tuple[Any, Any]:
        """The first two examples of a zoo's split, or a loader's first batch; of the first part that is there."""
        data = next(iter(self.parts.values()))
        if hasattr(data, "batch"):
            if len(data) == 0:
                raise TersenetError(f"{self.text} is empty; at least one example is needed")
            found: tuple[Any, Any] = data.batch(range(min(2, len(data))))
            return found
        batch = guarded(f"{self.text}: the loader", lambda: next(iter(data), None))
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            came = "no batch; the data is empty" if batch is None else f"a {type(batch).__name__}"
            raise TersenetError(f"{self.text}: a loader gave {came}; (x, y) batches of two tensors are expected")
        return batch[0], batch[1]


def load_data(text: str, data_dir: Path | None, download: bool, preprocess: Preprocess | None) -> Loaders:
    """The data that --data names, prepared for a network with this preprocessing."""
    if ":" in text and not text.startswith(FOLDER):
        return Loaders(text=text, parts=_user_parts(call_user(user_object(text), text), text))
    if data_dir is not None and not download and not data_dir.is_dir():
        raise TersenetError(f"--data-dir {data_dir}: no such folder; name one that is there, or leave it out")
    from tersenet import zoo

    data = zoo.load(text, data_dir, download, preprocess)
    used = next(iter(data.splits.values())).preprocess
    return Loaders(text=text, parts=data.splits, absent=data.absent, preprocess=used, class_names=data.class_names)


def load_metric(text: str | None) -> Callable[..., float] | None:
    """The user's fn(model, loader) -> float."""
    if text is None:
        return None
    metric = user_object(text)
    if not callable(metric):
        raise TersenetError(
            f"{text} is a {type(metric).__name__}; a function (model, loader) that gives a number is expected"
        )

    @wraps(metric)
    def score(model: Any, loader: Any) -> float:
        value = guarded(text, metric, model, loader)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise TersenetError(f"{text} gave a {type(value).__name__}; a number is expected") from error

    return score


def _user_parts(given: Any, text: str) -> dict[str, Any]:
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in PARTS]
        if unknown:
            raise TersenetError(f"{text} gave the parts {', '.join(unknown)}; known are {', '.join(PARTS)}")
        parts = {name: given[name] for name in PARTS if given.get(name) is not None}
    elif isinstance(given, (tuple, list)) and 2 <= len(given) <= 3:
        parts = {name: loader for name, loader in zip(PARTS, given) if loader is not None}
    else:
        raise TersenetError(
            f"{text} gave a {type(given).__name__}; expected is a dict of loaders with train, validate, test, "
            "or a tuple of them in that order"
        )
    if not parts:
        raise TersenetError(f"{text} gave no loader; at least one of {', '.join(PARTS)} is needed")
    for name, loader in parts.items():
        if isinstance(loader, Iterator):
            raise TersenetError(
                f"{text}: {name} is a {type(loader).__name__}, which can be gone through once; "
                "give a loader that starts anew each time, such as a DataLoader or a list"
            )
        if not hasattr(loader, "__iter__") and not hasattr(loader, "batch"):
            raise TersenetError(f"{text}: {name} is a {type(loader).__name__}; a loader of (x, y) batches is expected")
    return parts
