"""Writes operations.md, the appendix of format.md, from the table in src/tersenet/ir/ops.py."""

from __future__ import annotations

from pathlib import Path

from tersenet.ir.ops import _ROWS, OPS

HEAD = """# Operations of a graph section

Appendix of [format.md](format.md), section 3; written by `spec/make_operations.py`. An operation means what the
PyTorch operator `torch.ops.aten.<meaning>` means (`_to_float` is `to(float32)`); its arguments bear the same names.
Codes are never reused; new operations get new codes.

Arguments are given as `name:kind`, then `=default` where it may be left out (a kind with `?` defaults to nothing;
`=` with nothing after it is the empty list).
Kinds: `x` a tensor, `x*` a list of tensors, `i` an integer, `I` a list of integers, `f` a float, `n` an integer or a
float, `b` a truth value, `s` a text.

| code | operation | meaning | arguments | outputs |
|---|---|---|---|---|
"""


def operations() -> str:
    """The whole page."""
    rows = [f"| {row[0]} | `{row[1]}` | `{row[2]}` | `{row[3]}` | {OPS[row[1]].outputs} |" for row in sorted(_ROWS)]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("operations.md").write_text(operations(), encoding="utf-8")
