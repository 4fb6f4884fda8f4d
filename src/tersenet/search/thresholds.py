"""From what each layer alone can lose to the settings of a recipe."""

from __future__ import annotations

from typing import Any

from tersenet.errors import TersenetError
from tersenet.recipes import Recipe
from tersenet.recipes.steps.base import Setting
from tersenet.search.alone import pattern
from tersenet.search.record import Sensitivity

SETTINGS: dict[str, Setting] = {"prune": "keep", "bits": "bits", "channels": "channels", "rank": "rank"}


def keep_table(found: Sensitivity, tolerance: float) -> dict[str, float]:
    """For each layer the smallest measured share that loses at most `tolerance` points; 1 where every share loses more."""
    return {pattern(name): 1.0 for name in found.of("prune")} | _reached(found, "prune", tolerance)


def bits_table(found: Sensitivity, tolerance: float) -> dict[str, int]:
    """For each layer the fewest measured bits that lose at most `tolerance` points; refused where all lose more."""
    table = _reached(found, "bits", tolerance)
    for name, points in found.of("bits").items():
        if pattern(name) not in table:
            raise TersenetError(
                f"layer '{name}' loses {points[0].lost_points:.2f} points at {points[0].level:g} bits, the most that was "
                f"measured; {tolerance:g} are allowed: measure more bits, or allow more"
            )
    return {name: int(level) for name, level in table.items()}


def _reached(found: Sensitivity, method: str, tolerance: float) -> dict[str, float]:
    points = {name: found.threshold(method, name, tolerance) for name in found.of(method)}
    return {pattern(name): point.level for name, point in points.items() if point is not None}


def with_thresholds(
    recipe: Recipe,
    found: Sensitivity,
    tolerance: float,
    *,
    keep: dict[str, float] | None = None,
    bits: dict[str, int] | None = None,
) -> tuple[Recipe, list[str]]:
    """The recipe with each layer's threshold in its steps `prune`, `store`, `channels` and `low_rank`, and what it could not take, in
    sentences.

    keep, bits   settings of the user's: they come first, but "*" comes last, for layers that were not measured

    Refused where the recipe takes none of what was measured.
    """
    used = [method for method in found.methods if recipe.takes(SETTINGS[method])]
    if not used:
        raise TersenetError(
            f"recipe {recipe.name} takes nothing that was measured ({', '.join(found.methods) or 'no point yet'}); it needs a "
            "step prune, store with a codebook, channels or low_rank"
        )
    changed = recipe.with_settings(
        keep=_around(keep, keep_table(found, tolerance)) if "prune" in used else keep,
        bits=_around(bits, bits_table(found, tolerance)) if "bits" in used else bits,
        channels=_reached(found, "channels", tolerance) | {"*": 1.0} if "channels" in used else None,
        rank=_reached(found, "rank", tolerance) | {"*": 1.0} if "rank" in used else None,
    )
    unused = [method for method in found.methods if method not in used]
    return changed, [f"thresholds of {method} are not used: recipe {recipe.name} has no such step" for method in unused]


def recipe_from(found: Sensitivity, tolerance: float, name: str = "sensitivity") -> Recipe:
    """A recipe that takes each layer to its thresholds, and leaves alone what has none; nothing is trained."""
    channels, rank, keep, bits = (
        _reached(found, method, tolerance) for method in ("channels", "rank", "prune", "bits")
    )
    if rank and (keep or bits):
        raise TersenetError(
            "factors have other names than the layers that were pruned or shared alone; measure rank without prune and bits"
        )
    steps: list[dict[str, Any]] = []
    if channels:
        steps.append({"id": "channels", "where": ",".join(channels), "score": "l2", "keep": channels, "examples": 0})
    if rank:
        steps.append({"id": "low_rank", "where": ",".join(rank), "keep": rank, "examples": 0})
    if keep:
        steps.append({"id": "prune", "where": ",".join(keep), "keep": keep})
    if bits:
        steps.append({"id": "store", "where": ",".join(bits), "bits": bits, "init": "optimum"})
    if not steps:
        raise TersenetError(f"no layer was measured to lose at most {tolerance:g} points by {', '.join(SETTINGS)}")
    return Recipe.model_validate({"name": name, "steps": steps, "coder": found.coder})


def _around(given: dict[str, Any] | None, table: dict[str, Any]) -> dict[str, Any]:
    given = given or {}
    first = {name: value for name, value in given.items() if name != "*"}
    return first | {name: value for name, value in table.items() if name not in first} | given
