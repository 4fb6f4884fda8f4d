"""What is left of a training: weights, its record, the report, and the scores that are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tersenet.cli.data import Loaders
    from tersenet.cli.session import Session
    from tersenet.cli.source import Source
    from tersenet.training import History, TrainConfig


def finish(
    session: Session,
    source: Source,
    loaders: Loaders,
    config: TrainConfig,
    history: History,
    output: Path,
    run_dir: Path,
    report: Path | None,
    figures: Path | None,
    device: str,
) -> None:
    """Write everything that was asked for, and say what came out."""
    from tersenet.cli.examined import examined, write_figures
    from tersenet.cli.training import save_weights, score
    from tersenet.container import atomic_write
    from tersenet.report import write
    from tersenet.training.devices import machine_name
    from tersenet.training.examine import Examination

    size = save_weights(source.model, output)
    seen = Examination(config.loss)
    part = next((one for one in ("test", "validate") if loaders.get(one) is not None), None)
    scores = {
        one: score(
            session,
            source.model,
            loaders,
            one,
            device=device,
            loss=config.loss,
            observe=seen if one == part else None,
        )
        for one in ("validate", "test")
    }
    record = {
        "source": source.text,
        "data": loaders.text,
        "seed": session.seed,
        "machine": machine_name(device),
        "parameters": sum(parameter.numel() for parameter in source.model.parameters()),
        "weights": output.name,
        "bytes": size,
        "config": config.model_dump(mode="json"),
        "history": history.to_dict(),
        "scores": scores,
        "examined": None if part is None else examined(seen, loaders, part),
    }
    atomic_write(run_dir / "train.json", json.dumps(record, indent=1).encode())
    written: dict[str, Any] = {}
    if report is not None:
        write(run_dir, report)
        written["report"] = str(report)
    if figures is not None and part is not None:
        written["figures"] = [str(figures / name) for name in write_figures(seen, loaders, part, figures)]
    session.result(
        {
            "weights": str(output),
            "bytes": size,
            "epochs": len(history.epochs),
            "best_epoch": history.best_epoch,
            "seed": session.seed,
            "run_dir": str(run_dir),
            **scores,
            **written,
        },
        "\n".join(_told(output, size, config, history, scores, written)),
    )


def _told(
    output: Path,
    size: int,
    config: TrainConfig,
    history: History,
    scores: dict[str, Any],
    written: dict[str, Any],
) -> list[str]:
    from tersenet.cli.text import percent

    epochs = f"{len(history.epochs)} epochs"
    if len(history.epochs) < config.epochs:
        epochs += f" of {config.epochs}, stopped early"
    if history.best_epoch is not None:
        epochs += f", the best is {history.best_epoch}"
    lines = [f"{output}: {size:,} bytes, {epochs}"]
    known = {part: score for part, score in scores.items() if score is not None}
    if any(score["accuracy"] is not None for score in known.values()) or not known:
        lines.append(f"accuracy: validate {percent(scores['validate'])}, test {percent(scores['test'])}")
    else:
        lines.append("loss: " + ", ".join(f"{part} {score['loss']:.4g}" for part, score in known.items()))
    lines.extend(([written["report"]] if "report" in written else []) + written.get("figures", []))
    return lines
