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
PAGE = "<style>.page{fill:#fff}@media (prefers-color-scheme:dark){.page{fill:#1b1f27}}</style>"


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
    width, height = left + size * side + 128, top + size * side + 12
    body = [f"<style>{STYLE}</style>"]
    if alone:
        body.append(f'{PAGE}<rect class="page" width="{px(width)}" height="{px(height)}"/>')
    body += _headings(short, left, top, side, turned)
    for true, row in enumerate(counts):
        total, y = sum(row), top + true * side
        for predicted, count in enumerate(row):
            share = count / total if total else 0.0
            said = f"{names[true]} taken for {names[predicted]}: {count:,} of {total:,}"
            body.append(_cell(left + predicted * side, y, side, share, true == predicted, said))
            if figures and count:
                body.append(_figures(left + (predicted + 0.5) * side, y + side / 2, count, share))
        right = _share(row[true] / total) + (f" of {total:,}" if figures else "") if total else "no example"
        body.append(_text(left + size * side + 10, y + side / 2 + 4, right, "", "start"))
    title = f"Confusion matrix of {size} classes, rows true, columns predicted"
    svg = chart(round(width), round(height), title, body, "confusion")
    if alone:
        box = f'xmlns="http://www.w3.org/2000/svg" width="{round(width)}" height="{round(height)}"'
        svg = svg.replace("<svg ", f"<svg {box} ", 1) + "\n"
    return svg


def _headings(names: list[str], left: float, top: float, side: float, turned: bool) -> list[str]:
    """What the axes are, and the names of the rows and the columns."""
    middle, end = len(names) * side / 2, left + len(names) * side
    found = [
        _text(left + middle, 18, "predicted", "soft"),
        f'<g transform="rotate(-90 14 {px(top + middle)})">{_text(14, top + middle, "true", "soft")}</g>',
        _text(end + 10, top - 8, "right", "soft", "start"),
    ]
    for place, name in enumerate(names):
        at = place * side + side / 2
        found.append(_text(left - 8, top + at + 4, name, "", "end"))
        if turned:
            turn = f"rotate(-90 {px(left + at + 4)} {px(top - 8)})"
            found.append(f'<g transform="{turn}">{_text(left + at + 4, top - 8, name, "", "start")}</g>')
        else:
            found.append(_text(left + at, top - 8, name))
    return found


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


def _figures(x: float, y: float, count: int, share: float) -> str:
    kind = "on" if share**0.5 > 0.6 else ""
    return _text(x, y - 1, f"{count:,}", kind) + _text(x, y + 13, _share(share), f"share {kind}")


def _share(share: float) -> str:
    text = f"{100 * share:.1f}"
    return f"{'>99.9' if share < 1 and text == '100.0' else text.removesuffix('.0')} %"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{px(x)}" y="{px(y)}" text-anchor="{anchor}">{escape(text)}</text>'
