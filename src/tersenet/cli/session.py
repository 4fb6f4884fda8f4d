"""How a command talks: the result on stdout, everything else on stderr, also what a user's own code prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tersenet.cli.progress import Progress


@dataclass
class Session:
    """The options that every command has, and the two streams.

    how_to_go_on   said after an interruption
    """

    json: bool = False
    seed: int = 0
    quiet: bool = False
    debug: bool = False
    how_to_go_on: str = ""
    stdout: TextIO = field(default_factory=lambda: sys.stdout, repr=False)

    def say(self, sentence: str) -> None:
        """A line of progress."""
        if not self.quiet:
            print(sentence, file=sys.stderr, flush=True)

    def result(self, record: dict[str, Any], text: str) -> None:
        """What the command was asked for."""
        print(json.dumps(record, indent=1, ensure_ascii=False) if self.json else text, file=self.stdout, flush=True)

    def refuse(self, sentence: str, code: int) -> None:
        """Why there is no result."""
        print(f"tersenet: error: {sentence}", file=sys.stderr, flush=True)
        if self.json:
            print(json.dumps({"error": sentence, "code": code}, ensure_ascii=False), file=self.stdout, flush=True)

    def resumable(self) -> None:
        """From here on the same command goes on after an interruption."""
        self.how_to_go_on = "; the same command goes on from here"

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A bar where stderr is a terminal, else a line a stage and epoch."""
        from tersenet.cli.progress import Progress

        progress = Progress(self)
        try:
            with progress.telling_warnings():
                yield progress
        finally:
            progress.close()
