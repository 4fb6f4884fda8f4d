"""Trained PyTorch networks made terse: one small file, loadable without the class that made it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tersenet.errors import TersenetError as TersenetError

__version__ = "0.1.0"

# Public name -> module:attribute. Loaded on first use (PEP 562), so that `import tersenet` needs numpy at most.
_PUBLIC = {
    "GoalNotMet": "tersenet.recipes:GoalNotMet",
    "Ledger": "tersenet.measure:Ledger",
    "Network": "tersenet.graph:Network",
    "Recipe": "tersenet.recipes:Recipe",
    "Result": "tersenet.compression:Result",
    "accelerate": "tersenet.acceleration:accelerate",
    "capture": "tersenet.graph:capture",
    "compress": "tersenet.compression:compress",
    "load": "tersenet.artifact:load",
    "save": "tersenet.artifact:save",
    "size": "tersenet.measure:size",
}

__all__ = ["TersenetError", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tersenet' has no attribute '{name}'")
    module, attribute = _PUBLIC[name].split(":")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "tersenet":
            raise
        raise ModuleNotFoundError(
            f"tersenet.{name} needs the package '{error.name}'; install it with: pip install 'tersenet[torch]'",
            name=error.name,
        ) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
