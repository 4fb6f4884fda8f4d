"""Ctrl-C at any moment ends in one line and code 130, also while modules are being imported."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130


@contextmanager
def on_interrupt(act: Callable[[], object]) -> Iterator[None]:
    """While entered, Ctrl-C does `act` first, then raises KeyboardInterrupt.

    Where it is ignored, or away from the main thread, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        act()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave() -> None:
    """The end of a command that has not begun; typer lets a SystemExit through, a KeyboardInterrupt it keeps."""
    print("tersenet: error: interrupted", file=sys.stderr, flush=True)
    raise SystemExit(INTERRUPTED)
