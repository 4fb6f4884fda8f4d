"""tersenet inspect: what each byte of a file is for. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from tersenet.ir import Graph


def inspect(
    session: Session,
    file: options.TersePath,
    coders: Annotated[bool, typer.Option("--coders", help="also what each tensor would take under each coder")] = False,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Show the byte ledger, the op list, the recipe and the checksums of a file."""
    import json
    import zlib
    from dataclasses import asdict

    from tersenet.cli.text import table
    from tersenet.container import decode, default_limit, read_file
    from tersenet.container.sections import SECTIONS, split

    data = read_file(file)
    contents = decode(data, name=str(file), max_bytes=max_bytes)
    model = contents.model
    found = split(data, default_limit(len(data)) if max_bytes is None else max_bytes)
    sections = [
        {"name": SECTIONS.get(kind, f"section {kind}"), "bytes": len(part), "crc32": f"{zlib.crc32(part):08x}"}
        for kind, part in found.by_kind.items()
    ]
    ledger = [
        {"name": row.name, "role": row.role, "form": row.form, "coder": row.coder, "bytes": row.size_bytes}
        for row in contents.ledger
    ]
    preprocess = model.graph.preprocess
    record: dict[str, Any] = {
        "file": str(file),
        "bytes": contents.file_bytes,
        "version": found.version,
        "decoded_bytes": found.decoded_bytes,
        "ledger": ledger,
        "sections": sections,
        "graph": _graph(model.graph),
        "preprocess": None if preprocess is None else asdict(preprocess),
        "provenance": model.provenance,
    }
    rows = [
        [str(row["name"]), str(row["role"]), str(row["form"]), str(row["coder"]), f"{row['bytes']:,}"] for row in ledger
    ]
    rows.append(["sum", "", "", "", f"{sum(row.size_bytes for row in contents.ledger):,}"])
    shown = [[str(one["name"]), f"{one['bytes']:,}", str(one["crc32"])] for one in sections]
    text = "\n\n".join(
        [
            f"{file}: {contents.file_bytes:,} bytes, version {found.version}, {found.decoded_bytes:,} bytes decoded",
            table(rows, ["name", "role", "form", "coder", "bytes"], "llllr"),
            table(shown, ["section", "bytes", "crc32"], "lrl"),
            "\n".join(_op_list(model.graph)),
            "preprocess  " + ("none stored" if preprocess is None else json.dumps(asdict(preprocess))),
            "provenance  "
            + ("none stored" if model.provenance is None else json.dumps(model.provenance, ensure_ascii=False)),
        ]
    )
    if coders:
        from tersenet.measure.coders import coder_bytes

        record["coders"] = coder_bytes(model)
        text += "\n\n" + _coder_table(record["coders"])
    session.result(record, text)


def _coder_table(sizes: dict[str, dict[str, int]]) -> str:
    """A row for each tensor and their sum, a column for each coder."""
    from tersenet.cli.text import table

    names = list(next(iter(sizes.values()), {}))
    rows = [[tensor, *(f"{one[name]:,}" for name in names)] for tensor, one in sizes.items()]
    rows.append(["sum", *(f"{sum(one[name] for one in sizes.values()):,}" for name in names)])
    return table(rows, ["bytes by coder", *names], "l" + "r" * len(names))


def _graph(graph: Graph) -> dict[str, Any]:
    return {
        "inputs": [{"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in graph.inputs],
        "outputs": [{"name": name, "value": output.number} for name, output in zip(graph.output_names, graph.outputs)],
        "nodes": [
            {
                "op": node.op,
                "value": graph.first_value(position),
                "arguments": {name: _plain(given) for name, given in node.arguments.items()},
            }
            for position, node in enumerate(graph.nodes)
        ],
        "tensors": dict(graph.parameters),
    }


def _op_list(graph: Graph) -> list[str]:
    lines = [
        f"%{number} = input {one.name} {one.dtype} ({', '.join(['batch', *map(str, one.shape)])})"
        for number, one in enumerate(graph.inputs)
    ]
    for position, node in enumerate(graph.nodes):
        arguments = ", ".join(f"{name}={_shown(given)}" for name, given in node.arguments.items())
        lines.append(f"%{graph.first_value(position)} = {node.op}({arguments})")
    lines.extend(f"output {name} = %{value.number}" for name, value in zip(graph.output_names, graph.outputs))
    return lines


def _plain(given: Any) -> Any:
    """An argument as JSON: a value as {"value": 3}, a stored tensor as {"tensor": "conv1.weight"}."""
    from tersenet.ir import Parameter, Value

    if isinstance(given, Value):
        return {"value": given.number}
    if isinstance(given, Parameter):
        return {"tensor": given.name}
    return [_plain(one) for one in given] if isinstance(given, tuple) else given


def _shown(given: Any) -> str:
    from tersenet.ir import Parameter, Value

    if isinstance(given, Value):
        return f"%{given.number}"
    if isinstance(given, Parameter):
        return given.name
    return f"({', '.join(map(_shown, given))})" if isinstance(given, tuple) else str(given)
