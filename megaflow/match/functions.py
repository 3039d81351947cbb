"""Functions for patterns: ``gt``, ``one_of``, ``not_``, ``prefix`` and the others.

Each returns a `Condition`, which can stand wherever a pattern stands: ``{"user": {"id": gt(0)}}``. Those that take
patterns take any pattern. A condition on a value of another type does not match. A missing key matches `absent()` and
nothing else. A pattern that is wrong in itself raises `PatternError`.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from megaflow.errors import PatternError
from megaflow.match import comparison
from megaflow.match.conditions import AllOf, AnyOf, Condition, Not, Present
from megaflow.match.containers import Inside
from megaflow.match.ip_addresses import is_address_of
from megaflow.match.leaves import Absent, Check, Comparison, Equals, Regex, Text
from megaflow.match.pattern import as_condition
from megaflow.match.wildcards import has_pieces

__all__ = [
    "absent",
    "all_items",
    "and_",
    "any_",
    "between",
    "cidr",
    "contains",
    "empty",
    "eq",
    "exists",
    "fullmatch",
    "gt",
    "gte",
    "iequals",
    "in_",
    "length",
    "lt",
    "lte",
    "match",
    "neq",
    "not_",
    "one_of",
    "or_",
    "prefix",
    "search",
    "suffix",
    "wildcard",
]

Bound: TypeAlias = int | float | Decimal | date | str
"""A number or a date; text has to read as one of them."""


def eq(value: object) -> Condition:
    """Match what equals *value*: texts and numbers as patterns compare them, dicts and lists exactly."""
    return _exactly("eq", value)


def neq(value: object) -> Condition:
    """Match a value that is there and does not equal *value*."""
    return Not(_exactly("neq", value), f"neq({value!r})")


def gt(bound: Bound) -> Condition:
    """Match a number or a date above *bound*."""
    return _comparison("gt", bound)


def gte(bound: Bound) -> Condition:
    """Match a number or a date that is *bound* or above."""
    return _comparison("gte", bound)


def lt(bound: Bound) -> Condition:
    """Match a number or a date below *bound*."""
    return _comparison("lt", bound)


def lte(bound: Bound) -> Condition:
    """Match a number or a date that is *bound* or below."""
    return _comparison("lte", bound)


def between(low: Bound, high: Bound) -> Condition:
    """Match a number or a date that is *low* or above, and below *high*."""
    lowest = _comparison("gte", low, "between")
    highest = _comparison("lt", high, "between")
    if lowest.is_number != highest.is_number:
        raise PatternError(f"between() needs two numbers or two dates, got {low!r} and {high!r}")
    if not highest.compile()(lowest.bound):
        raise PatternError(f"between() needs a lower and a higher bound, got {low!r} and {high!r}: nothing is between")
    return AllOf((lowest, highest), f"between({low!r}, {high!r})")


def one_of(*patterns: object) -> Condition:
    """Match what any of *patterns* matches: ``one_of(1, 2)``."""
    return _any_of("one_of", patterns)


def in_(patterns: Collection[object]) -> Condition:
    """Match what any of *patterns* matches, which are in a list, tuple or set."""
    if isinstance(patterns, str | bytes | dict) or not isinstance(patterns, Collection):
        raise PatternError(f"in_() needs a list, tuple or set of patterns, got {patterns!r}; or use one_of()")
    return _any_of("in_", tuple(patterns))


def not_(pattern: object) -> Condition:
    """Match a value that is there and that *pattern* does not match: also ``~pattern``."""
    return Not(as_condition(pattern))


def and_(*patterns: object) -> Condition:
    """Match what all of *patterns* match: also ``p & q``."""
    if not patterns:
        raise PatternError("and_() needs at least one pattern")
    return AllOf(tuple(map(as_condition, patterns)))


def or_(*patterns: object) -> Condition:
    """Match what any of *patterns* matches: also ``p | q``."""
    return _any_of("or_", patterns)


def match(regex: str | re.Pattern[str]) -> Condition:
    """Match text that begins with what *regex* matches, as ``re.match`` does."""
    return _regex("match", regex)


def search(regex: str | re.Pattern[str]) -> Condition:
    """Match text in which *regex* matches somewhere, as ``re.search`` does."""
    return _regex("search", regex)


def fullmatch(regex: str | re.Pattern[str]) -> Condition:
    """Match text that *regex* matches as a whole, as ``re.fullmatch`` does."""
    return _regex("fullmatch", regex)


def prefix(text: str) -> Condition:
    """Match text that starts with *text*."""
    start = _need_text("prefix", text)
    return Text("prefix", start, lambda left: left.startswith(start))


def suffix(text: str) -> Condition:
    """Match text that ends with *text*."""
    end = _need_text("suffix", text)
    return Text("suffix", end, lambda left: left.endswith(end))


def wildcard(text: str) -> Condition:
    """Match text that is *text*, in which ``*`` stands for any characters, also none: ``wildcard("a*b")``."""
    form = _need_text("wildcard", text)
    pieces = form.split("*")
    return Text("wildcard", form, lambda left: has_pieces(left, pieces))


def iequals(text: str) -> Condition:
    """Match *text* in upper or lower case, by Unicode's case folding."""
    wanted = _need_text("iequals", text)
    folded = wanted.casefold()
    return Text("iequals", wanted, lambda left: left.casefold() == folded)


def empty() -> Condition:
    """Match null, ``""``, ``[]`` and ``{}``."""
    return Check("empty()", lambda left: left is None or (isinstance(left, str | list | tuple | dict) and not left))


def any_() -> Condition:
    """Match any value that is there, also null."""
    return Present("any_()")


def exists() -> Condition:
    """Match any value that is there, also null; the same as `any_`."""
    return Present("exists()")


def absent() -> Condition:
    """Match a missing key."""
    return Absent()


def contains(pattern: object) -> Condition:
    """Match a list in which *pattern* matches some item."""
    return Inside("contains", as_condition(pattern))


def all_items(pattern: object) -> Condition:
    """Match a list in which *pattern* matches every item, also an empty list."""
    return Inside("all_items", as_condition(pattern))


def length(pattern: object) -> Condition:
    """Match a text, list or object whose length *pattern* matches: ``length(gt(3))``."""
    return Inside("length", as_condition(pattern))


def cidr(block: str) -> Condition:
    """Match text that is an IP address of *block*, v4 or v6: ``cidr("10.0.0.0/8")``."""
    text = _need_text("cidr", block)
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise PatternError(f"cidr() needs a block of addresses such as '10.0.0.0/8': {error}") from error
    return Text("cidr", text, lambda left: is_address_of(left, network))


def _exactly(name: str, value: object) -> Equals:
    try:
        comparison.comparison(value)
    except TypeError as error:
        raise PatternError(f"{name}() compares values exactly: {error}") from None
    return Equals(value, f"{name}({value!r})")


def _comparison(name: Literal["gt", "gte", "lt", "lte"], bound: Bound, caller: str = "") -> Comparison:
    if comparison.read_number(bound) is None and comparison.read_moment(bound) is None:
        raise PatternError(f"{caller or name}() needs a number or a date, got {bound!r}")
    return Comparison(name, bound, _COMPARISONS[name])


_COMPARISONS: dict[str, Any] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def _any_of(name: str, patterns: tuple[object, ...]) -> AnyOf:
    if not patterns:
        raise PatternError(f"{name}() needs at least one pattern")
    return AnyOf(tuple(map(as_condition, patterns)), name)


def _regex(name: Literal["match", "search", "fullmatch"], regex: str | re.Pattern[str]) -> Regex:
    try:
        compiled = re.compile(regex)
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise PatternError(f"{name}() needs a regular expression, got {regex!r}: {error}") from error
    if not isinstance(compiled.pattern, str):
        raise PatternError(f"{name}() needs a regular expression for text, got {regex!r}")
    return Regex(name, compiled)


def _need_text(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise PatternError(f"{name}() needs text, got {text!r}")
    return str.__str__(text)  # an enum that is text, as the text alone
