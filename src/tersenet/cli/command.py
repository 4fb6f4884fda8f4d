"""What all commands share: four options, and from errors to exit codes.

Exit codes: 0 done   1 goal not met   2 usage   3 bad input   130 interrupted   70 a fault of ours, with its traceback
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tersenet.cli.interrupts import INTERRUPTED, on_interrupt
from tersenet.cli.session import Session
from tersenet.errors import TersenetError

DONE, GOAL_NOT_MET, USAGE, BAD_INPUT, FAULT = 0, 1, 2, 3, 70

_COMMON: dict[str, tuple[Any, Any]] = {
    "json": (Annotated[bool, typer.Option("--json", help="the result as one JSON object on stdout")], False),
    "seed": (Annotated[int, typer.Option("--seed", min=0, help="decides everything that is random")], 0),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="no progress on stderr")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="show the traceback of an error")], False),
}


class UsageError(TersenetError):
    """Options that do not go together, or that lack one."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """The function of a command, `function(session, ...)`, as typer takes it: with the common options, ending in a code."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _COMMON.items()
    ]

    def run(**arguments: Any) -> None:
        session = Session(**{name: arguments.pop(name) for name in _COMMON})
        raise SystemExit(_guarded(function, session, arguments))

    run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*own, *common]}
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return run


def _guarded(function: Callable[..., None], session: Session, arguments: dict[str, Any]) -> int:
    interrupts: list[bool] = []
    try:
        with on_interrupt(lambda: interrupts.append(True)), redirect_stdout(sys.stderr):
            function(session, **arguments)
        session.stdout.flush()
        return DONE
    except (KeyboardInterrupt, Exception) as error:
        # An extension module that is interrupted while it is imported raises what it likes.
        if interrupts or isinstance(error, KeyboardInterrupt):
            return _refuse(session, f"interrupted{session.how_to_go_on}", INTERRUPTED)
        return _failed(session, error)


def _failed(session: Session, error: Exception) -> int:
    if isinstance(error, TersenetError):
        return _refuse(session, str(error), _code(error))
    if isinstance(error, BrokenPipeError):
        # Whoever read our output left. Nothing is wrong; and Python must not flush into the pipe again.
        sys.stdout = None
        return DONE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(session, f"{where}{error.strerror or error}", BAD_INPUT)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "tersenet").split(".")[0]
        if package == "tersenet":
            return _fault(session, error)
        return _refuse(
            session, f"this needs the package '{package}'; install it with: pip install 'tersenet[torch]'", USAGE
        )
    if hasattr(error, "exit_code"):  # typer's own
        raise error
    return _fault(session, error)


def _code(error: TersenetError) -> int:
    if isinstance(error, UsageError):
        return USAGE
    # Looked up, not imported: it lives above torch, and where it was raised it is there.
    recipes = sys.modules.get("tersenet.recipes.run")
    return GOAL_NOT_MET if recipes is not None and isinstance(error, recipes.GoalNotMet) else BAD_INPUT


def _fault(session: Session, error: Exception) -> int:
    """What no one foresaw, out of memory included, is shown whole."""
    if not session.debug:
        traceback.print_exc()
    return _refuse(session, f"unexpected {type(error).__name__}: {error}", FAULT)


def _refuse(session: Session, sentence: str, code: int) -> int:
    if session.debug:
        traceback.print_exc()
    session.refuse(sentence, code)
    return code
