"""A figure of lines, with axes and a key: one SVG file that stands alone, light and dark, for papers and commands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tersenet.errors import TersenetError
from tersenet.report.svg import Scale, chart, label, line, path, px, tick_text, ticks
from tersenet.report.text import escape

WIDTH, HEIGHT = 720, 430
LEFT, RIGHT, TOP, BOTTOM = 62, 520, 44, 376
# The key is a column at the right; the picture grows with it, by as much as a letter is wide at most.
KEY_LEFT, KEY_TOP, KEY_STEP, LETTER = 540, 56, 17, 7
# Okabe and Ito 2008: told apart with every kind of colour vision. More lines than these take a ramp.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d31")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1a1f29}.heading{font-size:14px;font-weight:600}"
    ".page{fill:#fff}.grid{stroke:#e2e5ea}.axis{stroke:#59616f}.reference{stroke:#59616f;stroke-dasharray:5 4}"
    ".series{fill:none;stroke-width:2}"
    "@media (prefers-color-scheme:dark){text{fill:#e7eaf0}.page{fill:#1b1f27}.grid{stroke:#323946}"
    ".axis,.reference{stroke:#a2abba}}"
)


@dataclass(frozen=True)
class Line:
    """Points (x, y) in the order in which they are joined.

    dashed   tells a second kind of line apart
    colour   its place in the palette; its number among the lines by default
    """

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    colour: int | None = None


def figure(
    lines: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    log_x: bool = False,
    falling_x: bool = False,
    y_range: tuple[float, float] | None = None,
    reference: tuple[float, str] | None = None,
) -> str:
    """The text of an .svg file.

    x, y        what the axes count, with the unit
    log_x       x grows by factors; all x must be above 0
    falling_x   the largest x is at the left, as in "what remains"
    y_range     what the y axis shows; all points, with some room, by default. Points beyond it are cut off at its edge
    reference   a height with a name, drawn across
    """
    points = [point for one in lines for point in one.points]
    if not points:
        raise TersenetError(f"the figure '{title}' has no points to draw")
    if not all(math.isfinite(value) for point in points for value in point):
        raise TersenetError(f"the figure '{title}' has a point that is NaN or infinite")
    if log_x and min(point[0] for point in points) <= 0:
        raise TersenetError(f"the figure '{title}' has a logarithmic axis and an x of 0 or less")
    across = _across([point[0] for point in points], log_x, falling_x)
    heights = [point[1] for point in points] + ([reference[0]] if reference is not None else [])
    up = _up(heights, y_range)
    place = _Place(across, up, log_x)
    height_px = max(HEIGHT, KEY_TOP + KEY_STEP * len(lines))
    width_px = max(WIDTH, KEY_LEFT + 30 + LETTER * max(len(one.name) for one in lines))
    body = [f"<style>{STYLE}</style>", f'<rect class="page" width="{width_px}" height="{height_px}"/>']
    body += [label(LEFT, 24, title, "heading", "start"), *_grid(up), *_x_axis(across, log_x)]
    body += [label((LEFT + RIGHT) / 2, HEIGHT - 12, x)]
    middle = (TOP + BOTTOM) / 2
    body.append(f'<g transform="rotate(-90 16 {px(middle)})">{label(16, middle, y)}</g>')
    if reference is not None:
        height = up(reference[0])
        body += [
            line(LEFT, height, RIGHT, height, "reference"),
            label(RIGHT - 4, height - 5, reference[1], "tick", "end"),
        ]
    for number, one in enumerate(lines):
        colour = _colour(number, len(lines)) if one.colour is None else PALETTE[one.colour % len(PALETTE)]
        body += _line(one, colour, place, number)
    said = f"{title}: {y} against {x}; lines: {', '.join(one.name for one in lines)}"
    svg = chart(width_px, height_px, said, body, "figure")
    return (
        svg.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width_px}" height="{height_px}" ', 1)
        + "\n"
    )


@dataclass(frozen=True)
class _Place:
    across: Scale
    up: Scale
    log_x: bool

    def __call__(self, point: tuple[float, float]) -> tuple[float, float]:
        height = min(max(point[1], self.up.low), self.up.high)
        return self.across(math.log10(point[0]) if self.log_x else point[0]), self.up(height)


def _across(values: list[float], log_x: bool, falling_x: bool) -> Scale:
    low, high = (math.log10(v) if log_x else v for v in (min(values), max(values)))
    return Scale(low, high, *((RIGHT, LEFT) if falling_x else (LEFT, RIGHT)))


def _up(values: list[float], y_range: tuple[float, float] | None) -> Scale:
    if y_range is not None:
        return Scale(*y_range, BOTTOM, TOP)
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or max(abs(high) * 0.05, 0.5)
    return Scale(low - room, high + room, BOTTOM, TOP)


def _grid(up: Scale) -> list[str]:
    marks = ticks(up.low, up.high)
    step = marks[1] - marks[0] if len(marks) > 1 else 0.0
    found = [line(LEFT, up(mark), RIGHT, up(mark), "grid") for mark in marks]
    return found + [label(LEFT - 7, up(mark) + 4, tick_text(mark, step), "tick", "end") for mark in marks]


def _x_axis(across: Scale, log_x: bool) -> list[str]:
    if log_x:
        first, last = math.floor(across.low), math.ceil(across.high)
        wide = last - first > 2
        marks = [math.log10(m) + p for p in range(first, last + 1) for m in ((1,) if wide else (1, 2, 5))]
        marks = [mark for mark in marks if across.low - 1e-9 <= mark <= across.high + 1e-9] or [across.low]
        texts = [f"{10**mark:.3g}" for mark in marks]
    else:
        marks = ticks(across.low, across.high, 6)
        step = marks[1] - marks[0] if len(marks) > 1 else 0.0
        texts = [tick_text(mark, step) for mark in marks]
    found = [line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")]
    for mark, text in zip(marks, texts):
        found += [line(across(mark), BOTTOM, across(mark), BOTTOM + 4, "axis"), label(across(mark), BOTTOM + 18, text)]
    return found


def _colour(number: int, count: int) -> str:
    """From the palette; where it does not suffice, a ramp from blue through violet to orange."""
    if count <= len(PALETTE):
        return PALETTE[number]
    share = number / (count - 1)
    return f"hsl({round(210 + 180 * share) % 360} 70% {round(45 + 8 * share)}%)"


def _line(one: Line, colour: str, place: _Place, number: int) -> list[str]:
    placed = [place(point) for point in one.points]
    dashes = ' stroke-dasharray="7 4"' if one.dashed else ""
    found = [path(placed, "series").replace("/>", f' stroke="{colour}"{dashes}/>')]
    for (x, y), (wide, high) in zip(placed, one.points):
        said = f"{one.name}: {wide:.4g}, {high:.4g}"
        found.append(
            f'<circle cx="{px(x)}" cy="{px(y)}" r="2.6" fill="{colour}"><title>{escape(said)}</title></circle>'
        )
    top = KEY_TOP + KEY_STEP * number
    mark = f'<path class="series" d="M{KEY_LEFT} {px(top)}h18" stroke="{colour}"{dashes}/>'
    return [*found, mark, label(KEY_LEFT + 24, top + 4, one.name, "tick", "start")]
