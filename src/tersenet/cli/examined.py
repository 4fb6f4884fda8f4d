"""How a trained network answers, looked at closely: confusions and worst examples, for the record and as files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersenet.cli import pictures
from tersenet.container import atomic_write

if TYPE_CHECKING:
    from tersenet.cli.data import Loaders
    from tersenet.training.examine import Examination

CONFUSION, WORST = "confusion.svg", "worst.png"


def examined(found: Examination, loaders: Loaders, part: str) -> dict[str, Any]:
    """What the record of a training keeps of it, as JSON."""
    data = loaders.get(part)
    worst = []
    for example in found.worst:
        picture = pictures.pixels(data, example.index, example.input)
        worst.append(
            {
                "index": example.index,
                "loss": example.loss,
                "true": example.true,
                "predicted": example.predicted,
                "picture": "" if picture is None else base64.b64encode(pictures.to_png(picture)).decode(),
            }
        )
    counts = None if found.confusion is None else found.confusion.tolist()
    return {"part": part, "classes": names(loaders, found), "confusion": counts, "worst": worst}


def names(loaders: Loaders, found: Examination) -> list[str]:
    """Of the classes: the data's own where it has one for each, else their numbers."""
    count = 0 if found.confusion is None else len(found.confusion)
    given = list(loaders.class_names)
    return given if len(given) == count else [str(place) for place in range(count)]


def write_figures(found: Examination, loaders: Loaders, part: str, folder: Path) -> list[str]:
    """confusion.svg and worst.png, each where there is something to draw; the names of the files."""
    from tersenet.report.confusion import MOST_CLASSES, draw

    written = []
    called = names(loaders, found)
    if found.confusion is not None and len(found.confusion) <= MOST_CLASSES:
        atomic_write(folder / CONFUSION, draw(found.confusion.tolist(), called, alone=True).encode())
        written.append(CONFUSION)
    shown = [pictures.pixels(loaders.get(part), example.index, example.input) for example in found.worst]
    if shown and all(picture is not None for picture in shown):
        captions = []
        for example in found.worst:
            said = f"no. {example.index}, loss {example.loss:.3g}"
            if example.true is None or example.predicted is None:
                captions.append((said, ""))
            else:
                true, right = called[example.true], example.true == example.predicted
                captions.append((f"{true}, right" if right else f"{called[example.predicted]} for {true}", said))
        atomic_write(folder / WORST, pictures.sheet([one for one in shown if one is not None], captions))
        written.append(WORST)
    return written
