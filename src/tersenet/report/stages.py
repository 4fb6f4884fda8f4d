"""The stages one by one: how long each took, what it left, what it had to say."""

from __future__ import annotations

from tersenet.report.record import Record, Stage, number
from tersenet.report.text import MISSING, count, escape, points, seconds
from tersenet.report.tiles import score_text


def draw(record: Record) -> str:
    """A table of the stages, then their notes."""
    if not record.stages:
        return '<p class="none">The recipe has no stages, or none is finished.</p>'
    head = '<th scope="col">Stage</th>' + "".join(
        f'<th scope="col" class="n">{name}</th>'
        for name in (
            "Epochs",
            "Time",
            "Bytes, not coded",
            "Bytes, coded",
            "Validation score",
            "Change",
            "Validation loss",
        )
    )
    body = "".join(_row(position, stage) for position, stage in enumerate(record.stages, 1))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Stages"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{_notes(record)}"
    )


def _row(position: int, stage: Stage) -> str:
    kind = "accuracy" if number(stage.scores.get("metric")) is None else "metric"
    score = number(stage.scores.get(kind))
    loss = number(stage.scores.get("loss"))
    cells = (
        count(len(stage.epochs)),
        seconds(stage.seconds),
        count(stage.raw_bytes),
        count(stage.coded_bytes),
        MISSING if score is None else score_text(kind, score),
        points(stage.drop_points),
        MISSING if loss is None else f"{loss:.4f}",
    )
    undone = ' <span class="badge">undone</span>' if stage.rejected else ""
    return (
        f'<tr><th scope="row">{position}. {escape(stage.label)}{undone}</th>'
        + "".join(f'<td class="n">{cell}</td>' for cell in cells)
        + "</tr>"
    )


def _notes(record: Record) -> str:
    noted = [(position, stage) for position, stage in enumerate(record.stages, 1) if stage.notes]
    if not noted:
        return '<p class="none">No stage left a note.</p>'
    return "".join(
        f"<h3>Notes of stage {position}, {escape(stage.label)}</h3>"
        f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in stage.notes)}</ul>"
        for position, stage in noted
    )
