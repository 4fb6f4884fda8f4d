"""What came in, what came out."""

from __future__ import annotations

from tersenet.report.record import Record, number, size
from tersenet.report.text import MISSING, count, escape, exact_bytes, points, ratio, seconds
from tersenet.report.tiles import score_text, scores


def draw(record: Record) -> str:
    """Two lists side by side."""
    return (
        '<div class="inout">'
        f"<section><h3>Came in</h3>{_list(_came_in(record))}</section>"
        f"<section><h3>Came out</h3>{_list(_came_out(record))}</section>"
        "</div>"
    )


def _list(pairs: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in pairs)}</dl>"


def _came_in(record: Record) -> list[tuple[str, str]]:
    return [
        ("Network", record.source),
        ("Parameters", count(record.parameters)),
        ("As float32", exact_bytes(record.original_bytes)),
        *_scores(record, 0),
        ("Recipe", record.recipe_name),
        ("Seed", MISSING if record.seed is None else str(record.seed)),
        ("Machine", record.machine),
    ]


def _came_out(record: Record) -> list[tuple[str, str]]:
    if not record.finished:
        return [("File", "none yet: the run is unfinished"), ("Finished stages", count(len(record.stages)))]
    file_bytes, before = record.file_bytes, record.original_bytes
    spent = [stage.seconds for stage in record.stages]
    total = sum(value for value in spent if value is not None) if any(value is not None for value in spent) else None
    bits = None if not record.parameters or file_bytes is None else 8 * file_bytes / record.parameters
    lost = number(record.final.get("drop_points"))
    return [
        ("File", exact_bytes(file_bytes)),
        ("Ratio", ratio(before / file_bytes) if before and file_bytes else MISSING),
        ("Bits a parameter", MISSING if bits is None else f"{bits:.3f} bits, all overhead counted"),
        *_scores(record, 1),
        ("Validation change", points(lost)),
        ("Coder", record.coder),
        (
            "Stages",
            f"{count(len(record.stages))}, in {seconds(total)}" if total is not None else count(len(record.stages)),
        ),
    ]


def _scores(record: Record, side: int) -> list[tuple[str, str]]:
    found = []
    for split, called in (("test", "Test"), ("validate", "Validation")):
        score = scores(record, split)[side]
        for key, name in (("accuracy", "accuracy"), ("top5", "top-5 accuracy"), ("metric", "metric")):
            if (value := number(score.get(key))) is not None:
                found.append((f"{called} {name}", score_text(key, value)))
        if (loss := number(score.get("loss"))) is not None:
            examples = size(score.get("examples"))
            found.append((f"{called} loss", f"{loss:.4f}" + (f" ({count(examples)} examples)" if examples else "")))
    return found or [("Accuracy", MISSING)]
