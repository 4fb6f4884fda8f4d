"""What --teacher names: networks, `.terse` files, a function of the user's, or the folder of an ensemble."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersenet.cli.command import UsageError
from tersenet.cli.options import SUFFIX
from tersenet.cli.source import resolve, user_object
from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from torch import nn

    from tersenet.zoo import Preprocess

ENSEMBLE = "ensemble.json"


@dataclass(frozen=True)
class Named:
    """A teacher by its source and the file of its weights."""

    source: str
    weights: Path | None


def load_teacher(
    sources: Sequence[str],
    weights: Sequence[Path],
    given: Preprocess | None,
    *,
    seed: int,
    max_bytes: int | None = None,
) -> tuple[nn.Module, bool]:
    """One module that answers for all, and whether it stands behind a change of its inputs' scale.

    given   what the inputs that it will see went through
    """
    from tersenet.methods.distill import Ensemble

    found = [_load(one, given, seed, max_bytes) for one in _named(sources, weights)]
    if len(found) == 1:
        return found[0]
    return Ensemble([module for module, _ in found]).eval(), True


def _named(sources: Sequence[str], weights: Sequence[Path]) -> list[Named]:
    left = list(weights)
    named: list[Named] = []
    for source in sources:
        folder = Path(source)
        if folder.is_dir():
            named.extend(_members(folder))
        elif source.endswith(SUFFIX):
            named.append(Named(source, None))
        else:
            named.append(Named(source, left.pop(0) if left else None))
    if left:
        raise UsageError(
            f"--teacher-weights {left[0]} belongs to no --teacher; give as many as there are teachers without weights"
        )
    return named


def _members(folder: Path) -> list[Named]:
    note = folder / ENSEMBLE
    if not note.is_file():
        raise TersenetError(f"{folder}: no {ENSEMBLE} in it; a folder that tersenet ensemble train made is expected")
    try:
        record = json.loads(note.read_text())
        found = [Named(record["net"], folder / member["file"]) for member in record["members"]]
    except (ValueError, KeyError, TypeError) as error:
        raise TersenetError(f"{note}: not the record of an ensemble ({error}); train it again") from error
    if not found:
        raise TersenetError(f"{note} names no finished member; let tersenet ensemble train finish one")
    return found


def _load(named: Named, given: Preprocess | None, seed: int, max_bytes: int | None) -> tuple[nn.Module, bool]:
    from collections import OrderedDict

    from torch import nn

    from tersenet.methods.distill import as_teacher
    from tersenet.zoo.rescaled import rescaled

    function = _function(named.source)
    if function is not None:
        return as_teacher(function), False
    source = resolve(named.source, named.weights, seed=seed, max_bytes=max_bytes)
    if not source.trained:
        raise UsageError(f"teacher {named.source} has no trained weights; give --teacher-weights, or a {SUFFIX} file")
    module = source.model.eval()
    change = rescaled(given, source.preprocess) if given is not None and source.preprocess is not None else None
    if change is None:
        return module, False
    return nn.Sequential(OrderedDict(rescaled=change, network=module)).eval(), True


def _function(source: str) -> Any:
    """A user's function of one input, which answers itself; a factory takes none."""
    if ":" not in source:
        return None
    found = user_object(source)
    if not inspect.isfunction(found):
        return None
    needed = [one for one in inspect.signature(found).parameters.values() if one.default is inspect.Parameter.empty]
    return found if len(needed) == 1 else None
