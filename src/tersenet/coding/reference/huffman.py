"""huffman in plain Python; docs/notes/huffman.md is its byte layout."""

import numpy as np

from tersenet.bits import BitReader, BitWriter, dtype_for, width_for
from tersenet.coding.reference.shape import ONE, KraftRoom, get_shape, smallest_shape
from tersenet.errors import TersenetError

MAX_LENGTH = 16
FAST_LIMIT = 11  # 2**11 table entries of 8 bytes take half of a 32 KiB first-level cache
LARGE_N = 2**16  # from here on speed counts: limits 11 and 12 only
MANY_SYMBOLS = 2**11  # more used symbols than this need longer codes
LANES = 8
LANES_MIN_BITS = 2**18  # payload from which eight lanes cost (28 + 8 bytes) about 0.1 %


def code_lengths(counts: list[int], limit: int) -> list[int]:
    """Lengths <= limit of least total cost: package-merge (Larmore and Hirschberg 1990).

    `counts` ascend. Level by level, coins of the last level are paired into packages and merged
    with the counts, a count before an equal package; of the last list the first 2 (K - 1) are taken.
    """
    used = len(counts)
    is_count: list[list[bool]] = []
    merged: list[int] = []
    for _ in range(limit):
        packages = [merged[i] + merged[i + 1] for i in range(0, len(merged) - 1, 2)]
        merged, flags = [], []
        a = b = 0
        while a < used or b < len(packages):
            take_count = a < used and (b == len(packages) or counts[a] <= packages[b])
            merged.append(counts[a] if take_count else packages[b])
            flags.append(take_count)
            a, b = a + take_count, b + (not take_count)
        is_count.append(flags)
    lengths = [0] * used
    take = 2 * (used - 1)
    for flags in reversed(is_count):
        leaves = sum(flags[:take])
        for i in range(leaves):
            lengths[i] += 1
        take = 2 * (take - leaves)
    return lengths


def candidate_limits(used: int, n: int) -> list[int]:
    shortest = (used - 1).bit_length()
    if used > MANY_SYMBOLS:
        return [15 if used <= 2**14 else 16]
    if n >= LARGE_N:
        return [FAST_LIMIT, FAST_LIMIT + 1]
    return list(range(shortest, 16))


def choose_lengths(counts: np.ndarray) -> tuple[int, dict[int, int], tuple[int, int, BitWriter], int]:
    """(largest length, length by symbol, smallest shape, payload bits) of least total, lowest limit first.

    For large streams a limit of 12 must save one bit in 400 to be worth its larger decoding table.
    """
    order = sorted((int(counts[s]), int(s)) for s in np.flatnonzero(counts))
    ascending = [count for count, _ in order]
    n = sum(ascending)
    best = None
    for limit in candidate_limits(len(order), n):
        lengths = code_lengths(ascending, limit)
        payload = sum(c * length for c, length in zip(ascending, lengths, strict=True))
        by_symbol = {s: length for (_, s), length in zip(order, lengths, strict=True)}
        shape = smallest_shape(by_symbol, KraftRoom, max(lengths))
        total = payload + shape[2].size_bits
        if best is None or (total * 400 < best[0] * 399 if n >= LARGE_N else total < best[0]):
            best = total, (max(lengths), by_symbol, shape, payload)
        if max(lengths) < limit:
            break  # the limit does not bind: higher ones give the same code
    assert best is not None
    return best[1]


def canonical_codes(lengths: dict[int, int]) -> dict[int, tuple[int, int]]:
    """symbol -> (code, length): codes ascend with (length, symbol), the first is all zeros."""
    codes, code, previous = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - previous
        codes[symbol] = code, length
        code, previous = code + 1, length
    return codes


def lane_slices(n: int, lanes: int) -> list[slice]:
    """Lane i holds values i * ceil(n / lanes) up to the start of the next; the last ones may be short."""
    chunk = -(-n // lanes)
    return [slice(min(i * chunk, n), min((i + 1) * chunk, n)) for i in range(lanes)]


def encode(values: np.ndarray, alphabet: int) -> bytes:
    if not len(values):
        return b""
    counts = np.bincount(values, minlength=alphabet)
    out = BitWriter()
    if np.count_nonzero(counts) == 1:
        out.put(0, 1)
        out.put(ONE, 2)
        out.put(int(values[0]), width_for(alphabet))
        return out.getvalue()
    top, lengths, (mode, k, shape), payload = choose_lengths(counts)
    many = payload >= LANES_MIN_BITS
    out.put(many, 1)
    out.put(mode, 2)
    out.put(top - 1, 4)
    out.put(k, 1)
    out.extend(shape)
    codes = canonical_codes(lengths)
    if not many:
        for value in values.tolist():
            out.put(*codes[value])
        return out.getvalue()
    bodies = []
    for part in lane_slices(len(values), LANES):
        lane = BitWriter()
        for value in values[part].tolist():
            lane.put(*codes[value])
        bodies.append(lane.getvalue())
    sizes = b"".join(len(body).to_bytes(4, "little") for body in bodies[:-1])
    return out.getvalue() + sizes + b"".join(bodies)


def _read_values(bits: BitReader, codes: dict[tuple[int, int], int], count: int) -> list[int]:
    values = []
    for _ in range(count):
        code, length = 0, 0
        while (code, length) not in codes:
            code, length = code << 1 | bits.get(1), length + 1
        values.append(codes[code, length])
    return values


def decode(data: bytes, *, alphabet: int, n: int) -> np.ndarray:
    dtype = dtype_for(alphabet)
    if n == 0:
        if data:
            raise TersenetError(f"{len(data)} bytes came for no values; expected none")
        return np.zeros(0, dtype)
    bits = BitReader(data)
    many, mode = bits.get(1), bits.get(2)
    if mode == ONE:
        symbol = bits.get(width_for(alphabet))
        bits.expect_end()
        if symbol >= alphabet or many:
            raise TersenetError(f"symbol {symbol} in {many} came; expected below {alphabet}, in one lane")
        return np.full(n, symbol, dtype)
    top, k = bits.get(4) + 1, bits.get(1)
    lengths = get_shape(bits, alphabet, KraftRoom(top), mode, k)
    if max(lengths.values()) != top or len(lengths) < 2:
        raise TersenetError(f"the longest code has {max(lengths.values())} bits; {top} are declared")
    codes = {code: symbol for symbol, code in canonical_codes(lengths).items()}
    if n > 8 * len(data):
        raise TersenetError(f"{len(data)} bytes came; {n} values take at least a bit each")
    if not many:
        values = _read_values(bits, codes, n)
        bits.expect_end()
        return np.array(values, dtype)
    bits.align()
    position = bits.position // 8
    body = data[position + 4 * (LANES - 1) :]
    if len(data) < position + 4 * (LANES - 1):
        raise TersenetError("the data ends inside the lengths of the lanes")
    starts = range(position, position + 4 * (LANES - 1), 4)
    sizes = [int.from_bytes(data[at : at + 4], "little") for at in starts]
    if sum(sizes) > len(body):
        raise TersenetError(f"the lanes take {sum(sizes)} bytes; {len(body)} remain")
    sizes.append(len(body) - sum(sizes))
    values = []
    start = 0
    for size, part in zip(sizes, lane_slices(n, LANES), strict=True):
        lane = BitReader(body[start : start + size])
        values += _read_values(lane, codes, part.stop - part.start)
        lane.expect_end()
        start += size
    return np.array(values, dtype)
