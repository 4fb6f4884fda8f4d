"""The page: sections in the order a reader asks, in one file that loads nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from tersenet.container import atomic_write
from tersenet.report import (
    costs,
    curves,
    layers,
    ledger,
    points,
    recipe,
    stages,
    summary,
    tiles,
    training,
    waterfall,
    worst,
)
from tersenet.report.histogram import draw as draw_histogram
from tersenet.report.histogram import is_cut
from tersenet.report.record import Record, read_record
from tersenet.report.text import escape
from tersenet.report.training_record import FILE, Training, read_training
from tersenet.report.weights import Weights, read_weights

# The browser itself refuses whatever the page would load or run.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write(run_dir: Path, path: str | os.PathLike[str]) -> None:
    """Draw the report of a run folder, of compress or of train, as one HTML file.

    A compression may be unfinished. Raises TersenetError where the folder has no readable record, or the file cannot be
    written.
    """
    folder = Path(run_dir)
    if (folder / FILE).is_file() and not (folder / "run.json").is_file():
        text = training_page(read_training(folder))
    else:
        text = page(read_record(folder))
    atomic_write(path, text.encode())


def page(record: Record) -> str:
    """The whole HTML text."""
    weights = read_weights(record)
    parts: tuple[tuple[str, str, Callable[[Record], str]], ...] = (
        ("in-and-out", "What came in, what came out", summary.draw),
        ("points", "Size against accuracy", points.draw),
        ("bytes", "Bytes by stage", waterfall.draw),
        ("layers", "Table by layer", layers.draw),
        ("costs", "What it costs", costs.draw),
        ("weights", "Weights by layer", lambda record: _weights(weights)),
        ("curves", "Loss and accuracy", curves.draw),
        ("ledger", "Byte ledger", ledger.draw),
        ("recipe", "Recipe", recipe.draw),
        ("stages", "Stages and notes", stages.draw),
    )
    heading = f"{escape(record.source)} <span>by {escape(record.recipe_name)}</span>"
    return shell(
        f"{record.source} by {record.recipe_name}",
        f"<h1>{heading}</h1>{_state(record)}",
        tiles.draw(record),
        [(key, name, drawn) for key, name, draw in parts if (drawn := draw(record))],
    )


def training_page(record: Training) -> str:
    """The whole HTML text of a training."""
    heading = f"{escape(record.source)} <span>trained on {escape(record.data)}</span>"
    sections = [
        ("curves", "Loss, accuracy and learning rate", training.draw_curves(record)),
        ("confusion", "Which class was taken for which", training.draw_confusion(record)),
        ("worst", "Worst examples", worst.draw(record)),
        ("settings", "Settings", training.draw_settings(record)),
    ]
    return shell(
        f"{record.source} trained on {record.data}", f"<h1>{heading}</h1>", training.draw_tiles(record), sections
    )


def shell(title: str, header: str, numbers: str, sections: list[tuple[str, str, str]]) -> str:
    """A page around its parts: sections are (key, heading, HTML)."""
    style = (resources.files("tersenet.report") / "style.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{escape(name)}</h2>{drawn}</section>\n'
        for key, name, drawn in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} - tersenet</title>\n<style>\n{style}</style></head>\n<body>\n<header>"
        f'<p class="brand">tersenet report</p>{header}</header>\n<main>\n'
        f'<section aria-label="Four numbers">{numbers}</section>\n'
        f'<nav aria-label="Sections">{links}</nav>\n{body}</main>\n</body></html>\n'
    )


def _state(record: Record) -> str:
    described = record.recipe.get("description")
    said = f'<p class="about">{escape(described)}</p>' if isinstance(described, str) and described else ""
    if record.finished:
        return said
    return said + (
        '<p class="warning"><b>Unfinished.</b> This run has not written its file; '
        "the report shows what is there. "
        "The same compress command goes on from here.</p>"
    )


def _weights(weights: Weights) -> str:
    problems = "".join(
        f'<p class="warning">This part is not complete: {escape(problem)}</p>' for problem in weights.problems
    )
    if not weights.layers:
        return problems + '<p class="none">No stored weights can be shown.</p>'
    shared = any(len(layer.centroids) for layer in weights.layers)
    key = []
    if not all(layer.shared_only for layer in weights.layers):
        what = "kept weights before sharing" if shared else "kept weights"
        key.append(f'<span class="key kept">{what}</span>')
    if any(layer.shared_only for layer in weights.layers):
        key.append('<span class="key shared">weights after sharing</span>')
    if any(layer.before is not None for layer in weights.layers):
        cut = ", cut off at the top" if any(is_cut(layer) for layer in weights.layers) else ""
        key.append(f'<span class="key before">after {escape(weights.first)}{cut}</span>')
    if shared:
        key.append('<span class="key centroid">shared values in use</span>')
    return (
        f'{problems}<p class="keys">{"".join(key)}</p>'
        f'<p class="about">Zeros are left out. Numbers of weights and shared values are those of '
        f"{escape(weights.last)}. Point at a bar or a rule for its numbers.</p>"
        f'<div class="histograms">{"".join(draw_histogram(layer) for layer in weights.layers)}</div>'
    )
