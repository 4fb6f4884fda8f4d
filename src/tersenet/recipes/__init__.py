"""Recipes: what to do to a network as data, and carrying it out."""

from tersenet.recipes.recipe import Recipe, load_recipe, parse, schema, shipped
from tersenet.recipes.run import GoalNotMet, RunRecord, Task, run
from tersenet.recipes.steps import Prune, Situation, Step, StoreCodebook, StoreDense, Train

__all__ = [
    "GoalNotMet",
    "Prune",
    "Recipe",
    "RunRecord",
    "Situation",
    "Step",
    "StoreCodebook",
    "StoreDense",
    "Task",
    "Train",
    "load_recipe",
    "parse",
    "run",
    "schema",
    "shipped",
]
