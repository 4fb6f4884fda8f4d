"""Loss and accuracy over the epochs of all stages, with a line where one stage ends and the next begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tersenet.report.record import Epoch, Record, Stage, number
from tersenet.report.svg import Scale, chart, label, line, path, px, tick_text, ticks
from tersenet.report.text import escape, plural

WIDTH, HEIGHT = 480, 286
LEFT, RIGHT, TOP, BOTTOM = 52, 470, 30, 244
# Tags closer than this would run into each other.
TAG_PX = 16


@dataclass(frozen=True)
class Series:
    """Values over epochs 1, 2, ...; None where there is none. `marks` are measured at the end of stages."""

    name: str
    kind: str
    values: Sequence[float | None]


def draw(record: Record) -> str:
    """Two charts and a list of the stages' numbers, or a sentence where nothing was trained."""
    epochs = [epoch for stage in record.stages for epoch in stage.epochs]
    if not epochs:
        return '<p class="none">No stage trained, so there are no curves.</p>'
    loss = [
        Series("training", "train", [epoch.train_loss for epoch in epochs]),
        Series("validation", "validation", [epoch.validation_loss for epoch in epochs]),
    ]
    accuracy = [
        Series("training", "train", _percent(epochs, lambda epoch: epoch.train_accuracy)),
        Series("validation", "validation", _percent(epochs, lambda epoch: epoch.validation_accuracy)),
    ]
    before = number(_original_accuracy(record))
    charts = [
        figure("Loss", loss, stages=record.stages),
        figure("Accuracy", accuracy, " %", None if before is None else 100 * before, record.stages),
    ]
    return f'<div class="curves">{"".join(charts)}</div>{_stage_list(record)}'


def _original_accuracy(record: Record) -> object:
    scores = record.original_scores.get("validate")
    return scores.get("accuracy") if isinstance(scores, dict) else None


def _percent(epochs: list[Epoch], pick: Callable[[Epoch], float | None]) -> list[float | None]:
    return [None if (value := pick(epoch)) is None else 100 * value for epoch in epochs]


def figure(
    title: str, series: list[Series], unit: str = "", reference: float | None = None, stages: Sequence[Stage] = ()
) -> str:
    """One chart with its key. `reference` is a height drawn across; of several stages each has its number above."""
    present = [one for one in series if any(value is not None for value in one.values)]
    if not present:
        none = f'<p class="none">{title} was not measured.</p>'
        return f"<figure><figcaption><b>{title}</b></figcaption>{none}</figure>"
    key = "".join(f'<span class="key {one.kind}">{one.name}</span>' for one in present)
    if reference is not None:
        key += '<span class="key reference">original</span>'
    return (
        f"<figure><figcaption><b>{title}{', %' if unit else ''}</b> {key}</figcaption>"
        f"{_chart(stages, title, present, unit, reference)}</figure>"
    )


def _chart(stages: Sequence[Stage], title: str, series: list[Series], unit: str, reference: float | None) -> str:
    length = len(series[0].values)
    values = [value for one in series for value in one.values if value is not None]
    low, high = min(values), max(values)
    if reference is not None:
        low, high = min(low, reference), max(high, reference)
    room = 0.06 * (high - low) or max(abs(high) * 0.05, 0.5)
    # Losses start at zero, so that their heights compare; accuracies are close together and do not.
    low = 0.0 if not unit and low >= 0 else low - room
    high = min(high + room, 100.0) if unit and high <= 100 else high + room
    x, y = Scale(0, length, LEFT, RIGHT), Scale(low, high, BOTTOM, TOP)
    body = [*_grid(y), *_epoch_ticks(x, length), *_stages(stages, x)]
    if reference is not None:
        body.append(line(LEFT, y(reference), RIGHT, y(reference), "reference"))
    for one in series:
        body.extend(_series(one, x, y, unit))
    body.append(label((LEFT + RIGHT) / 2, HEIGHT - 4, "epoch"))
    said = [f"{title} over {plural(length, 'epoch')}"]
    for one in series:
        known = [value for value in one.values if value is not None]
        said.append(f"{one.name} from {known[0]:.4g}{unit} to {known[-1]:.4g}{unit}")
    return chart(WIDTH, HEIGHT, "; ".join(said), body, "curve")


def _grid(y: Scale) -> list[str]:
    marks = ticks(y.low, y.high)
    step = marks[1] - marks[0] if len(marks) > 1 else 0.0
    found = []
    for mark in marks:
        found.append(line(LEFT, y(mark), RIGHT, y(mark), "grid"))
        found.append(label(LEFT - 6, y(mark) + 4, tick_text(mark, step), "tick", "end"))
    return found


def _epoch_ticks(x: Scale, length: int) -> list[str]:
    marks = [mark for mark in ticks(0, length, 6) if mark == round(mark) and mark > 0]
    return [line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")] + [label(x(mark), BOTTOM + 17, f"{mark:,.0f}") for mark in marks]


def _stages(stages: Sequence[Stage], x: Scale) -> list[str]:
    """A line at each stage's start and its number above; stages that were undone are shaded."""
    found: list[str] = []
    start, last_tag = 0, -1e9
    for position, stage in enumerate(stages, 1):
        stop = start + len(stage.epochs)
        if stage.rejected and stop > start:
            found.append(
                f'<rect class="undone" x="{px(x(start))}" y="{TOP}" width="{px(x(stop) - x(start))}" '
                f'height="{BOTTOM - TOP}"/>'
            )
        if start:
            found.append(line(x(start), TOP, x(start), BOTTOM, "boundary"))
        middle = (x(start) + x(stop)) / 2
        if stop > start and middle - last_tag >= TAG_PX:
            found.append(
                f'<g class="tag"><title>{escape(stage.label)}</title>'
                f'<circle cx="{px(middle)}" cy="15" r="9"/>'
                f"{label(middle, 19, str(position), 'number')}</g>"
            )
            last_tag = middle
        start = stop
    return found


def _series(series: Series, x: Scale, y: Scale, unit: str) -> list[str]:
    found: list[str] = []
    run: list[tuple[float, float]] = []
    for epoch, value in enumerate([*series.values, None], 1):
        if value is not None:
            run.append((x(epoch), y(value)))
            continue
        found.append(path(run, f"series {series.kind}"))
        run = []
    radius = 3 if len(series.values) <= 60 else 1.5
    for epoch, value in enumerate(series.values, 1):
        if value is not None:
            found.append(
                f'<circle class="dot {series.kind}" cx="{px(x(epoch))}" cy="{px(y(value))}" r="{radius}">'
                f"<title>epoch {epoch}, {series.name}: {value:.4g}{unit}</title></circle>"
            )
    return found


def _stage_list(record: Record) -> str:
    named = [
        f"<li>{escape(stage.label)}<span>{plural(len(stage.epochs), 'epoch')}"
        f"{', undone' if stage.rejected else ''}</span></li>"
        for stage in record.stages
    ]
    return f'<ol class="stages" aria-label="Stages by number">{"".join(named)}</ol>'
