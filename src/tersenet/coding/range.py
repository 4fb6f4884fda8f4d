"""range: adaptive binary range coding with mixed contexts, no tables (docs/notes/range.md), in the line of LZMA and PAQ."""

from tersenet.coding._native import NativeCoder


class Range(NativeCoder):
    """Smallest where neighbours, rows or columns are alike and for short streams; the slowest to decode."""

    id = "range"
