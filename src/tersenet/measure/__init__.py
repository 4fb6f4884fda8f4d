"""What a network costs: bytes, operations, energy, memory, time. Frozen records, units in names.

`size` needs no torch and is here; what needs it is loaded on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tersenet.measure.size import Ledger as Ledger
from tersenet.measure.size import LedgerRow as LedgerRow
from tersenet.measure.size import size as size

if TYPE_CHECKING:
    from tersenet.measure.measurement import Comparison as Comparison
    from tersenet.measure.measurement import Measurement as Measurement
    from tersenet.measure.measurement import Subject as Subject
    from tersenet.measure.measurement import compare as compare
    from tersenet.measure.measurement import measure as measure

_LATER = ("Comparison", "Measurement", "Subject", "compare", "measure")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tersenet.measure' has no attribute '{name}'")
    return getattr(import_module("tersenet.measure.measurement"), name)
