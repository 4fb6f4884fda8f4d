"""Which integers a trellis allows next, in plain Python (docs/notes/trellis.md)."""

FEWEST, MOST = 2, 8
"""Logarithms of the number of states."""

POLYNOMIALS = {
    2: (0o5, 0o2),
    3: (0o13, 0o4),
    4: (0o23, 0o4),
    5: (0o45, 0o10),
    6: (0o103, 0o24),
    7: (0o235, 0o126),
    8: (0o515, 0o362),
}
"""Parity checks h0 and h1 of Ungerboeck 1982, table I."""


def next_state(states: int, state: int, k: int) -> int:
    """After the k-th magnitude that `state` allows, of 2**states states; 0 states are one that stays."""
    if not states:
        return 0
    feedback, step = (one >> 1 for one in POLYNOMIALS[states])
    return state >> 1 ^ (feedback if state & 1 else 0) ^ (step if k & 1 else 0)


def after(states: int, state: int, value: int, centre: int) -> int:
    """After a value that `state` allows."""
    return next_state(states, state, abs(value - centre) + (state & 1) >> 1)


def follows(states: int, values: list[int], run: int, centre: int) -> bool:
    """Whether values go through the trellis in runs of `run`."""
    state = 0
    for i, value in enumerate(values):
        state = 0 if i % run == 0 else state
        if value != centre and (value ^ centre ^ state) & 1:
            return False
        state = after(states, state, value, centre)
    return True
