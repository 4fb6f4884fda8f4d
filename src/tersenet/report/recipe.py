"""The recipe as text: the YAML that would make the same file again, without what was left at nothing."""

from __future__ import annotations

import json
from typing import Any

from tersenet.report.record import Record
from tersenet.report.text import escape

WIDTH = 96


def draw(record: Record) -> str:
    if not record.recipe:
        return '<p class="none">No recipe is recorded.</p>'
    return f'<pre class="recipe" tabindex="0"><code>{escape(recipe_text(record.recipe))}</code></pre>'


def recipe_text(recipe: dict[str, Any]) -> str:
    """One line a setting; JSON values are YAML as well."""
    lines = []
    for key in ("name", "description", "source"):
        if recipe.get(key):
            lines.append(f"{key}: {_value(recipe[key])}")
    steps = recipe.get("steps")
    if not isinstance(steps, list) or not steps:
        lines.append("steps: []")
    else:
        lines.append("steps:")
        for step in steps:
            lines.extend(_step(step))
    known = {"name", "description", "source", "steps"}
    lines.extend(
        f"{_key(key)}: {_value(value)}" for key, value in recipe.items() if key not in known and value is not None
    )
    return "\n".join(lines)


def _step(step: Any) -> list[str]:
    if not isinstance(step, dict):
        return [f"  - {_value(step)}"]
    # The id leads: it says what the other settings mean.
    ordered = {key: step[key] for key in ("id", *step) if step.get(key) is not None}
    lines: list[str] = []
    for key, value in ordered.items():
        lead = "    " if lines else "  - "
        if isinstance(value, dict):
            lines.extend(_mapping(f"{lead}{_key(key)}: ", value))
        else:
            lines.append(f"{lead}{_key(key)}: {_value(value)}")
    return lines


def _mapping(lead: str, value: dict[str, Any]) -> list[str]:
    """A flow mapping, broken between entries where a line would grow too long."""
    entries = [f"{_key(name)}: {_value(one)}" for name, one in value.items() if one is not None]
    text = lead + "{" + ", ".join(entries) + "}"
    if len(text) <= WIDTH:
        return [text]
    lines, current = [], lead + "{"
    for position, entry in enumerate(entries):
        last = position == len(entries) - 1
        piece = entry + ("}" if last else ",")
        if len(current) + len(piece) + 1 > WIDTH and current.strip():
            lines.append(current.rstrip())
            current = " " * 8
        current += piece + ("" if last else " ")
    return [*lines, current.rstrip()]


def _key(key: Any) -> str:
    return str(key) if str(key).replace("_", "").isalnum() else json.dumps(str(key), ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum():
        return value
    return json.dumps(value, ensure_ascii=False)
