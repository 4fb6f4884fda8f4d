"""tersenet recipes: what is shipped."""

from __future__ import annotations

from tersenet.cli.session import Session


def recipes(session: Session) -> None:
    """List the shipped recipes, a line each."""
    from tersenet.cli.text import table
    from tersenet.recipes import shipped

    found = shipped()
    record = [
        {
            "name": name,
            "description": recipe.description,
            "source": recipe.source,
            "trains": recipe.trains,
            "coder": recipe.coder,
            "steps": [step.id for step in recipe.steps],
        }
        for name, recipe in found.items()
    ]
    rows = [
        [name, recipe.coder, recipe.description + (f" ({recipe.source})" if recipe.source else "")]
        for name, recipe in found.items()
    ]
    session.result({"recipes": record}, table(rows, ["recipe", "coder", "what it does"]))
