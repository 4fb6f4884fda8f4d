"""What a network costs: bytes, operations, energy, memory, time. Frozen records, units in names.

Each is a module of its own; only `size`, which needs no torch, is here as well.
"""

from tersenet.measure.size import Ledger as Ledger
from tersenet.measure.size import LedgerRow as LedgerRow
from tersenet.measure.size import size as size
