"""Calls into the compiled core, with its refusals turned into errors that name the stream."""

from typing import Any

import tersenet._core as _core
from tersenet.errors import TersenetError

MAX_COUNT = 2**40
"""Values in one stream. It keeps every product of a count and a width far inside 64 bits."""


def check_count(name: str, n: int) -> None:
    """Refuse a count that no file of ours can hold; the memory limit itself is the caller's."""
    if not 0 <= n <= MAX_COUNT:
        raise TersenetError(f"{name}: {n} values are declared; expected 0 to 2**40")


def core_call(name: str, function: str, *arguments: Any) -> Any:
    """`_core.function(*arguments)`; its refusals and a lack of memory become a TersenetError."""
    try:
        return getattr(_core, function)(*arguments)
    except MemoryError as err:
        raise TersenetError(f"{name}: no memory for its values ({err}); check the declared count") from None
    except ValueError as err:
        raise TersenetError(f"{name}: {err}") from None
