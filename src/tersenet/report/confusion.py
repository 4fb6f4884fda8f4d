"""Which class was taken for which, as one SVG: rows are true, columns predicted. Stands alone, light and dark."""

from __future__ import annotations

from collections.abc import Sequence

from tersenet.report.svg import chart, px
from tersenet.report.text import escape

MOST_CLASSES = 60
"""More than these have cells too small to see; their commonest confusions are listed instead."""
FIGURES = 16
"""Up to so many classes there is room for numbers in the cells."""
SIDE, SMALL_SIDE = 52, 15
LETTER, LONGEST = 6.6, 18
# A rule begins with its class, so that the picture may stand in a page of other style.
STYLE = (
    ".confusion text{font:12px system-ui,sans-serif;fill:#1a1f29}.confusion .share{font-size:10.5px}"
    ".confusion .soft{fill:#59616f}.confusion .empty{fill:#f1f3f6}.confusion .right{fill:#2563c9}"
    ".confusion .wrong{fill:#d9590f}.confusion .on{fill:#fff}"
    "@media (prefers-color-scheme:dark){.confusion text{fill:#e7eaf0}.confusion .soft{fill:#a2abba}"
    ".confusion .empty{fill:#252b35}.confusion .right{fill:#6ea2f5}.confusion .wrong{fill:#ff8a45}"
    ".confusion .on{fill:#12151a}}"
)


def draw(counts: Sequence[Sequence[int]], names: Sequence[str], *, alone: bool = False) -> str:
    """Counts with their share of the row, which is what the shade grows with, slower where it is large.

    counts   row i, column j: examples of class i taken for class j
    names    of the classes, in order
    alone    as a file of its own, with a page behind it
    """
    size = len(counts)
    figures = size <= FIGURES
    side = SIDE if figures else SMALL_SIDE
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    longest = max(map(len, short)) * LETTER
    # Names above the columns are turned where they would run into each other.
    turned = longest > side - 6
    left, top = 34 + longest, 44 + (longest if turned else 14)
    width, height = left + size * side + 96, top + size * side + 12
    grid_middle = left + size * side / 2
    body = [f"<style>{STYLE}</style>"]
    if alone:
        body.append(
            "<style>.page{fill:#fff}@media (prefers-color-scheme:dark){.page{fill:#1b1f27}}</style>"
            f'<rect class="page" width="{px(width)}" height="{px(height)}"/>'
        )
    body.append(_text(grid_middle, 18, "predicted", "soft"))
    body.append(f'<g transform="rotate(-90 14 {px(top + size * side / 2)})">')
    body.append(_text(14, top + size * side / 2, "true", "soft") + "</g>")
    body.append(_text(left + size * side + 10, top - 8, "right", "soft", "start"))
    for place, name in enumerate(short):
        middle = place * side + side / 2
        body.append(_text(left - 8, top + middle + 4, name, "", "end"))
        if turned:
            x, y = px(left + middle + 4), px(top - 8)
            body.append(
                f'<g transform="rotate(-90 {x} {y})">{_text(left + middle + 4, top - 8, name, "", "start")}</g>'
            )
        else:
            body.append(_text(left + middle, top - 8, name))
    for true, row in enumerate(counts):
        total = sum(row)
        for predicted, count in enumerate(row):
            share = count / total if total else 0.0
            said = f"{names[true]} taken for {names[predicted]}: {count:,} of {total:,}"
            body.append(_cell(left + predicted * side, top + true * side, side, share, true == predicted, said))
            if figures and count:
                kind = "on" if share**0.5 > 0.6 else ""
                x, y = left + (predicted + 0.5) * side, top + (true + 0.5) * side
                body.append(_text(x, y - 1, f"{count:,}", kind) + _text(x, y + 13, _share(share), f"share {kind}"))
        y = top + (true + 0.5) * side + 4
        said = _share(row[true] / total) + (f" of {total:,}" if figures else "") if total else "no example"
        body.append(_text(left + size * side + 10, y, said, "", "start"))
    title = f"Confusion matrix of {size} classes, rows true, columns predicted"
    svg = chart(round(width), round(height), title, body, "confusion")
    if alone:
        size_text = f'xmlns="http://www.w3.org/2000/svg" width="{round(width)}" height="{round(height)}"'
        svg = svg.replace("<svg ", f"<svg {size_text} ", 1) + "\n"
    return svg


def common(counts: Sequence[Sequence[int]], most: int = 20) -> list[tuple[int, int, int]]:
    """The commonest confusions as (count, true, predicted), the commonest first."""
    wrong = [
        (count, true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(wrong, key=lambda one: (-one[0], one[1:]))[:most]


def _cell(x: float, y: float, side: float, share: float, right: bool, said: str) -> str:
    box = f'x="{px(x + 1)}" y="{px(y + 1)}" width="{px(side - 2)}" height="{px(side - 2)}" rx="{3 if side > 20 else 1}"'
    shade = ""
    if share:
        kind = "right" if right else "wrong"
        shade = f'<rect class="{kind}" {box} fill-opacity="{share**0.5:.3f}"/>'
    return f'<g><title>{escape(said)}</title><rect class="empty" {box}/>{shade}</g>'


def _share(share: float) -> str:
    text = f"{100 * share:.1f}"
    return f"{'>99.9' if share < 1 and text == '100.0' else text.removesuffix('.0')} %"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{px(x)}" y="{px(y)}" text-anchor="{anchor}">{escape(text)}</text>'
