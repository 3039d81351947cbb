"""Keywords: what a call takes, said where it got one that it does not take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable


def check_options(function: Callable[..., object], given: Iterable[str], options: type) -> None:
    """Raise `TypeError`, as `check_keywords` does, where one of *given* is none of *options*, a `TypedDict`.

    *function* takes those besides its own parameters.
    """
    if all(name in options.__annotations__ for name in given):
        return
    parameters = inspect.signature(function).parameters.values()
    own = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    unknown = [name for name in given if name not in options.__annotations__]
    check_keywords(f"{function.__name__}()", unknown, [*own, *options.__annotations__])


def check_keywords(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `TypeError` where one of *given* is not *known*, and say what *what* takes, and what was perhaps meant."""
    from difflib import get_close_matches

    known = list(known)
    for name in given:
        if name not in known:
            meant = get_close_matches(name, known, 1)
            hint = f": did you mean {meant[0]}?" if meant else "."
            raise TypeError(f"{what} takes no {name!r}{hint} It takes {', '.join(known)}")
