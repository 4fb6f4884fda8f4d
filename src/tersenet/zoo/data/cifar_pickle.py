"""CIFAR-10's python form, read without pickle.

The batches are pickles of a dict with one numpy array. A pickle is a program; this interpreter knows
the operations that those files use and builds dicts, lists, numbers, bytes and that array. A name that
a file asks for is compared with a short list and never imported; nothing is ever called.
"""

import pickletools
from typing import Any

import numpy as np

from tersenet.zoo.data.errors import DataError

# numpy 1 wrote the first of each pair, numpy 2 the second.
_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_NDARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_ENCODE = "_codecs encode"
_KNOWN = (*_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE)
_PUSH = frozenset(
    (
        "BININT", "BININT1", "BININT2", "LONG1", "INT", "SHORT_BINSTRING", "BINSTRING", "STRING",
        "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE",
    )
)  # fmt: skip
_CONSTANT: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_BYTE_STRINGS = ("SHORT_BINSTRING", "BINSTRING", "STRING")


class _Name(str):
    """A name from the list, standing for nothing but itself."""


class _Array:
    """An array whose bytes have not come yet, or a dtype; `value` is filled by BUILD."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.value: np.ndarray | None = None


_MARK = object()


def read_batch(raw: bytes, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) uint8 and labels (n,) int64 of one batch file's bytes."""
    try:
        batch = _interpret(raw)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise DataError(f"{path}: not a CIFAR-10 batch, or cut ({error}); fetch it again") from error
    if not isinstance(batch, dict):
        raise DataError(f"{path}: holds a {type(batch).__name__}; a CIFAR-10 batch is a dict of data and labels")
    fields = {(key.decode("latin-1") if isinstance(key, bytes) else key): value for key, value in batch.items()}
    data, labels = fields.get("data"), fields.get("labels")
    pixels = data.value if isinstance(data, _Array) else None
    if pixels is None or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise DataError(f"{path}: its field 'data' is not rows of 3072 bytes")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(f"{path}: its field 'labels' is not a list of {len(pixels)} numbers")
    if not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise DataError(f"{path}: a label is not a whole number from 0 to 9")
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def _interpret(raw: bytes) -> Any:
    """What the pickle builds, as plain values."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any

    def since_mark() -> list[Any]:
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise DataError("a group ends that never began")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    for opcode, argument, _ in pickletools.genops(raw):
        name = opcode.name
        if name in _PUSH:
            # pickletools hands byte strings over as latin-1 text, one character a byte.
            stack.append(argument.encode("latin-1") if name in _BYTE_STRINGS else argument)
        elif name in _CONSTANT:
            stack.append(_CONSTANT[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "DICT":
            items = since_mark()
            stack.append(dict(zip(items[::2], items[1::2], strict=True)))
        elif name == "LIST":
            stack.append(since_mark())
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            width = int(name[-1])
            stack[-width:] = [tuple(stack[-width:])]
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "APPEND":
            item = stack.pop()
            _a(list, stack[-1]).append(item)
        elif name == "APPENDS":
            items = since_mark()
            _a(list, stack[-1]).extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _a(dict, stack[-1])[key] = value
        elif name == "SETITEMS":
            items = since_mark()
            _a(dict, stack[-1]).update(zip(items[::2], items[1::2], strict=True))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            asked = argument if name == "GLOBAL" else " ".join(reversed([stack.pop(), stack.pop()]))
            if asked not in _KNOWN:
                raise DataError(f"asks for {asked[:80]!r}; a CIFAR-10 batch needs only a numpy array, so it is refused")
            stack.append(_Name(asked))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_reduce(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            _build(_a(_Array, stack[-1]), state)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise DataError(f"uses the pickle operation {name}, which no CIFAR-10 batch needs; it is refused")
    raise DataError("ends before it is complete; fetch it again")


def _a(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise DataError(f"adds to a {type(value).__name__} where a {kind.__name__} is expected")
    return value


def _reduce(name: Any, arguments: Any) -> Any:
    """The three calls that such a file makes, as values."""
    if type(name) is not _Name or type(arguments) is not tuple:
        raise DataError("calls something that is not on the list; it is refused")
    if name in _RECONSTRUCT and arguments[:1] == (_NDARRAY,):
        return _Array("array")
    if name == _DTYPE and arguments[:1] in (("u1",), (b"u1",)):
        return _Array("u1")
    if name == _ENCODE and len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] == "latin1":
        return arguments[0].encode("latin-1")  # how protocol 2 of Python 3 writes bytes
    raise DataError(f"calls {name} with other arguments than a byte array needs; it is refused")


def _build(target: _Array, state: Any) -> None:
    """Give an array its state: version, shape, dtype, column order, bytes."""
    if target.kind == "u1":
        return  # byte order and such, which one byte does not have
    if type(state) is not tuple or len(state) != 5:
        raise DataError("holds an array of unknown layout")
    _, shape, dtype, columns_first, raw = state
    if not isinstance(dtype, _Array) or dtype.kind != "u1" or not isinstance(raw, bytes):
        raise DataError("holds an array that is not of bytes")
    if type(shape) is not tuple or not all(type(side) is int and side >= 0 for side in shape):
        raise DataError("holds an array of unknown shape")
    size = 1
    for side in shape:
        size *= side
    if size != len(raw):
        raise DataError(f"holds an array of shape {shape} but {len(raw)} bytes for it")
    target.value = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if columns_first else "C")
