"""tersenet distill: a network learns from another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from torch import nn

    from tersenet.methods.distill import Teacher

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
    mixup: Annotated[
        float,
        typer.Option("--mixup", min=0, max=1, help="with --store-answers: share of views mixed with another example's"),
    ] = 0.0,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    optimiser: options.Optimiser = None,
    augment: options.Augment = None,
    precision: options.Precision = None,
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
    if mixup and store_answers is None:
        raise UsageError(
            f"--mixup {mixup:g} is of views, which are answered once and kept; give --store-answers a folder"
        )
    _check_loss(loss, layers, hint_epochs, store_answers)
    settings = _teacher(loss, temperature, labels, tuple(layers or ()), 0 if store_answers is None else views, mixup)

    from tersenet.cli.data import load_data
    from tersenet.cli.lessons import Lessons
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
    check_same_outputs(learner.model, known, example)  # also where a hint comes first, which does without
    run_dir = output.with_name(output.name + ".run")
    work = Lessons(session, learner.model, known, loaders, run_dir, device)
    work.check(settings, config, example)
    check_folder(run_dir, make=True)
    check_room(run_dir, 4 * sum(tensor.numel() for tensor in learner.model.state_dict().values()))
    asked_for = [one.model_dump(mode="json") for one in settings]
    work.claim([asked_for, config.model_dump(mode="json"), hint_epochs])
    scores = {"teacher": score(session, known, loaders, "test", device=device)}
    if learner.trained:
        scores["before"] = score(session, learner.model, loaders, "test", device=device)
    history: list[dict[str, Any]] = []
    if store_answers is not None:
        history += work.stored(settings[-1], config, store_answers)
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
            "student": str(output), "bytes": size, "epochs": len(history), "seed": session.seed,
            "pairs": work.pairs, "run_dir": str(run_dir), **scores,
        },
        f"{output}: {size:,} bytes, {len(history)} epochs\n"
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


def _teacher(
    loss: str, temperature: float, labels: float | None, layers: tuple[str, ...], views: int, mixup: float
) -> list[Teacher]:
    """The stages: for a hint one towards the guided layer alone, then soft answers (FitNets, algorithm 1)."""
    from pydantic import ValidationError

    from tersenet.errors import TersenetError
    from tersenet.methods.distill import Teacher

    known = "soft" if loss in GUIDES else loss
    answers: dict[str, Any] = {"loss": known, "temperature": temperature, "labels": labels}
    answers |= {"views": views, "mixup": mixup}
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
