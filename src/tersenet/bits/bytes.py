"""Bytes read and written field by field, little-endian; the one checked place for untrusted data.

READ FIRST
  1. A read past the end is an error that names the byte offset and what was to be read there.
  2. No count is trusted: `bytes(n)` and `text(n)` compare n with what remains before they slice.
  3. Every integer has one spelling: a varint with a needless zero byte at its end is refused.
  4. What is coded already can lie apart from the fields around it: `payload` goes to `apart`, and comes from there.
"""

import struct

from tersenet.errors import TersenetError

_VARINT_MAX_BYTES = 10  # ceil(64 / 7): 64 bits in groups of 7


class ByteWriter:
    """Appends fields; `getvalue()` gives the bytes.

    apart   where payloads go; among the other fields unless given
    """

    def __init__(self, *, apart: "ByteWriter | None" = None) -> None:
        self._data = bytearray()
        self.apart = self if apart is None else apart

    def __len__(self) -> int:
        return len(self._data)

    def getvalue(self) -> bytes:
        return bytes(self._data)

    def _unsigned(self, value: int, bits: int) -> None:
        if not 0 <= value < 1 << bits:
            raise TersenetError(f"the number {value} came; a u{bits} holds 0 to {(1 << bits) - 1}")
        self._data += int(value).to_bytes(bits // 8, "little")

    def u8(self, value: int) -> None:
        self._unsigned(value, 8)

    def u32(self, value: int) -> None:
        self._unsigned(value, 32)

    def u64(self, value: int) -> None:
        self._unsigned(value, 64)

    def varint(self, value: int) -> None:
        """LEB128: 7 bits a byte, lowest first, the top bit set on every byte but the last."""
        value = int(value)
        if not 0 <= value < 1 << 64:
            raise TersenetError(f"the number {value} came; a varint holds 0 to 2**64 - 1")
        while value >= 0x80:
            self._data.append(value & 0x7F | 0x80)
            value >>= 7
        self._data.append(value)

    def svarint(self, value: int) -> None:
        """A signed number as zigzag varint: 0, -1, 1, -2 become 0, 1, 2, 3."""
        value = int(value)
        if not -(1 << 63) <= value < 1 << 63:
            raise TersenetError(f"the number {value} came; a signed varint holds -2**63 to 2**63 - 1")
        self.varint(2 * value if value >= 0 else -2 * value - 1)

    def f64(self, value: float) -> None:
        self._data += struct.pack("<d", value)

    def payload(self, data: "bytes | bytearray | memoryview") -> None:
        self.apart.bytes(data)

    def bytes(self, data: "bytes | bytearray | memoryview") -> None:
        self._data += data


class ByteReader:
    """Takes fields from `data`; `what` names the whole in errors, `apart` is where payloads come from, if not from `data`."""

    def __init__(
        self, data: "bytes | bytearray | memoryview", *, what: str = "data", apart: "ByteReader | None" = None
    ) -> None:
        self._data = memoryview(data).cast("B")
        self._what = what
        self._pos = 0
        self.apart = self if apart is None else apart

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._pos

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._pos

    def fail(self, sentence: str, *, at: "int | None" = None) -> TersenetError:
        """An error to raise, with the offset (`at`, or the present one) put before the sentence."""
        position = self._pos if at is None else at
        return TersenetError(f"{self._what}: byte {position}: {sentence}")

    def _take(self, count: int, field: str) -> memoryview:
        if count < 0 or count > self.remaining:
            raise self.fail(f"{field} needs {count} bytes, {self.remaining} remain; the data is cut or wrong")
        start = self._pos
        self._pos += count
        return self._data[start : self._pos]

    def u8(self, field: str = "u8") -> int:
        return self._take(1, field)[0]

    def u32(self, field: str = "u32") -> int:
        return int.from_bytes(self._take(4, field), "little")

    def u64(self, field: str = "u64") -> int:
        return int.from_bytes(self._take(8, field), "little")

    def varint(self, field: str = "varint") -> int:
        start, value = self._pos, 0
        for index in range(_VARINT_MAX_BYTES):
            byte = self._take(1, field)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0 and index:
                    raise self.fail(f"{field} is spelled with needless bytes; drop them", at=start)
                if value >= 1 << 64:
                    raise self.fail(f"{field} is above 2**64 - 1", at=start)
                return value
        raise self.fail(f"{field} is longer than {_VARINT_MAX_BYTES} bytes", at=start)

    def svarint(self, field: str = "signed varint") -> int:
        zigzag = self.varint(field)
        return -(zigzag + 1 >> 1) if zigzag & 1 else zigzag >> 1

    def f64(self, field: str = "f64") -> float:
        return float(struct.unpack("<d", self._take(8, field))[0])

    def payload(self, count: int, field: str = "payload") -> "bytes":
        return self.apart.bytes(count, field)

    def bytes(self, count: int, field: str = "bytes") -> "bytes":
        return bytes(self._take(count, field))

    def text(self, count: int, field: str = "text") -> str:
        start = self._pos
        try:
            return str(self._take(count, field), "utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"{field} is not UTF-8", at=start) from None

    def expect_end(self) -> None:
        if self.remaining:
            raise self.fail(f"{self.remaining} bytes follow the end of {self._what}; expected none")
