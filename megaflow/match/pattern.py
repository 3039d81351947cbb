"""Patterns: any right-hand side becomes a tree of conditions; wrong ones are refused here."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final, get_origin
from uuid import UUID

from megaflow.callables import is_async, is_generator, read_signature
from megaflow.errors import PatternError
from megaflow.match.conditions import Condition
from megaflow.match.containers import Fields, Items
from megaflow.match.leaves import Check, Equals, Regex, UserFunction


def as_condition(pattern: object, path: str = "") -> Condition:
    """Return the condition that *pattern* stands for; raise `PatternError`, naming *path*, for what is no pattern."""
    if isinstance(pattern, Condition):
        return pattern
    if isinstance(pattern, Enum):
        return as_condition(pattern.value, path)
    if isinstance(pattern, dict):
        return _fields(pattern, path)
    if isinstance(pattern, list | tuple | set | frozenset):
        return Items(tuple(as_condition(each, f"{path}[]") for each in pattern))
    if isinstance(pattern, re.Pattern):
        return _regex(pattern, path)
    if pattern is None or isinstance(pattern, _SCALARS):
        return Equals(pattern, repr(pattern))
    if pattern is bool:
        return Check("bool", bool)
    if callable(pattern):
        return _call(pattern, path)
    raise PatternError(
        f"{type(pattern).__qualname__} is no pattern: use a value, a dict, a list, a regex or a function",
        path,
    )


Condition.read = staticmethod(as_condition)

_FUNCTIONS: Final = "megaflow.match.functions"
_SCALARS: Final = (bool, int, float, Decimal, str, bytes, date, UUID)


def _fields(pattern: dict[Any, Any], path: str) -> Fields:
    for key in pattern:
        if not isinstance(key, str):
            raise PatternError(f"the key {key!r} is not text, and messages have no other keys", path)
    parts = (as_condition(each, f"{path}.{key}" if path else key) for key, each in pattern.items())
    return Fields(tuple(pattern), tuple(parts))


def _regex(pattern: re.Pattern[Any], path: str) -> Regex:
    if not isinstance(pattern.pattern, str):
        raise PatternError(f"the regular expression {pattern.pattern!r} is for bytes, and messages hold text", path)
    return Regex("match", pattern)


def _call(function: Callable[..., Any], path: str) -> UserFunction:
    if inspect.isclass(get_origin(function) or function):
        name = getattr(function, "__qualname__", repr(function))
        raise PatternError(
            f"the class {name} is no matcher; use a value, or a function that returns a bool",
            path,
        )
    if getattr(function, "__module__", "") == _FUNCTIONS:
        raise PatternError(f"{function.__name__} is to be called: {function.__name__}(…)", path)
    if is_async(function):
        raise PatternError(f"{function!r} is async, and matching does not wait; use a plain function", path)
    if is_generator(function):
        raise PatternError(f"{function!r} is a generator, and what it gives is always true; return a bool", path)
    try:
        read_signature(function).bind(None)
    except TypeError:
        raise PatternError(f"{function!r} must take one argument, the value", path) from None
    except ValueError:  # a built-in function does not tell
        pass
    return UserFunction(function)
