"""Callables: what one takes, and whether calling it gives an awaitable, a generator, or a value."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable

if sys.version_info >= (3, 14):
    import annotationlib

    # Asked for the values, Python would raise for a name that only type checkers know.
    _signature = functools.partial(inspect.signature, annotation_format=annotationlib.Format.FORWARDREF)
else:
    _signature = inspect.signature


def read_signature(function: Callable[..., object], *, follow_wrapped: bool = True) -> inspect.Signature:
    """Return what *function* takes and returns; annotations that cannot be resolved are text, or forward references.

    Raises `ValueError` for a built-in function that does not tell, and `TypeError` for what cannot be called.
    """
    return _signature(function, follow_wrapped=follow_wrapped)


def is_async(function: object) -> bool:
    """Tell whether calling *function* gives something to wait for: a coroutine, or an async generator."""
    return _is_a(function, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


def is_generator(function: object) -> bool:
    """Tell whether calling *function* runs nothing of it, and gives a generator."""
    return _is_a(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def _is_a(function: object, *checks: Callable[[object], bool]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    return any(check(each) for check in checks for each in (function, called))
