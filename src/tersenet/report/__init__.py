"""The report: a run folder drawn as one HTML file that opens offline, without scripts."""

from tersenet.report.page import write

__all__ = ["write"]
