"""Callables: whether calling one gives an awaitable, a generator, or a value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable


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
