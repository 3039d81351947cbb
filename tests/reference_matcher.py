"""The matching tables of the specification, written a second time: slowly, plainly, and from their words alone.

A pattern is described by plain values and by `Ask`; `build` makes the real pattern of it, `holds` says what is true.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any
from uuid import UUID

from megaflow.match import functions


class Missing(Enum):
    """What is there where a key is not."""

    MISSING = "missing"


@dataclass(frozen=True)
class Ask:
    """The function *name* of `megaflow.match.functions` with *args*; ``user`` is a function of the user."""

    name: str
    args: tuple[Any, ...] = ()


USERS: dict[str, Callable[[Any], bool]] = {
    "always": lambda left: True,
    "never": lambda left: False,
    "is_text": lambda left: isinstance(left, str),
    "is_true": lambda left: bool(left),
    "is_long": lambda left: len(str(left)) > 3,
}


def build(pattern: Any, users: Callable[[str], Callable[[Any], Any]] = USERS.__getitem__) -> Any:
    """Return the pattern that is described."""
    if isinstance(pattern, Ask):
        if pattern.name == "user":
            return users(pattern.args[0])
        args = [build(arg, users) for arg in pattern.args]
        return getattr(functions, pattern.name)(*args)
    if isinstance(pattern, dict):
        return {key: build(value, users) for key, value in pattern.items()}
    if isinstance(pattern, list | tuple):
        return type(pattern)(build(each, users) for each in pattern)
    return pattern


def holds(pattern: Any, left: Any) -> bool:
    """Tell whether *left* matches the pattern that is described."""
    if isinstance(pattern, Ask):
        return _holds_function(pattern.name, pattern.args, left)
    if left is Missing.MISSING:
        return False
    if isinstance(pattern, Enum):
        return holds(pattern.value, left)
    if isinstance(pattern, dict):
        return isinstance(left, dict) and all(
            holds(each, left.get(key, Missing.MISSING)) for key, each in pattern.items()
        )
    if isinstance(pattern, list | tuple | set | frozenset):
        if isinstance(left, list | tuple):
            return all(any(holds(each, item) for item in left) for each in pattern)
        return not isinstance(left, dict) and any(holds(each, left) for each in pattern)
    if isinstance(pattern, re.Pattern):
        return isinstance(left, str) and pattern.match(left) is not None
    if pattern is bool:
        return bool(left)
    return same(pattern, left)


def same(right: Any, left: Any) -> bool:
    """Tell whether *left* equals *right*: scalars by the table, dicts and lists exactly."""
    if isinstance(right, dict):
        return (
            isinstance(left, dict)
            and set(left) == set(right)
            and all(same(value, left[k]) for k, value in right.items())
        )
    if isinstance(right, list | tuple):
        return isinstance(left, list | tuple) and len(left) == len(right) and all(map(same, right, left))
    if isinstance(right, Enum):
        return same(right.value, left)
    if right is None or isinstance(right, bool):
        return left is right
    if isinstance(right, UUID):
        return isinstance(left, str | UUID) and str(left) == str(right)
    if isinstance(right, str | bytes):
        return type(left) is type(right) and left == right
    if isinstance(right, date):
        return _ordered(left, right, lambda one, other: one == other)
    return number(left) is not None and number(left) == number(right)


def _holds_function(name: str, args: tuple[Any, ...], left: Any) -> bool:
    """Go down the second table, row by row."""
    if name == "absent":
        return left is Missing.MISSING
    if name in ("one_of", "or_"):
        return any(holds(each, left) for each in args)
    if name == "in_":
        return any(holds(each, left) for each in args[0])
    if name == "and_":
        return all(holds(each, left) for each in args)
    if left is Missing.MISSING:
        return False
    if name == "user":
        return USERS[args[0]](left)
    if name in _COMPARISONS:
        return _ordered(left, args[0], _COMPARISONS[name])
    return _ROWS[name](left, *args)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda left, bound: left > bound,
    "gte": lambda left, bound: left >= bound,
    "lt": lambda left, bound: left < bound,
    "lte": lambda left, bound: left <= bound,
}

_ROWS: dict[str, Callable[..., bool]] = {
    "eq": lambda left, value: same(value, left),
    "neq": lambda left, value: not same(value, left),
    "between": lambda left, low, high: (
        _ordered(left, low, _COMPARISONS["gte"]) and _ordered(left, high, _COMPARISONS["lt"])
    ),
    "not_": lambda left, pattern: not holds(pattern, left),
    "match": lambda left, regex: isinstance(left, str) and re.match(regex, left) is not None,
    "search": lambda left, regex: isinstance(left, str) and re.search(regex, left) is not None,
    "fullmatch": lambda left, regex: isinstance(left, str) and re.fullmatch(regex, left) is not None,
    "prefix": lambda left, text: isinstance(left, str) and left[: len(text)] == text,
    "suffix": lambda left, text: (
        isinstance(left, str) and left[len(left) - len(text) :] == text and len(text) <= len(left)
    ),
    "wildcard": lambda left, text: isinstance(left, str) and _has_form(left, text),
    "iequals": lambda left, text: isinstance(left, str) and left.casefold() == text.casefold(),
    "empty": lambda left: left is None or (isinstance(left, str | list | tuple | dict) and len(left) == 0),
    "any_": lambda left: True,
    "exists": lambda left: True,
    "contains": lambda left, pattern: isinstance(left, list | tuple) and any(holds(pattern, item) for item in left),
    "all_items": lambda left, pattern: isinstance(left, list | tuple) and all(holds(pattern, item) for item in left),
    "length": lambda left, pattern: isinstance(left, str | list | tuple | dict) and holds(pattern, len(left)),
    "cidr": lambda left, block: isinstance(left, str) and _is_in_block(left, block),
}


def number(value: Any) -> Fraction | float | None:
    """Return the number that *value* is; a float is its shortest text, text is JSON's."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float | Decimal) and Decimal(value).is_nan():
        return None
    if isinstance(value, float | Decimal) and math.isinf(value):
        return float(value)
    if isinstance(value, float):
        return Fraction(repr(value))
    if isinstance(value, int | Decimal):
        return Fraction(value)
    return _json_number(value) if isinstance(value, str) else None


def _json_number(text: str) -> Fraction | None:
    if text.strip() != text:
        return None
    try:
        value = json.loads(text, parse_int=Fraction, parse_float=Fraction, parse_constant=lambda name: None)
    except ValueError:
        return None
    return value if isinstance(value, Fraction) else None


_EPOCH = datetime(1, 1, 1)
_DAY = timedelta(days=1)


def _moment(value: Any) -> timedelta | date | None:
    """Return a date, or the time since the first moment of the calendar in UTC, where that is in the calendar."""
    if isinstance(value, str):
        value = _read_text(value)
    if not isinstance(value, datetime):
        return value if isinstance(value, date) else None
    since = value.replace(tzinfo=None) - _EPOCH - (value.utcoffset() or timedelta())
    return since if timedelta() <= since < datetime.max.date().toordinal() * _DAY else None


def _read_text(text: str) -> date | None:
    day, time, offset = text[:10], text[11:], "+00:00"
    found = re.search("[0-9](Z|[+-].*)$", time)
    if found:
        offset, time = found[1], time[: found.start() + 1]
    form = {0: "", 5: "%H:%M", 8: "%H:%M:%S"}.get(len(time))
    if len(time) > 9 and time[8] == "." and time[9:].isdigit():
        form, time = "%H:%M:%S.%f", time[:15]
    offset = {1: "+00:00", 3: f"{offset}:00", 5: f"{offset[:3]}:{offset[3:]}", 6: offset}.get(len(offset), "")
    if form is None or not re.fullmatch("[+-][0-9]{2}:[0-5][0-9]", offset) or not re.fullmatch("....-..-..", day):
        return None
    try:
        if text == day:
            return datetime.strptime(text, "%Y-%m-%d").date()
        if text[10] not in "T " or not form:
            return None
        return datetime.strptime(f"{day} {time} {offset}", f"%Y-%m-%d {form} %z")
    except ValueError:
        return None


def _ordered(left: Any, bound: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """Compare as numbers or dates, whichever *bound* is."""
    if number(bound) is not None:
        value = number(left)
        return value is not None and compare(value, number(bound))
    one, other = _moment(left), _moment(bound)
    if one is None or other is None:
        return False
    if isinstance(one, date) or isinstance(other, date):
        return compare(_day_of(one), _day_of(other))
    return compare(one, other)


def _day_of(moment: timedelta | date) -> int:
    return moment.toordinal() if isinstance(moment, date) else moment.days + 1


def _has_form(text: str, form: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, form.split("*"))), text, re.DOTALL) is not None


def _is_in_block(text: str, block: str) -> bool:
    try:
        return ipaddress.ip_address(text) in ipaddress.ip_network(block)
    except ValueError:
        return False
