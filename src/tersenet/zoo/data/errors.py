"""Refusals of the data loaders."""

from tersenet.errors import TersenetError


class DataError(TersenetError):
    """Data that is there but wrong: cut, mislabelled, empty, of another kind."""


class DataMissing(DataError):
    """Data that is not there: the sentence says what was looked for, where, and how to get it."""


class UnknownData(DataError):
    """A data set that the table does not hold."""
