"""The graph section: a Graph to bytes and back, exactly as spec/format.md section 3 lays it out."""

from __future__ import annotations

from typing import Any

from tersenet.bits import ByteReader, ByteWriter
from tersenet.errors import TersenetError
from tersenet.ir.graph import DTYPES, MAX_NAME, Graph, Input, Node, Parameter, Preprocess, Value
from tersenet.ir.ops import OPS, OPS_BY_CODE, REQUIRED, Op

# Endings that parameter names share; part of the format, 0 means none of them.
SUFFIXES = ("", ".weight", ".bias", ".running_mean", ".running_var")
MAX_COUNT = 1_000_000
# Names share their beginnings, so that few bytes can stand for many characters: this many for a byte of the section.
NAME_CHARACTERS = 32
NAME_CHARACTERS_FREE = 1 << 16


def write(graph: Graph) -> bytes:
    """The bytes of the section."""
    out = ByteWriter()
    out.varint(len(graph.inputs))
    for given in graph.inputs:
        _write_text(out, given.name)
        out.u8(DTYPES.index(given.dtype))
        _write_ints(out, given.shape, signed=False)
    _write_names(out, graph)
    numbers = {name: number for number, name in enumerate(graph.parameters)}
    out.varint(len(graph.nodes))
    values = len(graph.inputs)
    for node in graph.nodes:
        _write_node(out, node, values, numbers)
        values += OPS[node.op].outputs
    out.varint(len(graph.outputs))
    for output, name in zip(graph.outputs, graph.output_names):
        out.varint(values - 1 - output.number)
        _write_text(out, name)
    _write_preprocess(out, graph.preprocess)
    return out.getvalue()


def read(data: bytes | memoryview) -> Graph:
    """The graph of a section from anyone. Raises TersenetError where it is cut, unknown or does not hold together."""
    reader = ByteReader(data)
    inputs = tuple(
        Input(_read_text(reader), _dtype(reader.u8()), _read_ints(reader, signed=False)) for _ in range(_count(reader))
    )
    parameters, buffers = _read_names(reader)
    names = list(parameters)
    nodes = []
    values = len(inputs)
    for _ in range(_count(reader)):
        nodes.append(_read_node(reader, values, names))
        values += OPS[nodes[-1].op].outputs
    outputs, output_names = [], []
    for _ in range(_count(reader)):
        outputs.append(Value(values - 1 - reader.varint()))
        output_names.append(_read_text(reader))
    preprocess = _read_preprocess(reader)
    reader.expect_end()
    return Graph(inputs, tuple(nodes), tuple(outputs), tuple(output_names), parameters, preprocess, buffers)


def _count(reader: ByteReader) -> int:
    count = reader.varint()
    if count > min(MAX_COUNT, reader.remaining):
        raise TersenetError(f"{count} entries declared at byte {reader.offset} with {reader.remaining} bytes left")
    return count


def _write_text(out: ByteWriter, text: str) -> None:
    data = text.encode()
    out.varint(len(data))
    out.bytes(data)


def _read_text(reader: ByteReader) -> str:
    return reader.text(reader.varint())


def _dtype(code: int) -> str:
    if code >= len(DTYPES):
        raise TersenetError(f"unknown dtype code {code}; this build knows {', '.join(DTYPES)}")
    return DTYPES[code]


def _write_ints(out: ByteWriter, values: tuple[int, ...], *, signed: bool = True) -> None:
    out.varint(len(values))
    for value in values:
        (out.svarint if signed else out.varint)(value)


def _read_ints(reader: ByteReader, *, signed: bool = True) -> tuple[int, ...]:
    return tuple((reader.svarint if signed else reader.varint)() for _ in range(_count(reader)))


def _write_names(out: ByteWriter, graph: Graph) -> None:
    """Each name as the length it shares with the one before, the rest, and the code of its ending."""
    out.varint(len(graph.parameters))
    before = ""
    for name, dtype in graph.parameters.items():
        suffix = next(code for code in range(len(SUFFIXES) - 1, -1, -1) if name.endswith(SUFFIXES[code]))
        stem = name[: len(name) - len(SUFFIXES[suffix])]
        shared = 0
        while shared < min(len(stem), len(before)) and stem[shared] == before[shared]:
            shared += 1
        out.u8(suffix | (name in graph.buffers) << 3 | DTYPES.index(dtype) << 4)
        out.varint(shared)
        _write_text(out, stem[shared:])
        before = stem


def _read_names(reader: ByteReader) -> tuple[dict[str, str], frozenset[str]]:
    parameters: dict[str, str] = {}
    buffers = set()
    before = ""
    characters = NAME_CHARACTERS_FREE + NAME_CHARACTERS * (reader.offset + reader.remaining)
    for _ in range(_count(reader)):
        byte = reader.u8()
        suffix, dtype = byte & 7, _dtype(byte >> 4)
        shared = reader.varint()
        if suffix >= len(SUFFIXES) or shared > len(before):
            raise TersenetError(f"a tensor name before byte {reader.offset} is not well formed")
        before = before[:shared] + _read_text(reader)
        name = before + SUFFIXES[suffix]
        characters -= len(name)
        if len(name) > MAX_NAME or characters < 0:
            raise TersenetError(f"tensor name '{name[:80]}' or the names up to it are too long")
        if name in parameters:
            raise TersenetError(f"tensor '{name[:80]}' is declared twice")
        parameters[name] = dtype
        if byte & 8:
            buffers.add(name)
    return parameters, frozenset(buffers)


def _optional(op: Op) -> list[Any]:
    return [argument for argument in op.arguments if argument.default is not REQUIRED]


def _write_node(out: ByteWriter, node: Node, values: int, numbers: dict[str, int]) -> None:
    """The code, a bit for each optional argument that is given, then the arguments in order."""
    op = OPS[node.op]
    out.u8(op.code)
    optional = _optional(op)
    if optional:
        out.varint(sum((argument.name in node.arguments) << bit for bit, argument in enumerate(optional)))
    for argument in op.arguments:
        if argument.name in node.arguments:
            _write_argument(out, argument.kind, node.arguments[argument.name], values, numbers)


def _read_node(reader: ByteReader, values: int, names: list[str]) -> Node:
    code = reader.u8()
    if code not in OPS_BY_CODE:
        raise TersenetError(f"unknown operation code {code} at byte {reader.offset - 1}; a newer tersenet may know it")
    op = OPS_BY_CODE[code]
    optional = _optional(op)
    given = reader.varint() if optional else 0
    if given >> len(optional):
        raise TersenetError(f"operation {op.name} at byte {reader.offset} claims arguments it does not have")
    present = {argument.name for bit, argument in enumerate(optional) if given >> bit & 1}
    arguments = {}
    for argument in op.arguments:
        if argument.default is REQUIRED or argument.name in present:
            arguments[argument.name] = _read_argument(reader, argument.kind, values, names)
    return Node(op.name, arguments)


def _write_argument(out: ByteWriter, kind: str, given: Any, values: int, numbers: dict[str, int]) -> None:
    """By kind. A value is its distance back times 2, a parameter its number times 2 plus 1."""

    def tensor(one: Value | Parameter) -> None:
        if isinstance(one, Value):
            out.varint((values - 1 - one.number) << 1)
        else:
            out.varint(numbers[one.name] << 1 | 1)

    if given is None:
        raise TersenetError(f"an argument of kind {kind} is given as nothing, which is not its default")
    base = kind.rstrip("?")
    if base == "x":
        tensor(given)
    elif base == "x*":
        out.varint(len(given))
        for one in given:
            tensor(one)
    elif base == "i":
        out.svarint(given)
    elif base == "I":
        _write_ints(out, given)
    elif base == "f":
        out.f64(given)
    elif base == "n":
        out.u8(isinstance(given, float))
        if isinstance(given, float):
            out.f64(given)
        else:
            out.svarint(given)
    elif base == "b":
        out.u8(given)
    else:
        _write_text(out, given)


def _read_argument(reader: ByteReader, kind: str, values: int, names: list[str]) -> Any:
    def tensor() -> Value | Parameter:
        code = reader.varint()
        if not code & 1:
            return Value(values - 1 - (code >> 1))
        if code >> 1 >= len(names):
            raise TersenetError(f"tensor number {code >> 1} at byte {reader.offset}; there are {len(names)}")
        return Parameter(names[code >> 1])

    base = kind.rstrip("?")
    if base == "x":
        return tensor()
    if base == "x*":
        return tuple(tensor() for _ in range(_count(reader)))
    if base == "i":
        return reader.svarint()
    if base == "I":
        return _read_ints(reader)
    if base == "f":
        return reader.f64()
    if base == "n":
        return reader.f64() if _flag(reader) else reader.svarint()
    if base == "b":
        return _flag(reader)
    return _read_text(reader)


def _flag(reader: ByteReader) -> bool:
    byte = reader.u8()
    if byte > 1:
        raise TersenetError(f"a truth value of {byte} at byte {reader.offset - 1}; 0 or 1 was expected")
    return bool(byte)


def _write_preprocess(out: ByteWriter, preprocess: Preprocess | None) -> None:
    """One byte of flags, then the fields that are not at their defaults."""
    if preprocess is None:
        out.u8(0)
        return
    default = Preprocess()
    flags = 1
    for bit, name in enumerate(("scale", "mean", "std", "channels", "resize", "crop"), start=1):
        flags |= (getattr(preprocess, name) != getattr(default, name)) << bit
    out.u8(flags)
    if flags & 2:
        out.f64(preprocess.scale)
    for bit, floats in ((4, preprocess.mean), (8, preprocess.std)):
        if flags & bit:
            out.varint(len(floats))
            for value in floats:
                out.f64(value)
    if flags & 32:
        out.varint(preprocess.resize)
    if flags & 64:
        out.varint(preprocess.crop)


def _read_preprocess(reader: ByteReader) -> Preprocess | None:
    flags = reader.u8()
    if flags == 0:
        return None
    if not flags & 1 or flags & 128:
        raise TersenetError(f"preprocessing flags {flags:#x} at byte {reader.offset - 1} are not known")
    fields: dict[str, Any] = {}
    if flags & 2:
        fields["scale"] = reader.f64()
    for bit, name in ((4, "mean"), (8, "std")):
        if flags & bit:
            fields[name] = tuple(reader.f64() for _ in range(_count(reader)))
    if flags & 16:
        fields["channels"] = "bgr"
    if flags & 32:
        fields["resize"] = reader.varint()
    if flags & 64:
        fields["crop"] = reader.varint()
    return Preprocess(**fields)
