"""The table by layer, with the columns of Han et al. 2016 (arXiv:1510.00149, tables 2 to 5)."""

from __future__ import annotations

from typing import Any

from tersenet.report.record import Record, first, number, rows, table
from tersenet.report.text import count, escape, percent, ratio

FLOAT_BITS = 32
# Heading, and what it means.
COLUMNS = (
    ("Weights", "elements of the tensor"),
    ("Weights kept", "share of them that is not zero"),
    ("Weight bits", "bits of a stored weight after sharing, at fixed width"),
    ("Weight bits, coded", "bits of a stored weight on disk"),
    ("Index bits", "bits of a position at fixed width"),
    ("Index bits, coded", "bits of a stored weight's position on disk"),
    ("Rate P", "times smaller after pruning"),
    ("Rate P+Q", "times smaller after pruning and sharing"),
    ("Rate P+Q+H", "times smaller on disk, all bytes of the tensor counted"),
    ("Formula rate", "by the formula of the form over the n stored weights: n b / (n log2 k + k b) for shared values"),
    ("Real rate", "the same weights and tables as they lie on disk"),
    ("Formula bytes", "of weights and tables by that formula"),
    ("Off by", "bytes of weights and tables on disk, less those of the formula"),
    ("Bytes", "of the tensor on disk"),
)
SUMMED = (
    "weights",
    "nonzeros",
    "stored",
    "index_symbols",
    "pruned_bits",
    "shared_bits",
    "coded_bits",
    "formula_bits",
    "code_and_table_bits",
)
AVERAGED = {
    "weight_bits": "stored",
    "weight_bits_coded": "stored",
    "index_bits": "index_symbols",
    "index_bits_coded": "stored",
}


def draw(record: Record) -> str:
    """A row a tensor, then the total, which is the tensors' alone: headers are in the ledger."""
    layers, total = _rows_and_total(record.final.get("table"))
    if not layers:
        return '<p class="none">No table yet: the run has not written its file.</p>'
    head = "".join(f'<th scope="col" class="n" title="{escape(why)}">{escape(name)}</th>' for name, why in COLUMNS)
    body = "".join(_row(row, str(row.get("name") or ""), str(row.get("form") or "")) for row in layers)
    return (
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Table by layer">'
        '<table class="layers"><thead><tr>'
        f'<th scope="col">Tensor</th>{head}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{_row(total, 'Total', '')}</tfoot></table></div>{_legend()}{_smaller(record)}"
    )


def _smaller(record: Record) -> str:
    """What the rates are rates of, where channels have left the network."""
    before, after = (number(cost.get("parameters")) for cost in record.costs)
    if before is None or after is None or after >= before:
        return ""
    return (
        f'<p class="about">Rates count the {count(after)} parameters that the network has now; '
        f"the original had {count(before)}.</p>"
    )


def _rows_and_total(given: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A list of rows with or without a last one for the total, or a table of both."""
    if isinstance(given, dict):
        found = rows(given.get("rows"))
        return found, table(given.get("total")) or _total(found)
    found = rows(given)
    if len(found) > 1 and found[-1].get("name") == "total" and not found[-1].get("form"):
        return found[:-1], found[-1]
    return found, _total(found)


def _total(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts and bytes add up; bits are the mean over what is stored."""
    total: dict[str, Any] = {name: _sum([number(row.get(name)) for row in layers]) for name in SUMMED}
    for name, weight in AVERAGED.items():
        known = [(number(row.get(name)), number(row.get(weight))) for row in layers]
        pairs = [(value, n) for value, n in known if value is not None and n is not None]
        n = sum(pair[1] for pair in pairs)
        total[name] = sum(value * n for value, n in pairs) / n if n > 0 and len(pairs) == len(known) else None
    return total


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _row(row: dict[str, Any], name: str, form: str) -> str:
    detail = f' <span class="form">{escape(form)}</span>' if form else ""
    cells = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells_of(row))
    return f'<tr><th scope="row">{escape(name)}{detail}</th>{cells}</tr>'


def cells_of(row: dict[str, Any]) -> list[str]:
    """The text of each column. Rates are given, or follow from the bits of each stage."""
    weights, nonzeros = number(row.get("weights")), number(row.get("nonzeros"))
    stored, coded = number(row.get("stored")), number(row.get("coded_bits"))
    kept = number(row.get("kept"))
    if kept is None and weights and nonzeros is not None:
        kept = nonzeros / weights
    formula, real = number(row.get("formula_bits")), number(row.get("code_and_table_bits"))
    size_bytes = number(first(row, "size_bytes"))
    if size_bytes is None and coded is not None:
        size_bytes = coded / 8
    return [
        _or_dash(weights, count),
        _or_dash(kept, percent),
        *(_or_dash(number(row.get(name)), _bits) for name in AVERAGED),
        _rate(row, "rate_pruned", weights, "pruned_bits"),
        _rate(row, "rate_shared", weights, "shared_bits"),
        _rate(row, "rate_coded", weights, "coded_bits"),
        _rate(row, "formula_rate", stored, "formula_bits"),
        _rate(row, "formula_rate_real", stored, "code_and_table_bits"),
        _or_dash(formula, _bytes),
        _or_dash(None if real is None or formula is None else real - formula, _difference),
        _or_dash(size_bytes, count),
    ]


def _rate(row: dict[str, Any], name: str, elements: float | None, bits_name: str) -> str:
    given, bits = number(row.get(name)), number(row.get(bits_name))
    if given is None and elements is not None and bits:
        given = FLOAT_BITS * elements / bits
    return _or_dash(given, ratio)


def _bits(value: float) -> str:
    return f"{value:.2f}".removesuffix(".00")


def _bytes(bits: float) -> str:
    return str(count(round(bits / 8)))


def _difference(bits: float) -> str:
    """In bytes, with its sign."""
    return f"{round(bits / 8):+,}".replace("-", "−")


def _or_dash(value: float | None, say: Any) -> str:
    return "–" if value is None else str(say(value))


def _legend() -> str:
    said = "".join(f"<dt>{escape(name)}</dt><dd>{escape(why)}</dd>" for name, why in COLUMNS)
    return (
        "<details><summary>What the columns mean</summary>"
        "<p>P is pruning, Q is sharing (quantization), H is the final coding. "
        "A rate is float32 size over compressed size. "
        f'A dash: does not apply, or not measured.</p><dl class="legend">{said}</dl></details>'
    )
