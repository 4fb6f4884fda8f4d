"""Integers that must survive the file exactly: streams, bit and byte readers and writers, entropy."""

from tersenet.bits.bytes import ByteReader as ByteReader
from tersenet.bits.bytes import ByteWriter as ByteWriter
from tersenet.bits.entropy import entropy_bits as entropy_bits
from tersenet.bits.msb import BitReader as BitReader
from tersenet.bits.msb import BitWriter as BitWriter
from tersenet.bits.stream import MAX_ALPHABET as MAX_ALPHABET
from tersenet.bits.stream import IntStream as IntStream
from tersenet.bits.stream import dtype_for as dtype_for
from tersenet.bits.stream import width_for as width_for
