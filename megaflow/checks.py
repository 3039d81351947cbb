"""Checks: what is given is refused by its name where it cannot work, before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from os import PathLike
from typing import Final

from megaflow.callables import is_async, read_signature
from megaflow.errors import ConfigurationError

_LONGEST: Final = 200
"""Characters of what was given, in an error."""


def check_whole(name: str, value: object, lowest: int, highest: int) -> None:
    """Raise `ConfigurationError` unless *value* is a whole number of that range."""
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise refused(name, value, f"a whole number from {lowest} to {highest:,}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `ConfigurationError` unless *value* is one of *choices*."""
    if value not in choices:
        raise refused(name, value, f"one of {', '.join(map(repr, choices))}")


def check_seconds(name: str, value: object, *, lowest: float = 0, longest: float = math.inf) -> None:
    """Raise `ConfigurationError` unless *value* is a finite number of seconds, *lowest* or more."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= longest
    if not is_number or value == math.inf:
        upto = "or more" if longest == math.inf else f"to {longest:,}"
        raise refused(name, value, f"a number of seconds, {lowest:g} {upto}")


def check_time(name: str, value: object, *, longest: float = math.inf) -> None:
    """Raise `ConfigurationError` unless *value* is a finite number of seconds, more than 0."""
    check_seconds(name, value, longest=longest)
    if not value:
        raise ConfigurationError(f"{name}=0 leaves no time for anything: give seconds, more than 0")


def check_flag(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless *value* is True or False."""
    if not isinstance(value, bool):
        raise refused(name, value, "True or False")


def check_text(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless *value* is a text, or None."""
    if not (value is None or isinstance(value, str)):
        raise refused(name, value, "text")


def check_path(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless *value* is the path of a file."""
    if not isinstance(value, str | PathLike):
        raise refused(name, value, "the path of a file")


def check_function(name: str, value: object, form: str, *, takes: int) -> None:
    """Raise `ConfigurationError` unless *value* is a function, not async, that so many arguments can be given to.

    *form* says what it takes and gives: ``(receive_count) -> seconds``.
    """
    if not callable(value):
        raise refused(name, value, f"a function {form}")
    if is_async(value):
        raise ConfigurationError(f"{name}={show(value)} is async, and nobody waits for it: give a function {form}")
    if not _takes(value, takes):
        raise ConfigurationError(f"{name}={show(value)} cannot be called as it is: give a function {form}")


def check_object(name: str, value: object, methods: Collection[str], wanted: str) -> None:
    """Raise `ConfigurationError` unless *value* is None, or an object with these *methods*, none of them async."""
    if value is None:
        return
    if isinstance(value, type):
        raise ConfigurationError(f"{name}={show(value)} is a class: give {wanted}")
    for method in methods:
        found = getattr(value, method, None)
        if not callable(found):
            raise ConfigurationError(f"{name}={show(value)} has no {method}(): give {wanted}")
        if is_async(found):
            raise ConfigurationError(
                f"{method}() of {name}={show(value)} is async, and nobody waits for it: give {wanted}"
            )


def refused(name: str, value: object, wanted: str) -> ConfigurationError:
    """Return the error that says that *name* is *value*, and what is *wanted*."""
    return ConfigurationError(f"{name}={show(value)} must be {wanted}")


def show(value: object) -> str:
    """Return *value* as an error shows it; one that cannot be shown by its type."""
    try:
        said = repr(value)
    except Exception:  # noqa: BLE001 - it is the user's
        said = f"<{type(value).__qualname__}>"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def _takes(function: Callable[..., object], count: int) -> bool:
    try:
        signature = read_signature(function)
    except (ValueError, TypeError):  # one in C may not say what it takes
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
