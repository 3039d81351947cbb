"""Comparing unlike things: numbers and dates that travel as text, and null.

The left side is a value of a message, the right side a value of a pattern. A comparison of things that cannot be
compared is false, never an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, TypeAlias
from uuid import UUID

from megaflow import limits

Number: TypeAlias = int | Decimal
Moment: TypeAlias = date
"""A date, or a datetime in UTC (which in Python is a date too)."""

IsEqual: TypeAlias = Callable[[object], bool]
"""Whether a left value equals a certain right one."""

# https://datatracker.ietf.org/doc/html/rfc8259#section-6
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LONGEST: Final = limits.DIGITS
"""Characters of a text that is read as a number, or as a moment: many handlers may ask."""

_DATE_LENGTH: Final = len("2020-01-01")
_DATETIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]((?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
    r"(Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?"
)


def read_number(value: object) -> Number | None:
    """Return *value* as an exact number, or None where it is none: bools, NaN, most text and what is too long are not.

    A float is its shortest decimal text, so that 19.99 equals ``"19.99"``.
    """
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float):
        # Not repr(): a subclass may have its own, as those of numpy and of enum do.
        return None if math.isnan(value) else Decimal(float.__repr__(value))
    if isinstance(value, str):
        return _read_number_text(value)
    if isinstance(value, Decimal):
        return None if value.is_nan() else value
    return None


def read_moment(value: object) -> Moment | None:
    """Return *value* as a date or as a datetime in UTC, or None where it is neither; no offset means UTC."""
    if isinstance(value, str):
        return _read_moment_text(value)
    if isinstance(value, datetime):
        return _in_utc(value)
    return value if isinstance(value, date) else None


def alike(left: Moment, right: Moment) -> tuple[Moment, Moment]:
    """Return both in one type: where either is a date, both are dates in UTC."""
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left, right
    return _as_date(left), _as_date(right)


def comparison(right: object) -> IsEqual:
    """Return the function that tells whether a left value equals *right*; raise `TypeError` for what is no value.

    Scalars compare as patterns do, dicts and lists exactly.
    """
    if isinstance(right, Enum):
        return comparison(right.value)
    if not isinstance(right, dict | list | tuple):
        return _scalar_equals(right)
    # One frame a level, here and below: it may be asked deep in the stack.
    tests = []
    for value in right.values() if isinstance(right, dict) else right:
        tests.append(comparison(value))
    return _dict_equals(dict(zip(right, tests, strict=True))) if isinstance(right, dict) else _list_equals(tests)


def identify(right: object) -> tuple[Hashable, ...]:
    """Return what is equal for values that `comparison` finds the same things equal to.

    Python alone would take 1 for True, and a date for the moment at which it begins.
    """
    if isinstance(right, Enum):
        return identify(right.value)
    if isinstance(right, dict):
        return ("object", frozenset((key, identify(value)) for key, value in right.items()))
    if isinstance(right, list | tuple):
        return ("list", tuple(map(identify, right)))
    if isinstance(right, bool | UUID | bytes) or right is None:
        return (type(right).__name__, right)
    if isinstance(right, str):
        return ("text", str.__str__(right))
    if isinstance(right, date):
        return ("datetime" if isinstance(right, datetime) else "date", read_moment(right))
    return ("number", read_number(right))


def _scalar_equals(right: object) -> IsEqual:
    if right is None or isinstance(right, bool):
        return lambda left: left is right
    if isinstance(right, str | bytes):
        # Python finds text and bytes unequal, and warns of it on request.
        base = str if isinstance(right, str) else bytes
        return lambda left: isinstance(left, base) and left == right
    if isinstance(right, int | float | Decimal):
        return _number_equals(right)
    if isinstance(right, date):
        return _moment_equals(right)
    if isinstance(right, UUID):
        # It travels as text, but BSON from elsewhere can hold one.
        text = str(right)
        return lambda left: isinstance(left, str | UUID) and str(left) == text
    raise TypeError(f"{type(right).__qualname__} is no value that a message can hold")


def _number_equals(right: float | Decimal) -> IsEqual:
    wanted = read_number(right)
    if wanted is None:
        return lambda left: False
    return lambda left: read_number(left) == wanted


def _moment_equals(right: date) -> IsEqual:
    wanted = read_moment(right)

    def test(left: object) -> bool:
        moment = read_moment(left)
        if moment is None or wanted is None:
            return False
        one, other = alike(moment, wanted)
        return one == other

    return test


def _dict_equals(tests: dict[object, IsEqual]) -> IsEqual:
    def test(left: object) -> bool:
        if not isinstance(left, dict) or left.keys() != tests.keys():
            return False
        for key, each in tests.items():  # noqa: SIM110 - see above
            if not each(left[key]):
                return False
        return True

    return test


def _list_equals(tests: list[IsEqual]) -> IsEqual:
    def test(left: object) -> bool:
        if not isinstance(left, list | tuple) or len(left) != len(tests):
            return False
        for each, value in zip(tests, left, strict=True):  # noqa: SIM110 - see above
            if not each(value):
                return False
        return True

    return test


def _read_number_text(text: str) -> Number | None:
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal holds
        return None


def _read_moment_text(text: str) -> Moment | None:
    try:
        if len(text) == _DATE_LENGTH:
            # Python reads other forms, too, such as 2020-W01-1.
            return date.fromisoformat(text) if text[4] == "-" == text[7] and text.isascii() else None
        found = _DATETIME.fullmatch(text) if len(text) <= _LONGEST else None
        return _in_utc(datetime.fromisoformat("".join((found[1], "T", found[2], found[3] or "")))) if found else None
    except ValueError:  # the 30th of February
        return None


def _in_utc(moment: datetime) -> datetime | None:
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the year 0, or 10,000
        return None


def _as_date(moment: Moment) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
