"""tersenet distill: a network learns from another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from torch import nn

    from tersenet.cli.data import Loaders
    from tersenet.methods.distill import Teacher
    from tersenet.training import TrainConfig

LOSSES = ("soft", "logits", "values", "hint", "attention", "features")
GUIDES = ("hint", "attention", "features")
# FitNets give no number; their hint stage is a fraction of the whole.
HINT_SHARE = 4


def distill(
    session: Session,
    teacher: Annotated[
        list[str],
        typer.Option(
            "--teacher",
            help="who teaches: as a SOURCE, file.py:fn of one input, or the folder of an ensemble; several are averaged",
        ),
    ],
    student: Annotated[str, typer.Option("--student", help=f"who learns: {options.SOURCE_HELP}")],
    data: options.DataName,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="where the student goes: .safetensors, or .terse if it came as one")
    ],
    teacher_weights: Annotated[
        list[Path] | None, typer.Option("--teacher-weights", help="trained weights, one file a teacher, in order")
    ] = None,
    student_weights: Annotated[
        Path | None, typer.Option("--student-weights", help="weights that the student begins with; fresh by default")
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            "--loss",
            help="soft, logits, values (regression), hint (a stage of its own, then soft), attention or features "
            "(beside soft)",
        ),
    ] = "soft",
    temperature: Annotated[float, typer.Option("--temperature", help="softens the answers of both; above 0")] = 4.0,
    labels: Annotated[
        float | None,
        typer.Option("--labels", help="share of the loss from the labels, 0 to 1; 0.1 beside soft answers"),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--hint", "--layers", help="STUDENT_LAYER:TEACHER_LAYER to compare; paired by shape by default"),
    ] = None,
    hint_epochs: Annotated[
        int | None, typer.Option("--hint-epochs", min=1, help="of the hint stage; a quarter of --epochs by default")
    ] = None,
    store_answers: Annotated[
        Path | None, typer.Option("--store-answers", help="folder where the teacher's answers are kept and found again")
    ] = None,
    views: Annotated[
        int, typer.Option("--views", min=1, help="with --store-answers: fixed augmented views of each example")
    ] = 1,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="passes over the data; the student's own by default")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="examples a step")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="learning rate")] = None,
    optimiser: Annotated[str | None, typer.Option("--optimiser", help="sgd, adam, adamw or rmsprop")] = None,
    augment: Annotated[str | None, typer.Option("--augment", help="none, flip_crop or shift")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="float32 or bfloat16")] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Train a network by another one's answers; the same command goes on after an interruption."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file, check_folder, check_room

    wanted = options.SUFFIX if student.endswith(options.SUFFIX) else ".safetensors"
    if output.suffix != wanted:
        raise UsageError(f"--output {output}: this student is written as {wanted}; end the name so")
    check_file(output)
    if views > 1 and store_answers is None:
        raise UsageError(f"--views {views} are answered once and kept; give --store-answers a folder")
    _check_loss(loss, layers, hint_epochs, store_answers)
    settings = _teacher(loss, temperature, labels, tuple(layers or ()))

    from tersenet.cli.data import load_data
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.cli.teachers import load_teacher
    from tersenet.cli.text import percent
    from tersenet.cli.training import score, train_config
    from tersenet.methods.distill.teachers import check_same_outputs
    from tersenet.zoo.baselines import baseline

    options.set_threads(threads)
    device = options.find_device(device)
    learner = resolve(student, student_weights, seed=session.seed, max_bytes=max_bytes)
    loaders = load_data(data, data_dir, download, learner.preprocess)
    loaders.need("train")
    check_match(learner.model, loaders)
    asked = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "optimiser": optimiser, "augment": augment,
        "precision": precision,
    }  # fmt: skip
    config = train_config(_whole(baseline(student) | {name: one for name, one in asked.items() if one is not None}))
    known, behind = load_teacher(
        teacher, teacher_weights or [], loaders.preprocess, seed=session.seed, max_bytes=max_bytes
    )
    if behind:
        settings = [_prefixed(one) for one in settings]
    example = loaders.first_batch()[0]
    check_same_outputs(learner.model, known, example)
    run_dir = output.with_name(output.name + ".run")
    check_folder(run_dir, make=True)
    check_room(run_dir, 4 * sum(tensor.numel() for tensor in learner.model.state_dict().values()))
    work = _Work(session, learner.model, known, loaders, run_dir, device)
    work.claim([[one.model_dump(mode="json") for one in settings], config.model_dump(mode="json"), views])
    scores = {"teacher": score(session, known, loaders, "test", device=device)}
    if learner.trained:
        scores["before"] = score(session, learner.model, loaders, "test", device=device)
    history: list[dict[str, Any]] = []
    if store_answers is not None:
        history += work.stored(settings[-1], config, store_answers, views)
    else:
        for number, one in enumerate(settings, 1):
            stage = config
            if number < len(settings):
                stage = config.model_copy(update={"epochs": hint_epochs or max(1, config.epochs // HINT_SHARE)})
                stage = train_config(_whole(stage.model_dump()))
            history += work.live(one, stage, example, "hint" if number < len(settings) else "distill")
    learner.model.to("cpu")
    size = _save(learner.model, output)
    for part in ("validate", "test"):
        scores[part] = score(session, learner.model, loaders, part, device=device)
    session.result(
        {
            "student": str(output), "bytes": size, "epochs": len(history) * views, "seed": session.seed,
            "pairs": work.pairs, "run_dir": str(run_dir), **scores,
        },
        f"{output}: {size:,} bytes, {len(history) * views} epochs\n"
        + "".join(f"{kind}: {mine} learns from {theirs}\n" for kind, mine, theirs in work.pairs)
        + f"accuracy: validate {percent(scores['validate'])}, test {percent(scores['test'])}"
        + (f" (before {percent(scores['before'])})" if "before" in scores else "")
        + f"; the teacher's, test: {percent(scores['teacher'])}",
    )  # fmt: skip


def _check_loss(loss: str, layers: list[str] | None, hint_epochs: int | None, store: Path | None) -> None:
    from tersenet.cli.command import UsageError

    if loss not in LOSSES:
        raise UsageError(f"--loss {loss}: known are {', '.join(LOSSES)}")
    if layers and loss not in GUIDES:
        raise UsageError(f"--hint {layers[0]} compares layers, which --loss {loss} does not; take {', '.join(GUIDES)}")
    if hint_epochs is not None and loss != "hint":
        raise UsageError(f"--hint-epochs belongs to --loss hint; --loss {loss} came")
    if store is not None and loss in GUIDES:
        raise UsageError(f"--store-answers keeps answers, and --loss {loss} looks inside the teacher; drop one of them")


def _teacher(loss: str, temperature: float, labels: float | None, layers: tuple[str, ...]) -> list[Teacher]:
    """The stages: for a hint one towards the guided layer alone, then soft answers (FitNets, algorithm 1)."""
    from pydantic import ValidationError

    from tersenet.errors import TersenetError
    from tersenet.methods.distill import Teacher

    answers: dict[str, Any] = {"loss": "soft" if loss in GUIDES else loss, "labels": labels}
    if answers["loss"] == "soft":
        answers["temperature"] = temperature
    stages = [answers]
    if loss == "hint":
        stages = [{"loss": "none", "labels": 0.0, "hint": {"layers": layers}}, answers]
    elif loss in GUIDES:
        answers[loss] = {"layers": layers}
    try:
        return [Teacher.model_validate(one) for one in stages]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "teacher"
        message = first["msg"].removeprefix("Value error, ")
        raise TersenetError(f"--{name}: {message}; got {first['input']!r}") from error


def _prefixed(settings: Teacher) -> Teacher:
    """The teacher stands behind a change of scale, so its layers have another name there."""
    changed = {}
    for kind in GUIDES:
        guide = getattr(settings, kind)
        if guide is not None and guide.layers:
            pairs = tuple(f"{mine}:network.{theirs}" for mine, theirs in guide.pairs)
            changed[kind] = guide.model_copy(update={"layers": pairs})
    return settings.model_copy(update=changed)


def _whole(settings: dict[str, Any]) -> dict[str, Any]:
    """A short run has no time to warm up."""
    short = settings.get("warmup_epochs", 0) >= settings["epochs"]
    return settings | {"warmup_epochs": 0} if short else settings


def _save(model: nn.Module, output: Path) -> int:
    from tersenet import artifact
    from tersenet.cli.training import save_weights
    from tersenet.graph import Network

    if isinstance(model, Network):
        artifact.save(model, output)
        return output.stat().st_size
    return save_weights(model, output)


class _Work:
    """One run of the command: what is learnt from whom, and where it is kept."""

    def __init__(
        self, session: Session, student: nn.Module, teacher: nn.Module, loaders: Loaders, run_dir: Path, device: str
    ) -> None:
        self.session, self.student, self.teacher = session, student.to(device), teacher.to(device)
        self.loaders, self.run_dir, self.device = loaders, run_dir, device
        self.pairs: list[tuple[str, str, str]] = []

    def claim(self, asked: Any) -> None:
        """Refuse the folder of another run: checkpoints do not know who taught them."""
        import hashlib
        import json

        from tersenet.container import atomic_write, read_file
        from tersenet.errors import TersenetError
        from tersenet.methods.distill import teacher_fingerprint

        parts = [asked, self.session.seed, teacher_fingerprint(self.student), teacher_fingerprint(self.teacher)]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        note = self.run_dir / "distill.json"
        if not note.exists():
            atomic_write(note, json.dumps({"fingerprint": digest}).encode())
        elif json.loads(read_file(note)).get("fingerprint") != digest:
            raise TersenetError(
                f"{self.run_dir} belongs to another run (teacher, student, loss, training or seed differ); "
                "delete it, or choose another --output"
            )

    def live(self, settings: Teacher, config: TrainConfig, example: Any, label: str) -> list[dict[str, Any]]:
        """The teacher is asked at every step."""
        from tersenet.methods.distill import lesson

        taught = lesson(self.student, self.teacher, settings, config, example.to(self.device), seed=self.session.seed)
        self.pairs += taught.pairs
        return self._fit(taught.model, self.loaders.need("train"), config, label, criterion=taught.criterion)

    def stored(self, settings: Teacher, config: TrainConfig, folder: Path, views: int) -> list[dict[str, Any]]:
        """The teacher is asked once; an epoch over the views is as many epochs of the data."""
        from tersenet.cli.command import UsageError
        from tersenet.methods.distill import Taught, Views, store_answers
        from tersenet.training import IndexedData

        data = self.loaders.need("train")
        if not isinstance(data, IndexedData):
            raise UsageError(
                f"{self.loaders.text} is a loader, whose examples have no numbers to keep answers by; "
                "drop --store-answers, or give a data set of the zoo"
            )
        if config.augment != "none" or views > 1:
            data = Views(data, views, augment=config.augment, pixels=config.augment_pixels, seed=self.session.seed)
        if config.epochs % views:
            raise UsageError(f"{config.epochs} epochs are no multiple of {views} views; give --epochs that is one")
        config = config.model_copy(
            update={
                "epochs": config.epochs // views, "warmup_epochs": config.warmup_epochs / views,
                "step_epochs": config.step_epochs / views, "augment": "none", "augment_pixels": None,
            }
        )  # fmt: skip
        self.session.resumable()
        with self.session.progress() as progress:
            answers = store_answers(
                self.teacher,
                data,
                folder,
                precision=config.precision,
                device=self.device,
                on_batch=progress.counter("ask the teacher"),
            )
        taught = Taught(data, answers, labelled=settings.label_share > 0)
        criterion = taught.criterion(settings, config)
        return self._fit(self.student, taught, config, "distill", criterion=criterion, labels_of=taught.labels)

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
