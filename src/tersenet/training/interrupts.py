"""Ctrl-C and SIGTERM wait until a step is whole, so that what is saved is a state of the training."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal came; raised only where nothing is half done, and caught by the loop that deferred it."""


class DeferredInterrupts:
    """While entered, a signal is kept in `pending`; a second one goes through at once.

    Handlers can be set from the main thread only; elsewhere, and for ignored signals, nothing changes.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}
        self._pending: int | None = None
        self._immediate = False

    def __enter__(self) -> "DeferredInterrupts":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous not in (signal.SIG_IGN, None):
                    self._previous[number] = previous
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if error is None and self._pending is not None:
            signal.raise_signal(self._pending)  # it came after the last look

    @property
    def pending(self) -> bool:
        """Whether a signal has come."""
        return self._pending is not None

    def immediate(self, on: bool) -> None:
        """Whether a signal may break in right away, because nothing is half done."""
        self._immediate = on
        if on and self.pending:
            raise Stopped

    def deliver(self) -> None:
        """Hand the kept signal to its former handler; KeyboardInterrupt if that lets the program go on."""
        pending = self._pending
        self._restore()
        if pending is not None:
            signal.raise_signal(pending)
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._pending is not None:
            self._restore()
            signal.raise_signal(number)
        self._pending = number
        if self._immediate:
            self._immediate = False
            raise Stopped

    def _restore(self) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous = {}
