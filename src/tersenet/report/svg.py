"""The little that our charts need of SVG: a linear scale, round ticks, axes. Colours come from style.css."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tersenet.report.text import escape


@dataclass(frozen=True)
class Scale:
    """Linear from [low, high] to pixels [start, stop]; a range of no width maps to its middle."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        return self.start + share * (self.stop - self.start)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers (1, 2, 2.5 or 5 times a power of ten) within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * (1 - 1e-9))
    start = math.ceil(low / step - 1e-9)
    stop = math.floor(high / step + 1e-9)
    return [place * step for place in range(start, stop + 1)]


def px(value: float) -> str:
    """A coordinate with a tenth of a pixel, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}"/>'


def label(x: float, y: float, text: str, kind: str = "tick", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{px(x)}" y="{px(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def path(points: list[tuple[float, float]], kind: str) -> str:
    """A line through the points."""
    return f'<path class="{kind}" d="M{"L".join(f"{px(x)} {px(y)}" for x, y in points)}"/>' if points else ""


def tick_text(value: float, step: float) -> str:
    """A tick with just the digits its step needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 3
    if step > 0 and abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
        digits += 1  # steps of 2.5
    return f"{value:,.{digits}f}" if digits <= 6 else f"{value:.2g}"


def chart(width: int, height: int, title: str, body: list[str], kind: str) -> str:
    """An SVG that scales with its box and says in words what it shows."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg>"
    )
