"""How a student is taught from the command line: by a teacher asked at every step, or by its stored answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from tersenet.cli.data import Loaders
    from tersenet.cli.session import Session
    from tersenet.methods.distill import Teacher
    from tersenet.training import TrainConfig


class Lessons:
    """One run of the command: what is learnt from whom, and where it is kept."""

    def __init__(
        self, session: Session, student: nn.Module, teacher: nn.Module, loaders: Loaders, run_dir: Path, device: str
    ) -> None:
        self.session, self.student, self.teacher = session, student.to(device), teacher.to(device)
        self.loaders, self.run_dir, self.device = loaders, run_dir, device
        self.pairs: list[tuple[str, str, str]] = []

    def check(self, settings: list[Teacher], config: TrainConfig, example: Any) -> None:
        """Refuse what cannot be learnt, before anything is made."""
        from tersenet.cli.command import UsageError
        from tersenet.methods.distill import lesson
        from tersenet.training import IndexedData

        for one in settings:
            lesson(self.student, self.teacher, one, config, example.to(self.device))
        if settings[-1].views and not isinstance(self.loaders.need("train"), IndexedData):
            raise UsageError(
                f"{self.loaders.text} is a loader, whose examples have no numbers to keep answers by; "
                "drop --store-answers, or give a data set of the zoo"
            )

    def claim(self, asked: Any) -> None:
        """Refuse the folder of another run: checkpoints do not know who taught them, nor what on."""
        from tersenet.container import atomic_write, read_file
        from tersenet.errors import TersenetError
        from tersenet.methods.distill import teacher_fingerprint
        from tersenet.methods.distill.fingerprint import inputs_fingerprint

        data = self.loaders.need("train")
        inputs = inputs_fingerprint(data) if hasattr(data, "batch") else None
        networks = [teacher_fingerprint(self.student), teacher_fingerprint(self.teacher)]
        parts = [asked, self.session.seed, self.loaders.text, inputs, *networks]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest().encode()
        note = self.run_dir / "distill.sha256"
        if not note.exists():
            atomic_write(note, digest)
        elif read_file(note) != digest:
            raise TersenetError(
                f"{self.run_dir} belongs to another run (teacher, student, data, loss, training or seed differ); "
                "delete it, or choose another --output"
            )

    def live(self, settings: Teacher, config: TrainConfig, example: Any, label: str) -> list[dict[str, Any]]:
        """The teacher is asked at every step."""
        from tersenet.methods.distill import lesson

        taught = lesson(self.student, self.teacher, settings, config, example.to(self.device), seed=self.session.seed)
        self.pairs += taught.pairs
        return self._fit(taught.model, self.loaders.need("train"), config, label, criterion=taught.criterion)

    def stored(self, settings: Teacher, config: TrainConfig, folder: Path) -> list[dict[str, Any]]:
        """The teacher is asked once about each view."""
        from tersenet.methods.distill import answered

        self.session.resumable()
        with self.session.progress() as progress:
            once = answered(
                self.teacher,
                self.loaders.need("train"),
                settings,
                config,
                folder,
                seed=self.session.seed,
                device=self.device,
                on_batch=progress.counter("ask the teacher"),
            )
        more = {"criterion": once.criterion, "labels_of": once.labels_of}
        return self._fit(self.student, once.data, once.config, "distill", **more)

    def _fit(self, model: nn.Module, train: Any, config: TrainConfig, label: str, **more: Any) -> list[dict[str, Any]]:
        from tersenet.training import fit

        self.session.resumable()
        with self.session.progress() as progress:
            history = fit(
                model,
                train,
                self.loaders.get("validate"),
                config,
                seed=self.session.seed,
                checkpoint=self.run_dir / f"{label}.ckpt",
                device=self.device,
                on_event=lambda event: progress({"kind": "train", "label": label, **event}),
                **more,
            )
        records: list[dict[str, Any]] = history.to_dict()["epochs"]
        return records
