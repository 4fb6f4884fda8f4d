"""What SOURCE names: a network of the zoo, code of the user's, or a `.terse` file.

READ FIRST
  1. A colon makes it code: `package.module:factory` or `file.py:factory`. It runs, because its owner asked for it.
  2. `.terse` at the end makes it a file. All else is a name in the zoo.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tersenet.cli.command import UsageError
from tersenet.cli.options import SUFFIX
from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tersenet.zoo import NetworkEntry, Preprocess

# An example has two inputs, so that tracing does not take a batch of one for a constant.
EXAMPLES = 2
# How many names a sentence lists before it counts the rest.
NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Source:
    """A resolved SOURCE.

    model        an nn.Module, or the Network of a file
    trained      whether it has weights that someone gave: fresh ones of the zoo are to be trained first
    preprocess   what its inputs go through, where that is known
    """

    text: str
    model: nn.Module
    trained: bool
    entry: NetworkEntry | None = None
    preprocess: Preprocess | None = None

    def example(self, shapes: str | None) -> tuple[Tensor, ...] | None:
        """Inputs to trace with where no data shows one: of the shapes given, or the zoo's."""
        if shapes is not None:
            return parse_inputs(shapes)
        if self.entry is None:
            return None
        from tersenet import zoo

        return zoo.example_inputs(self.text, EXAMPLES)


def resolve(text: str, weights: Path | None, *, seed: int, max_bytes: int | None = None) -> Source:
    """The network that SOURCE names, its weights filled in from `weights`."""
    if text.endswith(SUFFIX):
        if weights is not None:
            raise UsageError(f"{text} holds its own weights; drop --weights, or name a network to fill with them")
        return _from_file(text, max_bytes)
    import torch

    from tersenet import zoo

    torch.manual_seed(seed)
    entry = None
    if ":" in text:
        model = _from_code(text)
    elif text in zoo.ENTRIES:
        entry, model = zoo.entry(text), zoo.network(text)
    else:
        raise TersenetError(_unknown(text, list(zoo.ENTRIES)))
    if weights is not None:
        from tersenet.zoo import load_weights

        load_weights(model, weights)
    return Source(
        text=text,
        model=model,
        trained=entry is None or weights is not None,
        entry=entry,
        preprocess=None if entry is None else entry.preprocess,
    )


def parse_inputs(text: str) -> tuple[Tensor, ...]:
    """`1x28x28`, or `256:int64`, or several with commas: each input's shape without the batch."""
    import torch

    examples = []
    for one in text.split(","):
        shape, _, dtype = one.strip().partition(":")
        try:
            sizes = [int(size) for size in shape.lower().split("x")]
            kind = getattr(torch, dtype or "float32")
            if min(sizes) < 1 or not isinstance(kind, torch.dtype):
                raise ValueError
        except (ValueError, AttributeError) as error:
            raise UsageError(
                f"--input {one!r} is not a shape; write it as 1x28x28, or 256:int64 for whole numbers"
            ) from error
        examples.append(torch.zeros(EXAMPLES, *sizes, dtype=kind))
    return tuple(examples)


def user_object(text: str) -> Any:
    """What `package.module:name` or `file.py:name` names."""
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise TersenetError(f"'{text}' is not of the form package.module:name or file.py:name")
    module = _file_module(place) if place.endswith(".py") else _module(place)
    if not hasattr(module, name):
        known = [one for one in vars(module) if not one.startswith("_")]
        raise TersenetError(f"{place} has no '{name}'; {_nearest(name, known)}")
    return getattr(module, name)


def call_user(function: Any, text: str) -> Any:
    """What the user's function without arguments gives."""
    if not callable(function):
        raise TersenetError(f"{text} is a {type(function).__name__}; a function without arguments is expected")
    return guarded(text, function)


def guarded(text: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The user's function; what it raises, which can be anything, is told in a sentence with its type."""
    try:
        return function(*arguments)
    except TersenetError:
        raise
    except (Exception, SystemExit) as error:
        raise TersenetError(f"{text} raised {type(error).__name__}: {error}; --debug shows where") from error


def _from_file(text: str, max_bytes: int | None) -> Source:
    from tersenet import artifact
    from tersenet.zoo.file_preprocess import from_file

    network = artifact.load(text, max_bytes=max_bytes)
    stored = network.graph.preprocess
    return Source(text=text, model=network, trained=True, preprocess=None if stored is None else from_file(stored))


def _from_code(text: str) -> nn.Module:
    from torch import nn

    found = user_object(text)
    model = found if isinstance(found, nn.Module) else call_user(found, text)
    if not isinstance(model, nn.Module):
        raise TersenetError(
            f"{text} gave a {type(model).__name__}; a function without arguments that gives an nn.Module is expected"
        )
    return model


def _module(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        found: ModuleType = guarded(name, importlib.import_module, name)
        return found
    except TersenetError as error:
        absent = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if absent is None:
            raise
        if name == absent or name.startswith(f"{absent}."):
            raise TersenetError(
                f"there is no module '{name}' here or installed; for a file write {name}.py:name"
            ) from error
        raise TersenetError(f"{name} needs the package '{absent}', which is not installed") from error


def _file_module(path: str) -> ModuleType:
    file = Path(path).resolve()
    if not file.is_file():
        raise TersenetError(f"{path}: no such file")
    # As for a script: what lies beside it, and in the current folder, can be imported.
    _importable(Path.cwd())
    _importable(file.parent)
    name = f"tersenet_user_{file.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(file):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TersenetError(f"{path}: cannot be imported as Python code")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        guarded(path, spec.loader.exec_module, module)
    except TersenetError:
        del sys.modules[name]
        raise
    return module


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _unknown(text: str, names: list[str]) -> str:
    hint = _nearest(text, names)
    return (
        f"'{text}' is not a network of the zoo ({hint}); a network of your own is package.module:factory or "
        f"file.py:factory, a compressed one FILE{SUFFIX}"
    )


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 3, 0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return f"there are {', '.join(sorted(known)[:NAMED]) or 'no names in it'}{more}"
