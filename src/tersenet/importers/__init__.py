"""Networks that others published compressed, into a file of ours without loss."""

from tersenet.importers.deep_compression import import_net

__all__ = ["import_net"]
