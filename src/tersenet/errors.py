"""The one family of errors: every refusal of ours is a TersenetError, and so a ValueError."""


class TersenetError(ValueError):
    """A request that cannot be met: the sentence says what came, what was expected, what to do."""
