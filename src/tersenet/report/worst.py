"""The examples that a network is most wrong about: pictures where they are pictures, else a table."""

from __future__ import annotations

import base64
import binascii

from tersenet.report.text import count, escape
from tersenet.report.training_record import Training, WorstExample

PNG = b"\x89PNG\r\n\x1a\n"


def draw(record: Training) -> str:
    """The largest loss first."""
    if not record.worst:
        return '<p class="none">No part of the data was looked at for wrong answers.</p>'
    said = f'<p class="about">The largest losses of the {escape(record.part)} part, the largest first.</p>'
    if all(is_picture(example.picture) for example in record.worst):
        return f'{said}<div class="worst">{"".join(_picture(record, example) for example in record.worst)}</div>'
    return said + _table(record)


def is_picture(text: str) -> bool:
    """Whether it is the base64 of a PNG; what a page shows comes from a record that anyone may have written."""
    try:
        return base64.b64decode(text, validate=True).startswith(PNG)
    except (ValueError, binascii.Error):
        return False


def _picture(record: Training, example: WorstExample) -> str:
    if example.true is None:
        told = f"<b>loss {example.loss:.3g}</b>"
    else:
        right = example.true == example.predicted
        said, true = escape(record.name(example.predicted)), escape(record.name(example.true))
        told = f"{true}, right" if right else f"<b>{said}</b>for {true}"
        told += f"<span>loss {example.loss:.3g}</span>"
    alternative = f"example {example.index}"
    return (
        f'<figure><img alt="{alternative}" src="data:image/png;base64,{example.picture}">'
        f"<figcaption>{told}<span>no. {count(example.index)}</span></figcaption></figure>"
    )


def _table(record: Training) -> str:
    classes = any(example.true is not None for example in record.worst)
    heads = ["Example", *(["True", "Predicted"] if classes else []), "Loss"]
    head = "".join(
        f'<th scope="col"{"" if name in ("True", "Predicted") else " class=n"}>{name}</th>' for name in heads
    )
    rows = []
    for example in record.worst:
        named = [record.name(example.true), record.name(example.predicted)] if classes else []
        cells = "".join(f"<td>{escape(name)}</td>" for name in named)
        rows.append(f'<tr><td class="n">{count(example.index)}</td>{cells}<td class="n">{example.loss:.4g}</td></tr>')
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Worst examples">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
