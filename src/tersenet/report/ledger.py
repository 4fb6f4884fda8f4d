"""Every byte of the file, and what it is for."""

from __future__ import annotations

from tersenet.report.record import Record, first, rows, size
from tersenet.report.text import escape, exact_bytes


def draw(record: Record) -> str:
    """A row for each part; the sum is compared with the file's length."""
    found = rows(record.final.get("ledger"))
    if not found:
        return '<p class="none">No ledger yet: the run has not written its file.</p>'
    sizes = [size(first(row, "size_bytes", "bytes")) or 0 for row in found]
    total, largest = sum(sizes), max([*sizes, 1])
    body = []
    for row, size_bytes in zip(found, sizes):
        words = "".join(f"<td>{escape(row.get(key) or '')}</td>" for key in ("role", "form", "coder"))
        share = 100 * size_bytes / total if total else 0
        body.append(
            f'<tr><th scope="row">{escape(row.get("name") or "")}</th>{words}'
            f'<td class="n">{size_bytes:,}</td>'
            f'<td class="n">{share:.1f} %</td><td class="share"><svg aria-hidden="true">'
            f'<rect class="bar" width="{100 * size_bytes / largest:.2f}%" height="100%"/></svg></td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Part", "Role", "Form", "Coder"))
    return (
        f'<div class="scroll tall" tabindex="0" role="region" aria-label="Byte ledger">'
        f'<table class="ledger"><thead><tr>{head}'
        f'<th scope="col" class="n">Bytes</th><th scope="col" class="n">Share</th><td></td></tr></thead>'
        f"<tbody>{''.join(body)}</tbody>"
        f'<tfoot><tr><th scope="row" colspan="4">Sum</th><td class="n">{total:,}</td>'
        '<td class="n">100 %</td><td></td>'
        f"</tr></tfoot></table></div>{_verdict(record, total)}"
    )


def _verdict(record: Record, total: int) -> str:
    length = record.file_bytes
    if length == total:
        return f'<p class="good">The rows add up to the length of the file, {exact_bytes(length)}.</p>'
    said = "is not recorded" if length is None else f"is {exact_bytes(length)}"
    return f'<p class="warning">The rows add up to {exact_bytes(total)}, but the length of the file {said}.</p>'
