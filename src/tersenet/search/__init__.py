"""How much: what each layer alone can lose, and a recipe's settings from that."""

from tersenet.search.compare import compare
from tersenet.search.comparison import ComparedPoint, Comparison, read_comparison
from tersenet.search.record import Point, Sensitivity, read_sensitivity
from tersenet.search.run import sensitivity
from tersenet.search.thresholds import recipe_from, with_thresholds

__all__ = [
    "ComparedPoint",
    "Comparison",
    "Point",
    "Sensitivity",
    "compare",
    "read_comparison",
    "read_sensitivity",
    "recipe_from",
    "sensitivity",
    "with_thresholds",
]
