"""Each coder again in plain Python: the twin that the C++ core must equal byte for byte.

`encode(values, alphabet)` and `decode(data, alphabet=, n=)` for raw, huffman, rans and range. Slow, and
written to be read: the docs/notes pages and these files say the same thing.
"""
