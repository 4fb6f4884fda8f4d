"""Bits in the order of their weight, highest first: how Huffman codes and coders' tables are laid down.

Bit 0 of the string is the top bit of byte 0. These two are the plain reference; the C++ core
has its own (cpp/tersenet/bits.h).
"""

from tersenet.errors import TersenetError


class BitWriter:
    """Appends fields of given widths; `getvalue()` pads the last byte with zero bits."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.size_bits = 0

    def put(self, value: int, width: int) -> None:
        if width:
            self._parts.append(format(value, f"0{width}b"))
            self.size_bits += width

    def put_unary(self, count: int, stop: bool) -> None:
        """`count` ones, then a zero if `stop`."""
        self._parts.append("1" * count + "0" * stop)
        self.size_bits += count + stop

    def put_gamma(self, value: int) -> None:
        """Elias gamma of a value >= 1: as many zeros as bits follow its top bit, then the value."""
        self.put(value, 2 * value.bit_length() - 1)

    def extend(self, other: "BitWriter") -> None:
        self._parts += other._parts
        self.size_bits += other.size_bits

    def getvalue(self) -> bytes:
        bits = "".join(self._parts)
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


class BitReader:
    """Reads what BitWriter wrote; a read past the last byte is an error."""

    def __init__(self, data: bytes) -> None:
        self._bits = format(int.from_bytes(data, "big"), f"0{8 * len(data)}b") if data else ""
        self.position = 0

    def get(self, width: int) -> int:
        end = self.position + width
        if end > len(self._bits):
            raise TersenetError(f"the data ends at bit {len(self._bits)}; {width} at {self.position} are due")
        value = int(self._bits[self.position : end] or "0", 2)
        self.position = end
        return value

    def get_unary(self, limit: int) -> int:
        """Ones before the next zero, which is read too; `limit` ones have no zero after them."""
        count = 0
        while count < limit and self.get(1):
            count += 1
        return count

    def get_gamma(self, max_bits: int) -> int:
        """Elias gamma of a value of at most `max_bits` bits."""
        zeros = 0
        while not self.get(1):
            zeros += 1
            if zeros >= max_bits:
                raise TersenetError(f"a gamma code at bit {self.position} has more than {max_bits} bits")
        return 1 << zeros | self.get(zeros)

    def align(self) -> None:
        """Go to the next byte; the bits between must be zero."""
        if self.get(-self.position % 8):
            raise TersenetError(f"padding before bit {self.position} is not zero")

    def expect_end(self) -> None:
        """Only the zero padding of the last byte may remain."""
        self.align()
        if self.position != len(self._bits):
            left = (len(self._bits) - self.position) // 8
            raise TersenetError(f"{left} bytes are left over; expected none")
