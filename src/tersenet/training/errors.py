"""Why a run of training stops, and what it warns of."""

from tersenet.errors import TersenetError


class TrainingError(TersenetError):
    """Training cannot start or go on: the data, the loss or the request does not allow it."""


class CheckpointError(TersenetError):
    """A checkpoint that cannot be read, or that belongs to another run."""


class TrainingWarning(UserWarning):
    """Training goes on, but what comes out is hardly what was meant."""
