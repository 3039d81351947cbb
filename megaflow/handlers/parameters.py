"""Parameters of a handler's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from megaflow.callables import read_signature
from megaflow.handlers.annotations import resolve
from megaflow.handlers.scopes import scopes_of

VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def read_parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return what *function* takes: where a decorator takes whatever comes, what the function in it takes.

    Each annotation is what it names, or `Unresolved`. Raises `ValueError` for a built-in function that does not tell.
    """
    scopes = scopes_of(function)
    return tuple(
        each if each.annotation is each.empty else each.replace(annotation=resolve(each.annotation, scopes))
        for each in _read_own(function)
    )


def takes_position(parameter: inspect.Parameter) -> bool:
    """Tell whether an argument can stand without the parameter's name."""
    return parameter.kind is not parameter.KEYWORD_ONLY


def is_positional_only(parameter: inspect.Parameter) -> bool:
    """Tell whether no argument can be given by the parameter's name."""
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)


def is_optional(parameter: inspect.Parameter) -> bool:
    """Tell whether the function can be called without it."""
    return parameter.default is not parameter.empty or parameter.kind in VARIADIC


def _read_own(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    with suppress(ValueError):  # a decorator written in C does not tell
        own = tuple(read_signature(function, follow_wrapped=False).parameters.values())
        if not any(each.kind in VARIADIC for each in own):
            return own
    return tuple(read_signature(function).parameters.values())
