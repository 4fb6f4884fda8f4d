"""huffman: canonical, length-limited codes, one or eight sub-streams (docs/notes/huffman.md)."""

from tersenet.coding._native import NativeCoder


class Huffman(NativeCoder):
    """Near entropy and fastest to decode; at least one bit a value unless all values are equal."""

    id = "huffman"
