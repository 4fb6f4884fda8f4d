"""A reader of .terse files in plain numpy, written from format.md and nothing else: the oracle of the other two.

    python decoder.py FILE      lists the operations and the tensors

READ FIRST
  1. Sections and fields are read in the order in which format.md gives them.
  2. It is written to be read beside format.md, not to be fast: coded streams are decoded symbol by symbol.
  3. `operations.md` beside it is the table of operations, `primer.hex` what a packed file's reader has read before.
"""

import json
import struct
import zlib

import numpy as np

MAGIC = b"\x89terse"
GRAPH, WEIGHTS, PROVENANCE, PAYLOAD = 1, 2, 3, "payload"
SECTION_NAMES = {GRAPH: "graph", WEIGHTS: "weights", PROVENANCE: "provenance"}
DTYPES = ("float32", "int64", "bool", "float16", "int32", "float64", "bfloat16")
SUFFIXES = ("", ".weight", ".bias", ".running_mean", ".running_var")
DEFAULT_LIMIT_BYTES = 1 << 30


class Refused(ValueError):
    """The file is damaged, unknown, or asks for too much."""


def need(condition, sentence):
    if not condition:
        raise Refused(sentence)


# --- 1. Conventions -------------------------------------------------------------------------------------------


class Reader:
    """Fields from bytes, each checked against the end. `apart` is where the bytes of more than one number lie."""

    def __init__(self, data, apart=None):
        self.data, self.at, self.apart = bytes(data), 0, apart or self

    @property
    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        need(count <= self.left, f"byte {self.at}: {count} bytes wanted, {self.left} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self):
        return self.take(1)[0]

    def f64(self):
        return struct.unpack("<d", self.take(8))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need(byte or shift == 7, f"byte {self.at}: a varint with a needless last byte")
                need(value < 2**64, f"byte {self.at}: a varint of 2**64 or more")
                return value
            need(shift < 70, f"byte {self.at}: a varint of more than 10 bytes")

    def svarint(self):
        code = self.varint()
        return -(code + 1) // 2 if code % 2 else code // 2

    def count(self):
        count = self.varint()
        need(count <= min(self.left, 1_000_000), f"byte {self.at}: {count} entries with {self.left} bytes left")
        return count

    def text(self):
        try:
            return self.take(self.varint()).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(f"byte {self.at}: not UTF-8") from None

    def end(self):
        need(self.left == 0, f"{self.left} bytes follow the end")


# --- 2. Header ------------------------------------------------------------------------------------------------


def sections_of(data, max_bytes):
    """Sections by kind, and the decoded size that the header declares."""
    need(len(data) >= 16 and data[:6] == MAGIC, "section header: not a .terse file, or cut")
    if data[6] == 2:
        return packed_sections(data, max_bytes)
    version, count, decoded_bytes = struct.unpack("<BBQ", data[6:16])
    end = 16 + 12 * count
    need(count <= 16 and len(data) >= end + 4, "section header: cut or damaged")
    need(zlib.crc32(data[:end]) == struct.unpack("<I", data[end : end + 4])[0], "section header: wrong checksum")
    need(version == 1, f"section header: version {version}")
    need(decoded_bytes <= max_bytes, f"section header: {decoded_bytes} decoded bytes, above the limit")
    sections, start = {}, end + 4
    for entry in range(16, end, 12):
        word, checksum = struct.unpack("<QI", data[entry : entry + 12])
        kind, length = word & 255, word >> 8
        name = SECTION_NAMES.get(kind, kind)
        need(kind not in sections, f"section {name}: there twice")
        need(start + length <= len(data), f"section {name}: cut")
        sections[kind] = data[start : start + length]
        need(zlib.crc32(sections[kind]) == checksum, f"section {name}: wrong checksum")
        start += length
    last = SECTION_NAMES.get(list(sections)[-1], "unknown") if sections else "header"
    need(start == len(data), f"section {last}: {len(data) - start} bytes follow the last section")
    need(GRAPH in sections and WEIGHTS in sections, "section graph or weights: missing")
    return sections, decoded_bytes


def packed_sections(data, max_bytes):
    """The same of a file of version 2, whose payloads lie apart."""
    need(zlib.crc32(data[11:]) == struct.unpack("<I", data[7:11])[0], "section header: wrong checksum")
    reader = Reader(data[11:])
    try:
        elements, graph, structure, packed, provenance = (reader.varint() for _ in range(5))
        need(4 * elements <= max_bytes, f"{elements} elements, above the limit")
        need(packed + provenance <= reader.left, "more than is there")
    except Refused as error:
        raise Refused(f"section header: {error}") from None
    need(400 * graph <= max_bytes + (1 << 20), f"section graph: {graph} bytes, above the limit")
    need(structure <= 4 * elements + (1 << 20), f"section weights: a structure of {structure} bytes, above the limit")
    try:
        plain = unpacked(reader.take(packed), graph + structure)
    except Refused as error:
        raise Refused(f"section graph: {error}") from None
    payload = reader.take(reader.left - provenance)
    sections = {GRAPH: plain[:graph], WEIGHTS: plain[graph:], PAYLOAD: payload}
    if provenance:
        sections[PROVENANCE] = reader.take(provenance)
    return sections, 4 * elements


BACK = ((), (1,), (1, 2), (1, 2, 3), (2, 3), (2, 3, 4), (1, 3, 4), (4, 5), (5, 6))


def unpacked(data, n):
    """The n bytes that were packed: docs/notes/packed.md."""
    if n == 0:
        need(not data, "bytes for no bytes")
        return b""
    need(n <= len(data) << 16, f"{n} bytes in {len(data)}")
    with open(__file__.replace("decoder.py", "primer.hex"), encoding="ascii") as file:  # noqa: PTH123
        primer = bytes.fromhex(file.read())
    shift = 32 - max(12, min(18, (16 * (n + len(primer))).bit_length()))
    counters, before, code = Counters(14, 20000), bytearray(8), RangeCode(data)

    def byte(get):
        hashes = []
        for view, distances in enumerate(BACK):
            hashed = view + 1
            for distance in distances:
                hashed = (hashed + before[-distance] + 1) * 0x2545F491 % 2**32
            hashes.append(hashed)

        def keys(node):
            slots = ((hashed + node * 0x9E3779B1) * 0x85EBCA6B % 2**32 >> shift for hashed in hashes)
            return list(enumerate(slots))

        known, node = sum(counters.used(key) > 0 for key in keys(1)), 1
        for place in range(7, -1, -1):
            node = 2 * node + counters.bit(keys(node), known, (255,) * len(BACK), lambda p, place=place: get(p, place))
        before.append(node - 256)

    for known_byte in primer:
        byte(lambda p, place, known_byte=known_byte: known_byte >> place & 1)
    for _ in range(n):
        byte(lambda p, place: code.get(p))
    code.end()
    return bytes(before[-n:])


# --- 3. Graph -------------------------------------------------------------------------------------------------


def operations(path):
    """code -> (name, [(argument, kind, whether it may be absent)], outputs), from the table in operations.md."""
    found = {}
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - numpy, struct, zlib and json are all it imports
        for line in file:
            cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
            if len(cells) == 5 and cells[0].isdigit():
                arguments = []
                for word in cells[3].split():
                    name, kind = word.split(":")
                    arguments.append((name, kind.split("=")[0], "=" in kind or kind.endswith("?")))
                found[int(cells[0])] = (cells[1], arguments, int(cells[4]))
    return found


def read_graph(data, ops):
    """inputs, parameters (name -> dtype), nodes, outputs, preprocess: as dictionaries and tuples."""
    reader = Reader(data)
    inputs = []
    for _ in range(reader.count()):
        name, dtype = reader.text(), reader.u8()
        shape = [reader.varint() for _ in range(reader.count())]
        need(dtype < len(DTYPES) and well_named(name), f"input '{name[:80]}' is not well formed")
        need(len(shape) < 8 and all(size < 2**31 for size in shape), f"input '{name}' has shape {shape[:8]}")
        inputs.append((name, DTYPES[dtype], tuple(shape)))
    parameters, buffers, stem = {}, set(), ""
    room = 65536 + 32 * len(data)
    for _ in range(reader.count()):
        byte, shared = reader.u8(), reader.varint()
        need(
            byte & 7 < len(SUFFIXES) and byte >> 4 < len(DTYPES) and shared <= len(stem), "a tensor is not well formed"
        )
        stem = stem[:shared] + reader.text()
        name = stem + SUFFIXES[byte & 7]
        room -= len(name)
        need(room >= 0 and well_named(name) and name not in parameters, f"tensor name '{name[:80]}' is wrong or double")
        parameters[name] = DTYPES[byte >> 4]
        if byte & 8:
            buffers.add(name)
    names = list(parameters)
    values, nodes = len(inputs), []
    for _ in range(reader.count()):
        code = reader.u8()
        need(code in ops, f"operation code {code} is unknown")
        op, arguments, outputs = ops[code]
        optional = [name for name, _, absent in arguments if absent]
        mask = reader.varint() if optional else 0
        need(mask < 1 << len(optional), f"{op}: more arguments than it has")
        given = {name for bit, name in enumerate(optional) if mask >> bit & 1}
        read = {}
        for name, kind, absent in arguments:
            if not absent or name in given:
                read[name] = read_argument(reader, kind.rstrip("?"), values, names)
        nodes.append((op, read))
        values += outputs
    outputs = []
    for _ in range(reader.count()):
        number = values - 1 - reader.varint()
        need(number >= 0, "an output is before the first value")
        outputs.append((reader.text(), number))
    preprocess = read_preprocess(reader)
    reader.end()
    return {
        "inputs": inputs,
        "parameters": parameters,
        "buffers": buffers,
        "nodes": nodes,
        "outputs": outputs,
        "preprocess": preprocess,
    }


def well_named(name):
    """Words joined by dots: ASCII letters, digits, _ and -, and slashes that are not at an end of a word."""
    plain = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    words = [word for part in name.split(".") for word in part.split("/")]
    return len(name) <= 1024 and all(word and set(word) <= plain for word in words)


def read_argument(reader, kind, values, names):
    def tensor():
        code = reader.varint()
        if code % 2:
            need(code // 2 < len(names), f"tensor {code // 2} of {len(names)}")
            return names[code // 2]
        need(code // 2 < values, "a value that is not there yet")
        return values - 1 - code // 2

    def flag():
        byte = reader.u8()
        need(byte < 2, f"a truth value of {byte}")
        return bool(byte)

    if kind == "x":
        return tensor()
    if kind == "x*":
        return [tensor() for _ in range(reader.count())]
    if kind == "i":
        return integer(reader)
    if kind == "I":
        return [integer(reader) for _ in range(reader.count())]
    if kind == "f":
        return reader.f64()
    if kind == "n":
        return reader.f64() if flag() else integer(reader)
    if kind == "b":
        return flag()
    return reader.text()


def integer(reader):
    value = reader.svarint()
    need(abs(value) < 2**62, f"the integer {value} is too large")
    return value


def read_preprocess(reader):
    flags = reader.u8()
    if flags == 0:
        return None
    need(flags & 1 and flags < 128, f"preprocessing flags {flags}")
    found = {"scale": 1.0, "mean": (), "std": (), "channels": "rgb", "resize": 0, "crop": 0}
    if flags & 2:
        found["scale"] = reader.f64()
    for bit, name in ((4, "mean"), (8, "std")):
        if flags & bit:
            found[name] = tuple(reader.f64() for _ in range(reader.count()))
    if flags & 16:
        found["channels"] = "bgr"
    for bit, name in ((32, "resize"), (64, "crop")):
        if flags & bit:
            found[name] = reader.varint()
            need(found[name] < 65536, f"a picture of side {found[name]}")
    return found


# --- 4. Storage -----------------------------------------------------------------------------------------------


class Trees:
    """Reads one tensor after the other; `room` is what all arrays together may still take."""

    def __init__(self, room):
        self.room = room

    def charge(self, shape, item=4):
        spanned = numel = 1
        for size in shape:
            spanned, numel = spanned * max(size, 1), numel * size
        need(len(shape) <= 8 and spanned <= 2**48, f"shape {shape} is too large")
        self.room -= numel * item
        need(self.room >= 0, f"shape {shape} is more than the limit has room for")
        return numel

    def node(self, reader, depth=32):
        """(array, largest alphabet below): float32 arrays for floats, else unsigned ones."""
        need(depth > 0, "nested deeper than 32")
        tag = reader.u8()
        kind, variant = tag & 15, tag >> 4
        need(kind < 10, f"storage node {kind}")
        read = (
            self.integers,
            self.floats,
            self.affine,
            self.table,
            self.scatter,
            self.total,
            self.concat,
            self.reshape,
            self.permute,
            self.transform,
        )[kind]
        return read(reader, variant, depth - 1)

    def integers(self, reader, variant, depth):
        alphabet, n = reader.varint() + 1, reader.varint()
        need(alphabet <= 2**32, f"an alphabet of {alphabet}")
        need(variant < 4 and (variant == 0 or alphabet <= 65536), f"coder {variant} with an alphabet of {alphabet}")
        self.charge((n,), 1 if alphabet <= 256 else 2 if alphabet <= 65536 else 4)
        data = (reader.apart if n > 1 else reader).take(reader.varint())
        values = (raw, huffman, rans, range_coded)[variant](data, alphabet, n)
        dtype = np.uint8 if alphabet <= 256 else np.uint16 if alphabet <= 65536 else np.uint32
        return np.array(values, dtype=dtype), alphabet

    def floats(self, reader, variant, depth):
        need(variant < 4, f"floats of variant {variant}")
        n = reader.varint()
        self.charge((n,))
        width = 2 if variant & 1 else 4
        if variant & 2:
            planes = []
            for _ in range(width):
                tag = reader.u8()
                need(tag & 15 == 0, "a byte plane that is not a stream of integers")
                plane, alphabet = self.integers(reader, tag >> 4, 0)
                need(alphabet == 256 and len(plane) == n, "a byte plane of another size")
                planes.append(plane)
            data = np.stack(planes, 1).tobytes()
        else:
            data = (reader.apart if n > 1 else reader).take(n * width)
        if width == 4:
            return np.frombuffer(data, "<u4").astype(np.uint32).view(np.float32), 0
        return half_to_float(np.frombuffer(data, "<u2").astype(np.uint32)), 0

    def ints(self, reader, depth, most=2**32):
        values, alphabet = self.node(reader, depth)
        need(values.dtype != np.float32 and alphabet <= most, "integers below the limit were expected")
        return values, alphabet

    def reals(self, reader, depth):
        values, _ = self.node(reader, depth)
        need(values.dtype == np.float32, "floats were expected")
        return values

    def affine(self, reader, variant, depth):
        need(variant == 0, f"an affine of variant {variant}")
        (levels, _), (zero, _) = self.ints(reader, depth, 2**24), self.ints(reader, depth, 2**24)
        step = self.reals(reader, depth)
        self.charge(levels.shape)
        m = step.size
        need(step.ndim == 1 and m > 0 and levels.size % m == 0, f"{levels.size} levels for steps of shape {step.shape}")
        need(zero.shape in ((1,), (m,)), f"zero points of shape {zero.shape} for {m} steps")
        exact = levels.astype(np.int64).reshape(m, levels.size // m) - zero.astype(np.int64)[:, None]
        return quiet(exact.astype(np.float32) * step[:, None]).reshape(levels.shape), 0

    def table(self, reader, variant, depth):
        need(variant == 0, f"a table of variant {variant}")
        entries, below = self.node(reader, depth)
        index, alphabet = self.ints(reader, depth)
        need(entries.ndim >= 1, "a table of no dimensions")
        self.charge(index.shape + entries.shape[1:])
        need(index.size == 0 or int(index.max()) < len(entries), "an index outside its table")
        return np.asarray(entries[index]), max(below, alphabet)

    def scatter(self, reader, variant, depth):
        need(variant < 2, f"a scatter of variant {variant}")
        size = reader.varint()
        need(size <= 2**48, f"{size} places")
        tag = reader.u8()
        need(tag & 15 == 0, "places that are not a stream of integers")
        symbols, alphabet = self.integers(reader, tag >> 4, 0)
        values, below = self.node(reader, depth)
        need(values.ndim >= 1 and len(values) <= size, "values that do not fit the places")
        self.charge((size, *values.shape[1:]))
        out = np.zeros((size, *values.shape[1:]), values.dtype)
        if variant:
            need(alphabet == 2 and len(symbols) == size, "a bitmask of another size")
            places = [place for place, bit in enumerate(symbols.tolist()) if bit]
        else:
            need(alphabet >= 2, "gaps of alphabet 1")
            places, at = [], 0
            for gap in symbols.tolist():
                at += gap
                if gap < alphabet - 1:
                    places.append(at)
                    at += 1
        need(len(places) == len(values), f"{len(places)} places for {len(values)} values")
        need(not places or places[-1] < size, "a place past the end")
        out[places] = values
        return out, max(below, alphabet)

    def parts(self, reader, depth):
        count = reader.varint()
        need(1 <= count <= reader.left, f"{count} parts with {reader.left} bytes left")
        return [self.node(reader, depth) for _ in range(count)]

    def total(self, reader, variant, depth):
        need(variant == 0, f"a sum of variant {variant}")
        parts = [part for part, _ in self.parts(reader, depth)]
        first = parts[0]
        need(
            all(part.dtype == np.float32 and part.shape == first.shape for part in parts), "parts of a sum that differ"
        )
        self.charge(first.shape)
        if len(parts) == 1:
            return first, 0
        total = first
        for part in parts[1:]:
            total = total + part
        return quiet(total), 0

    def concat(self, reader, axis, depth):
        parts = self.parts(reader, depth)
        first = parts[0][0]
        need(axis < min(first.ndim, 8), f"axis {axis} of shape {first.shape}")
        rest = first.shape[:axis] + first.shape[axis + 1 :]
        for part, _ in parts:
            same = part.ndim == first.ndim and part.shape[:axis] + part.shape[axis + 1 :] == rest
            need(same and (part.dtype == np.float32) == (first.dtype == np.float32), "parts that cannot be joined")
        self.charge((*first.shape[:axis], sum(part.shape[axis] for part, _ in parts), *first.shape[axis + 1 :]))
        return np.concatenate([part for part, _ in parts], axis), max(alphabet for _, alphabet in parts)

    def reshape(self, reader, ndim, depth):
        need(ndim <= 8, f"{ndim} dimensions")
        shape = tuple(reader.varint() for _ in range(ndim))
        numel = self.charge(shape, 0)
        source, alphabet = self.node(reader, depth)
        need(numel == source.size, f"{source.size} elements as {shape}")
        return source.reshape(shape), alphabet

    def permute(self, reader, ndim, depth):
        need(ndim <= 8, f"{ndim} axes")
        axes = [reader.u8() for _ in range(ndim)]
        source, alphabet = self.node(reader, depth)
        need(sorted(axes) == list(range(source.ndim)), f"axes {axes} of shape {source.shape}")
        self.charge(source.shape)
        return source.transpose(axes).copy(), alphabet

    def transform(self, reader, axes, depth):
        need(axes in (1, 2), f"a transform of {axes} axes")
        x = self.reals(reader, depth)
        need(x.ndim >= axes and all(1 <= size <= 64 for size in x.shape[x.ndim - axes :]), f"a transform of {x.shape}")
        self.charge(x.shape)
        for axis in range(x.ndim - 1, x.ndim - 1 - axes, -1):
            n = x.shape[axis]
            spectrum = np.moveaxis(x, axis, -1)
            total = np.zeros(spectrum.shape, np.float32)
            for f in range(n):
                c = (1 / n) ** 0.5 if f == 0 else (2 / n) ** 0.5
                column = c * np.cos(np.pi * f * (2 * np.arange(n) + 1) / (2 * n))
                column = (np.rint(column * 2**20) / 2**20).astype(np.float32)
                total = total + column * spectrum[..., f : f + 1]
            x = np.moveaxis(total, -1, axis)
        return quiet(np.array(x, order="C")), 0


def half_to_float(half):
    """float16 bits in uint32 to float32, exactly, by integers alone."""
    sign, exponent, mantissa = (half & 0x8000) << 16, half >> 10 & 31, half & 1023
    normal = (exponent + 112) << 23 | mantissa << 13
    special = np.uint32(0x7F800000) | mantissa << 13
    small = (mantissa.astype(np.float32) * np.float32(2.0**-24)).view(np.uint32)
    return (sign | np.where(exponent == 31, special, np.where(exponent == 0, small, normal))).view(np.float32)


def quiet(x):
    x = np.array(x, np.float32)
    x.view(np.uint32)[np.isnan(x)] = 0x7FC00000
    return x


# --- 5. Coders ------------------------------------------------------------------------------------------------


class Bits:
    """Bits from the top of the first byte on."""

    def __init__(self, data, at=0):
        self.data, self.at, self.size = data, at, 8 * len(data)

    def get(self, width):
        need(self.at + width <= self.size, f"the bits end at {self.size}")
        value = 0
        for bit in range(self.at, self.at + width):
            value = value << 1 | self.data[bit >> 3] >> (7 - (bit & 7)) & 1
        self.at += width
        return value

    def unary(self, most):
        """Ones up to a zero; `most` ones have no zero after them."""
        count = 0
        while count < most and self.get(1):
            count += 1
        return count

    def align(self):
        need(self.get(-self.at % 8) == 0, "padding that is not zero")

    def end(self):
        self.align()
        need(self.at == self.size, f"{(self.size - self.at) // 8} bytes too many")


def width_of(alphabet):
    return (alphabet - 1).bit_length()


def raw(data, alphabet, n):
    width = width_of(alphabet)
    need(len(data) == (n * width + 7) // 8, f"{len(data)} bytes for {n} values of {width} bits")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    need(not bits[n * width :].any(), "padding that is not zero")
    values = np.zeros(n, np.int64)
    for bit in range(width):
        values |= bits[bit : n * width : width].astype(np.int64) << bit
    need(n == 0 or values.max() < alphabet, "a value outside its alphabet")
    return values


def classes_of(bits, alphabet, mode, k, highest, room):
    """[(symbol, class)] in order of symbol: the shape that both coders' tables begin with.

    room()        (lowest, highest) class possible next, or None when the table is complete
    room.take(c)  a symbol of class c came
    """
    found, previous, direction = [], highest, -1
    symbol = run = 0
    used = mode == 1
    if mode == 2:
        used = not bits.get(1)
    while room() is not None:
        need(symbol < alphabet, "a code table that is not complete")
        if mode == 2 and run == 0:
            used = not used
            zeros = 0
            while not bits.get(1):
                zeros += 1
                need(zeros < 17, "a run that is too long")
            run = 1 << zeros | bits.get(zeros)
            need(run <= alphabet - symbol, "a run past the alphabet")
        if mode == 3:
            used = bool(bits.get(1))
        run -= 1
        if used:
            low, high = room()
            start = min(max(previous, low), high)
            order = [start]
            for step in range(1, high - low + 1):
                order += [c for c in (start + step * direction, start - step * direction) if low <= c <= high]
            rank = 0
            if len(order) > 1:
                lowest = bits.get(k)
                rank = bits.unary((len(order) - 1) >> k) << k | lowest
                need(rank < len(order), "a class rank that is not possible")
            chosen = order[rank]
            if chosen != start:
                direction = 1 if chosen > start else -1
            previous = chosen
            found.append((symbol, chosen))
            room.take(chosen)
        symbol += 1
    need(mode != 2 or run == 0, "a code table that is complete before its last run ends")
    return found


class LengthRoom:
    """Code lengths up to `limit` whose 2**-length add up to 1."""

    def __init__(self, limit):
        self.limit, self.left = limit, 1 << limit

    def __call__(self):
        return (max(1, self.limit + 1 - self.left.bit_length()), self.limit) if self.left else None

    def take(self, length):
        self.left -= 1 << (self.limit - length)


class CountRoom:
    """`count` symbols of any class up to `highest`."""

    def __init__(self, count, highest):
        self.left, self.highest = count, highest

    def __call__(self):
        return (0, self.highest) if self.left else None

    def take(self, _):
        self.left -= 1


def one_symbol(bits, alphabet, n):
    symbol = bits.get(width_of(alphabet))
    bits.end()
    need(symbol < alphabet, f"symbol {symbol}")
    return np.full(n, symbol)


def huffman(data, alphabet, n):
    if n == 0:
        need(not data, "bytes for no values")
        return []
    bits = Bits(data)
    eight, mode = bits.get(1), bits.get(2)
    if mode == 0:
        need(not eight, "one symbol in eight lanes")
        return one_symbol(bits, alphabet, n)
    limit, k = bits.get(4) + 1, bits.get(1)
    lengths = classes_of(bits, alphabet, mode, k, limit, LengthRoom(limit))
    need(len(lengths) >= 2 and max(length for _, length in lengths) == limit, "lengths that are not as declared")
    need(n <= 8 * len(data), f"{n} values in {len(data)} bytes")
    codes, code, last = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths):
        code <<= length - last
        codes[length, code] = symbol
        code, last = code + 1, length

    def symbols(bits, count):
        found = []
        for _ in range(count):
            code, length = 0, 0
            while (length, code) not in codes:
                code, length = code << 1 | bits.get(1), length + 1
            found.append(codes[length, code])
        bits.end()
        return found

    if not eight:
        return symbols(bits, n)
    bits.align()
    start = bits.at // 8 + 28
    need(start <= len(data), "cut inside the lengths of the lanes")
    sizes = struct.unpack("<7I", data[start - 28 : start])
    need(start + sum(sizes) <= len(data), "lanes past the end")
    chunk, values = -(-n // 8), []
    for lane in range(8):
        end = start + sizes[lane] if lane < 7 else len(data)
        values += symbols(Bits(data[start:end]), min((lane + 1) * chunk, n) - min(lane * chunk, n))
        start = end
    return values


def rans(data, alphabet, n):
    if n == 0:
        need(not data, "bytes for no values")
        return []
    bits = Bits(data)
    mode = bits.get(2)
    if mode == 0:
        return one_symbol(bits, alphabet, n)
    lanes, scale = bits.get(3), bits.get(2) + 12
    used = bits.get(width_of(alphabet)) + 2
    need(lanes <= 5 and used <= min(alphabet, 2**scale), f"{used} symbols in 2**{lanes} lanes")
    lanes = 2**lanes
    if used == 2:
        symbols = [symbol for symbol, _ in classes_of(bits, alphabet, mode, 0, 0, CountRoom(2, 0))]
        first = bits.get(scale) + 1
        freqs = [first, 2**scale - first]
        need(freqs[1] > 0, "a frequency of zero")
    else:
        top, precision, k = bits.get(4), bits.get(4), bits.get(1)
        classes = classes_of(bits, alphabet, mode, k, top, CountRoom(used, top))
        symbols, weights = [symbol for symbol, _ in classes], []
        for _, length in classes:
            kept = max(0, min(length - 1, precision))
            weights.append((2**kept + bits.get(kept)) << (length - 1 - kept) if length else 0)
        if sum(weights) == 0:
            weights = [1] * used
        rest, freqs, seen = 2**scale - used, [], 0
        for weight in weights:
            freqs.append(1 + (seen + weight) * rest // sum(weights) - seen * rest // sum(weights))
            seen += weight
    bits.align()
    at = bits.at // 8
    need(len(data) - at >= 4 * lanes and (len(data) - at) % 2 == 0, "cut inside the states")
    states = list(struct.unpack(f"<{lanes}I", data[at : at + 4 * lanes]))
    at += 4 * lanes
    need(min(states) >= 2**16, "a state below 2**16")
    need(n <= 8 * len(data) * 2**15, f"{n} values in {len(data)} bytes")
    slot = [(symbol, freq, bias) for symbol, freq in zip(symbols, freqs) for bias in range(freq)]
    values = []
    for i in range(n):
        x = states[i % lanes]
        symbol, freq, bias = slot[x % 2**scale]
        x = freq * (x >> scale) + bias
        if x < 2**16:
            need(at < len(data), "the words end early")
            x = x << 16 | data[at] | data[at + 1] << 8
            at += 2
        states[i % lanes] = x
        values.append(symbol)
    need(at == len(data) and all(x == 2**16 for x in states), "lanes that do not end where they began")
    return values


def steps(m, bits):
    """A logarithm in 2**bits steps an octave."""
    drop = m.bit_length() - 1 - bits
    return m if drop <= 0 else (drop << bits) + (m >> drop)


def squash_and_stretch():
    """stretch + 2816 -> probability of 65536, and its inverse on the top 12 bits of a probability."""
    squash, odds = [0] * 5633, 2**30
    for x in range(2817):
        squash[2816 + x] = odds * 65536 // (odds + 2**30)
        squash[2816 - x] = 65536 - squash[2816 + x]
        odds = odds * 257 // 256
    stretch, x = [], -2816
    for p in range(4096):
        while x < 2816 and squash[2816 + x + 1] <= 16 * p + 8:
            x += 1
        stretch.append(x)
    return squash, stretch


SQUASH, STRETCH = squash_and_stretch()


class RangeCode:
    """A range code: each bit with the probability p of 65536 of a one."""

    def __init__(self, data):
        need(data, "no bytes of code")
        self.data, self.at, self.range = data, 4, 2**32 - 1
        self.code = int.from_bytes((data + bytes(3))[:4], "big")
        need(self.code < self.range, "a code outside its range")

    def get(self, p):
        part = (self.range >> 16) * p
        bit = self.code < part
        self.code, self.range = (self.code, part) if bit else (self.code - part, self.range - part)
        while self.range < 2**24:
            need(self.at < len(self.data) + 3, "the code ends early")
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.code, self.range, self.at = self.code << 8 | byte, self.range << 8, self.at + 1
        return int(bit)

    def end(self):
        low = int.from_bytes((self.data + bytes(3))[self.at - 4 : self.at], "big") - self.code
        kept = 1 if -low % 2**24 + 2**24 <= self.range else 2
        need(self.at - len(self.data) == 4 - kept, "bytes after the code, or too few")
        need(self.code == -low % 2 ** (32 - 8 * kept), "a code that does not end as it should")


class Counters:
    """Guesses that are mixed by weights; both learn from each bit."""

    def __init__(self, rate, first_weight):
        self.rate, self.first_weight, self.counters, self.weights = rate, first_weight, {}, {}

    def used(self, key):
        return self.counters.get(key, (32768, 0))[1]

    def bit(self, keys, group, limits, get):
        """The bit that `get` gives for its probability. A counter that moved as often as its limit slows down no more."""
        guesses = [STRETCH[self.counters.get(key, (32768, 0))[0] >> 4] for key in keys]
        weights = self.weights.setdefault(group, [self.first_weight] * len(keys))
        mixed = sum(weight * guess for weight, guess in zip(weights, guesses)) >> 16
        p = SQUASH[max(-2816, min(2816, mixed)) + 2816]
        bit = get(p)
        for i, (key, limit) in enumerate(zip(keys, limits)):
            moved = weights[i] + (guesses[i] * (65536 * bit - p) + (1 << (self.rate - 1)) >> self.rate)
            weights[i] = max(-(2**20), min(2**20, moved))
            p_one, used = self.counters.get(key, (32768, 0))
            by = 2**17 // (2 * used + 3)
            p_one += (65535 - p_one) * by >> 16 if bit else -(p_one * by >> 16)
            self.counters[key] = p_one, min(used + 1, limit)
        return bit


class Mixed:
    """Bits of a range code, each predicted by six counters."""

    def __init__(self, data, rate):
        self.code, self.counters = RangeCode(data), Counters(rate, 12000)

    def get(self, views, full, node, group):
        keys = [(i, view, node if i else full) for i, view in enumerate(views)]
        return self.counters.bit(keys, group, (1023, 1023, 255, 255, 255, 255), self.code.get)

    def end(self):
        self.code.end()


def range_coded(data, alphabet, n):
    if n == 0:
        need(not data, "bytes for no values")
        return []
    reader, width = Reader(data), width_of(alphabet)
    flags, centre = reader.u8(), reader.u8()
    if alphabet > 256:
        centre += reader.u8() << 8
    mode, differences, rate, trellis = flags % 4, flags >> 2 & 1, 13 + (flags >> 4) % 4, flags >> 6
    need(mode < 3 and flags < (128 if mode else 1) and centre < alphabet, f"flags {flags}, centre {centre}")
    need(not trellis or (mode == 2 and not differences), "a trellis where none can be")
    if mode == 0:
        reader.end()
        return np.full(n, centre)
    period, row = (reader.varint(), reader.varint()) if flags & 8 else (1, 0)
    need(1 <= period <= 64 and row <= n // 8 and (not flags & 8 or period > 1 or row), "rows that cannot be")
    states, run = (reader.u8(), reader.varint()) if trellis else (0, n)
    need(states in TRELLISES and run and n % run == 0, f"a trellis of 2^{states} states in runs of {run}")
    need(n <= reader.left << 19, f"{n} values in {reader.left} bytes")
    code = Mixed(reader.take(reader.left), rate)
    scale = max(0, width - 9)
    coded, columns, row_mean, local_mean = [], [0] * row, 0, 0

    def at(i):
        return coded[i] if i >= 0 else centre

    def level(value):
        return min(11, steps(min(abs(value - centre) >> scale, 255), 1))

    def mean_level(mean):
        return min(39, steps(mean >> 4, 2))

    def side(value):
        return (value > centre) + 1 - (value < centre)

    state = 0
    for i in range(n):
        state = state if i % run else 0
        above = at(i - row) if row else centre
        before, second, in_period = at(i - 1), at(i - 2), at(i - period)
        column = mean_level(columns[i % row]) if row else 0
        views = (
            0,
            (level(before), level(second), side(before)),
            (column, side(above)),
            (mean_level(row_mean), column // 4),
            (mean_level(local_mean), i % period),
            (level(above), level(in_period), side(in_period)),
        )
        value, state = one_value(code, views, mode, centre, alphabet, width, states, state)
        coded.append(value)
        m = min(abs(value - centre) >> scale, 255) << 8
        row_mean += (m >> 5) - (row_mean >> 5)
        local_mean += (m >> 2) - (local_mean >> 2)
        if row:
            fall = min(4, (i // row + 1).bit_length())
            columns[i % row] += (m >> fall) - (columns[i % row] >> fall)
    code.end()
    if differences:
        return np.cumsum(np.array(coded) - (alphabet >> 1)) % alphabet
    return coded


TRELLISES = {0: (0, 0), 2: (2, 1), 3: (5, 2), 4: (9, 2), 5: (18, 4), 6: (33, 10), 7: (78, 43), 8: (166, 121)}


def one_value(code, views, mode, centre, alphabet, width, states, state):
    """The value, and the state after it. A state that is odd shortens the distances it allows: 1, 3, 5 for 2, 4, 6."""
    odd, wide = state % 2, 2 if states else 1
    when_odd, when_taken = TRELLISES[states]
    after = [state // 2 ^ odd * when_odd ^ taken * when_taken for taken in (0, 1)]
    first = 17 * odd
    if not code.get(views, first, first, first):
        return centre, after[0]
    if mode == 1:
        node = 1
        for depth in range(width):
            node = 2 * node + code.get(views, node, node if depth < 5 else 32 + depth, 1 + depth)
        need(node - 2**width < alphabet and node - 2**width != centre, "a value that its tree should not hold")
        return node - 2**width, 0
    room = [(centre + odd) // wide, (alphabet - 1 - centre + odd) // wide]
    need(any(room), "a value where only the centre can be")
    below = int(room[0] > 0 and (room[1] == 0 or code.get(views, 1, 1, 1)))
    most = room[1 - below]
    cls = 0
    while 2 << cls <= most and code.get(views, 2 + 16 * below + cls, 2 + 16 * below + cls, 2 + cls):
        cls += 1
    far, few = 1, min(cls, 7)
    for depth in range(cls):
        bit = 0
        if (2 * far + 1) << (cls - 1 - depth) <= most:
            node = 34 + few if depth == 0 else 42 + 2 * few + far % 2 if depth == 1 else 56 + min(depth, 7)
            full = 34 + (below << width) + 2**cls + far - 1
            bit = code.get(views, full, node, 18 + 8 * min(depth, 4) + few)
        far = 2 * far + bit
    distance = wide * far - odd
    return centre - distance if below else centre + distance, after[far % 2] if states else 0


# --- The whole file -------------------------------------------------------------------------------------------


def decode(data, max_bytes=DEFAULT_LIMIT_BYTES, operations_path=None):
    """(graph, {name: array}, provenance). Raises Refused, whose sentence begins with the section's name."""
    sections, decoded_bytes = sections_of(data, max_bytes)
    path = operations_path or __file__.replace("decoder.py", "operations.md")
    name = "graph"
    try:
        graph = read_graph(sections[GRAPH], operations(path))
        name = "provenance"
        provenance = read_provenance(sections[PROVENANCE]) if PROVENANCE in sections else None
        name = "weights"
        payload = Reader(sections[PAYLOAD]) if PAYLOAD in sections else None
        reader, trees, tensors = Reader(sections[WEIGHTS], payload), Trees(8 * decoded_bytes + (1 << 20)), {}
        for tensor, dtype in graph["parameters"].items():
            inner = reader if payload else Reader(reader.take(reader.varint()))
            with np.errstate(all="ignore"):
                array, _ = trees.node(inner)
            if not payload:
                inner.end()
            need(("float" in dtype) == (array.dtype == np.float32), f"tensor '{tensor}' is not stored as {dtype}")
            tensors[tensor] = array
        reader.end()
        reader.apart.end()
        need(
            4 * sum(array.size for array in tensors.values()) == decoded_bytes, "a decoded size that is not as declared"
        )
    except Refused as error:
        raise Refused(f"section {name}: {error}") from None
    return graph, tensors, provenance


def read_provenance(data):
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, 1 << 20)
        need(unpacker.eof and not unpacker.unused_data, "more than 1 MiB, or bytes after the end")
        found = json.loads(text.decode("utf-8"))
    except (zlib.error, ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    need(isinstance(found, dict), "not a record")
    return found


def main(path):
    with open(path, "rb") as file:  # noqa: PTH123
        graph, tensors, provenance = decode(file.read())
    for name, dtype, shape in graph["inputs"]:
        print(f"input  {name}: {dtype} {shape}")
    for op, arguments in graph["nodes"]:
        print(f"op     {op} {arguments}")
    for name, number in graph["outputs"]:
        print(f"output {name}: value {number}")
    for name, array in tensors.items():
        print(f"tensor {name}: {graph['parameters'][name]} {array.shape}")
    if provenance is not None:
        print(f"from   {json.dumps(provenance)}")


if __name__ == "__main__":
    main(__import__("sys").argv[1])
