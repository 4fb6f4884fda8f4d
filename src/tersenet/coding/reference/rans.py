"""rans in plain Python; docs/notes/rans.md is its byte layout.

READ FIRST
  1. ANS is a stack: values are encoded last to first, so that they decode first to last.
  2. Frequencies sum to exactly 2**scale; a symbol that occurs has at least 1.
  3. Between values 2**16 <= x < 2**32; one 16-bit word restores it.
  4. Every lane's encoder starts at x = 2**16, so every lane's decoder must end there.
"""

import numpy as np

from tersenet.bits import BitReader, BitWriter, dtype_for, width_for
from tersenet.coding.reference.shape import ONE, CountRoom, get_shape, smallest_shape
from tersenet.errors import TersenetError

LOWER = 2**16
MIN_SCALE, MAX_SCALE = 12, 15
LARGE_N = 2**16
MANY_SYMBOLS = 2**10


def frequencies(counts: list[int], scale: int) -> list[int]:
    """Counts rounded to sum 2**scale, each at least 1, by Webster's rule.

    The gain of one more is count * log2((f + 1) / f), about count / (f + 1/2): integers decide
    it the same on every machine. Ties go to the first symbol.
    """
    n, total = sum(counts), 1 << scale
    freqs = [max(1, (c << scale) // n) for c in counts]
    left = total - sum(freqs)
    for _ in range(abs(left)):
        best = -1
        for i, (c, f) in enumerate(zip(counts, freqs, strict=True)):
            if left < 0 and f == 1:
                continue
            step = 1 if left > 0 else -1
            if best < 0:
                best = i
                continue
            better = c * (2 * freqs[best] + step) - counts[best] * (2 * f + step)
            if better * step > 0:
                best = i
        freqs[best] += 1 if left > 0 else -1
    return freqs


def log2_fixed(x: int) -> int:
    """floor(log2(x) * 2**16) for 1 <= x <= 2**15 within one unit, by repeated squaring of 16-bit integers."""
    exponent = x.bit_length() - 1
    mantissa, result = x << 15 - exponent, exponent
    for _ in range(16):
        mantissa = mantissa * mantissa >> 15
        bit = mantissa >> 16
        mantissa >>= bit
        result = result << 1 | bit
    return result


def round_weight(weight: int, precision: int) -> int:
    """The nearest number with at most precision + 1 significant bits, halves up; below 2**15."""
    drop = weight.bit_length() - 1 - precision
    if drop <= 0:
        return weight
    return min((weight + (1 << drop - 1)) >> drop << drop, (1 << 15) - (1 << 14 - min(precision, 14)))


def spread(weights: list[int], scale: int) -> list[int]:
    """Frequencies from stored weights: 1 each, and the rest in proportion to the weights, in running sums.

    If the weights sum to 2**scale - K the frequencies are weight + 1 exactly.
    """
    if not sum(weights):
        weights = [1] * len(weights)
    rest, total = (1 << scale) - len(weights), sum(weights)
    freqs, seen, before = [], 0, 0
    for weight in weights:
        seen += weight
        upto = seen * rest // total
        freqs.append(1 + upto - before)
        before = upto
    return freqs


def table_bits(
    symbols: list[int], weights: list[int], alphabet: int, scale: int, precision: int
) -> tuple[int, BitWriter]:
    """(mode, everything after the scale field)."""
    out = BitWriter()
    out.put(len(symbols) - 2, width_for(alphabet))
    if len(symbols) == 2:
        mode, _, shape = smallest_shape(dict.fromkeys(symbols, 0), CountRoom, 2, 0)
        out.extend(shape)
        out.put(weights[0], scale)
        return mode, out
    classes = [weight.bit_length() for weight in weights]
    top = max(classes)
    mode, k, shape = smallest_shape(dict(zip(symbols, classes, strict=True)), CountRoom, len(symbols), top)
    out.put(top, 4)
    out.put(precision, 4)
    out.put(k, 1)
    out.extend(shape)
    for weight, cls in zip(weights, classes, strict=True):
        kept = min(cls - 1, precision)
        if kept > 0:
            out.put((weight >> cls - 1 - kept) - (1 << kept), kept)
    return mode, out


def choose_table(counts: np.ndarray, alphabet: int) -> tuple[int, int, list[int], BitWriter, int]:
    """(scale, mode, frequencies, table, payload bits) of least total bits.

    For large streams the smallest scale within one bit in 2000 of the best: its tables decode faster.
    """
    symbols = [int(s) for s in np.flatnonzero(counts)]
    used = [int(counts[s]) for s in symbols]
    n = sum(used)
    found = []
    for scale in range(MIN_SCALE, MAX_SCALE + 1):
        if len(used) > 1 << scale:
            continue
        exact = [f - 1 for f in frequencies(used, scale)]
        precisions = range(scale) if 2 < len(used) <= MANY_SYMBOLS else range(scale - 1, scale)
        best = None
        for precision in precisions:
            weights = [round_weight(w, precision) for w in exact]
            freqs = spread(weights, scale) if len(used) > 2 else [exact[0] + 1, exact[1] + 1]
            mode, table = table_bits(symbols, weights, alphabet, scale, precision)
            cost = sum(c * ((scale << 16) - log2_fixed(f)) for c, f in zip(used, freqs, strict=True)) >> 16
            total = table.size_bits + cost
            if best is None or total < best[0]:
                best = total, (scale, mode, freqs, table, cost)
        assert best is not None
        found.append(best)
    if not found:
        raise TersenetError(f"{len(used)} different values came; rans takes up to {1 << MAX_SCALE}: use raw")
    least = min(total for total, _ in found)
    if n < LARGE_N:
        return next(choice for total, choice in found if total == least)
    return next(choice for total, choice in found if total * 2000 <= least * 2001)


def lane_bits(payload_bits: int) -> int:
    """log2 of the lanes: 32, 8 or 1, so that their states (4 bytes each) stay near 0.2 %."""
    return 5 if payload_bits >= 2**19 else 3 if payload_bits >= 2**17 else 0


def encode(values: np.ndarray, alphabet: int) -> bytes:
    if not len(values):
        return b""
    counts = np.bincount(values, minlength=alphabet)
    out = BitWriter()
    if np.count_nonzero(counts) == 1:
        out.put(ONE, 2)
        out.put(int(values[0]), width_for(alphabet))
        return out.getvalue()
    scale, mode, freqs, table, payload = choose_table(counts, alphabet)
    lanes_log2 = lane_bits(payload)
    out.put(mode, 2)
    out.put(lanes_log2, 3)
    out.put(scale - MIN_SCALE, 2)
    out.extend(table)
    symbols = np.flatnonzero(counts).tolist()
    freq_of = dict(zip(symbols, freqs, strict=True))
    start_of, start = {}, 0
    for symbol, freq in zip(symbols, freqs, strict=True):
        start_of[symbol] = start
        start += freq
    states = [LOWER] * (1 << lanes_log2)
    words: list[int] = []
    for i in range(len(values) - 1, -1, -1):
        symbol, lane = int(values[i]), i & (1 << lanes_log2) - 1
        x, freq = states[lane], freq_of[symbol]
        if x >= freq << 32 - scale:
            words.append(x & 0xFFFF)
            x >>= 16
        states[lane] = (x // freq << scale) + x % freq + start_of[symbol]
    body = b"".join(x.to_bytes(4, "little") for x in states)
    return out.getvalue() + body + b"".join(word.to_bytes(2, "little") for word in reversed(words))


def decode(data: bytes, *, alphabet: int, n: int) -> np.ndarray:
    dtype = dtype_for(alphabet)
    if n == 0:
        if data:
            raise TersenetError(f"{len(data)} bytes came for no values; expected none")
        return np.zeros(0, dtype)
    bits = BitReader(data)
    mode = bits.get(2)
    if mode == ONE:
        symbol = bits.get(width_for(alphabet))
        bits.expect_end()
        if symbol >= alphabet:
            raise TersenetError(f"symbol {symbol} came; expected below {alphabet}")
        return np.full(n, symbol, dtype)
    lanes_log2, scale = bits.get(3), bits.get(2) + MIN_SCALE
    used = bits.get(width_for(alphabet)) + 2
    if lanes_log2 > 5 or used > min(alphabet, 1 << scale):
        raise TersenetError(f"2**{lanes_log2} lanes, {used} symbols came; expected up to 32, {alphabet}")
    if used == 2:
        symbols = list(get_shape(bits, alphabet, CountRoom(2, 0), mode, 0))
        first = bits.get(scale) + 1
        freqs = [first, (1 << scale) - first]
        if not freqs[1]:
            raise TersenetError("the first of two symbols has all of the frequency; expected less")
    else:
        top, precision, k = bits.get(4), bits.get(4), bits.get(1)
        classes = get_shape(bits, alphabet, CountRoom(used, top), mode, k)
        symbols, weights = list(classes), []
        for cls in classes.values():
            kept = max(0, min(cls - 1, precision))
            weights.append((1 << kept | bits.get(kept)) << cls - 1 - kept if cls else 0)
        freqs = spread(weights, scale)
    bits.align()
    at = bits.position // 8
    lanes = 1 << lanes_log2
    if len(data) < at + 4 * lanes or (len(data) - at) % 2:
        raise TersenetError(f"{len(data) - at} bytes follow the table; expected {4 * lanes} and whole words")
    states = [int.from_bytes(data[at + 4 * i : at + 4 * i + 4], "little") for i in range(lanes)]
    at += 4 * lanes
    if min(states) < LOWER:
        raise TersenetError(f"a lane starts at {min(states)}; expected at least {LOWER}")
    slots: list[tuple[int, int, int]] = []
    for symbol, freq in zip(symbols, freqs, strict=True):
        slots += [(symbol, freq, bias) for bias in range(freq)]
    values = []
    for i in range(n):
        x = states[i & lanes - 1]
        symbol, freq, bias = slots[x & (1 << scale) - 1]
        x = freq * (x >> scale) + bias
        if x < LOWER:
            if at == len(data):
                raise TersenetError(f"the data ends at value {i} of {n}")
            x = x << 16 | int.from_bytes(data[at : at + 2], "little")
            at += 2
        states[i & lanes - 1] = x
        values.append(symbol)
    if at != len(data) or set(states) != {LOWER}:
        raise TersenetError("the lanes do not end where their encoder started; the data is damaged")
    return np.array(values, dtype)
