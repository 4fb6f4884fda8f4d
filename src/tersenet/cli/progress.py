"""What is being done and how long it will take, on stderr."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tersenet.cli.session import Session

# A wait of up to this long needs no estimate.
SHORT_SECONDS = 2.0
# In a log, a line at most this often while an epoch or an evaluation lasts.
LINE_SECONDS = 30.0


def left(seconds: float | None) -> str:
    """How long it will still take, or nothing where that is not known or short."""
    return "" if seconds is None or seconds < SHORT_SECONDS else f"{clock(seconds)} left"


def clock(seconds: float) -> str:
    """1:05, or 2:03:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Progress:
    """Takes the events of `fit` and `run`; a bar on a terminal, lines elsewhere."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.bar: Any = None
        self.task: Any = None
        self.spoken = time.monotonic()
        self.left = ""
        self.count = self.counter("")
        if not session.quiet and sys.stderr.isatty():
            self.bar = _bar()
            self.bar.start()
            self.task = self.bar.add_task("", total=None, note="")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()

    @contextmanager
    def telling_warnings(self) -> Iterator[None]:
        """Our own warnings as a sentence, also where the rest is quiet; others as Python shows them."""
        from tersenet.training.errors import TrainingWarning

        with warnings.catch_warnings():
            show = warnings.showwarning

            def tell(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
                if not issubclass(category, TrainingWarning):
                    show(message, category, *rest, **more)
                elif self.bar is not None:
                    self._line(f"warning: {message}")
                else:
                    print(f"warning: {message}", file=sys.stderr, flush=True)

            warnings.showwarning = tell
            warnings.simplefilter("always", TrainingWarning)
            yield

    def __call__(self, event: dict[str, Any]) -> None:
        kind, label = event.get("kind", "train"), event.get("label", "train")
        if kind == "point":
            self._line(f"quality {event['quality']:g} (point {event['number']} of at most {event['points']})")
        elif kind == "stage":
            self._line(label)
            self._show(label, None, None, "")
        elif kind == "evaluate":
            self._evaluating(label, event)
        elif kind == "train":
            self._training(label, event)

    def counter(self, label: str) -> Callable[[int, int | None], None]:
        """For `evaluate(on_batch=...)`: batches done, and of how many."""
        began = time.monotonic()

        def count(done: int, of: int | None) -> None:
            seconds = (time.monotonic() - began) / done * (of - done) if of else None
            self._show(label, done, of, left(seconds))

        return count

    def _evaluating(self, label: str, event: dict[str, Any]) -> None:
        if "step" in event:
            self.count(event["step"], event["steps"])
        else:
            self._show(label, None, None, "")
            self.count = self.counter(label)

    def _training(self, label: str, event: dict[str, Any]) -> None:
        epoch = f"{label}: epoch {event['epoch']}/{event['epochs']}"
        if event.get("stage") == "epoch":
            accuracy = event["validation_accuracy"]
            scored = "" if accuracy is None else f", validation accuracy {100 * accuracy:.2f} %"
            remaining = f", {self.left}" if self.left and event["epoch"] < event["epochs"] else ""
            self._line(f"{epoch}, loss {event['train_loss']:.4f}{scored}{remaining}")
        elif event.get("stage") == "validate":
            self._show(f"{epoch}, validate", event["step"], event["steps"], self.left)
        else:
            self.left = left(event.get("seconds_left"))
            right = event.get("accuracy")
            accuracy = "" if right is None else f"accuracy {100 * right:.1f} %"
            note = ", ".join(part for part in (f"loss {event['loss']:.4f}", accuracy, self.left) if part)
            self._show(epoch, event["step"], event["steps"], note)

    def _line(self, text: str) -> None:
        self.spoken = time.monotonic()
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self.session.say(text)

    def _show(self, label: str, done: int | None, of: int | None, note: str) -> None:
        if self.bar is not None:
            self.bar.update(self.task, description=label, completed=done or 0, total=of, note=note)
        elif time.monotonic() - self.spoken > LINE_SECONDS:
            count = "" if done is None else f", {done}/{of}" if of else f", {done}"
            self._line(f"{label}{count}{', ' if note else ''}{note}")


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
