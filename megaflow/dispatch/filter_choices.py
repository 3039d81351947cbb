"""Filters of AWS's, seen into: what `from_sns_filter_policy` and `from_eventbridge` ask, in the words of a policy.

What a policy says it says again. What only EventBridge can say, or says otherwise, becomes what lets through more.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from megaflow.dispatch.choices import (
    ANY_TEXT,
    NOT_THERE,
    PRESENT,
    SOMETHING,
    Branch,
    Choices,
    is_key,
    tightness,
)
from megaflow.dispatch.fields import Path
from megaflow.dispatch.normal import Clause, required_conditions
from megaflow.handlers.handler import Handler
from megaflow.match.dialect import SNS, Dialect
from megaflow.match.filter_numbers import AnyNumber, is_number
from megaflow.match.filter_tree import Either, Field, Part
from megaflow.match.filters import AttributesFilter
from megaflow.match.json_filter import JsonFilter
from megaflow.match.leaves import UserFunction
from megaflow.match.operators import split_wildcard

Said: TypeAlias = Sequence[tuple[Path, Choices]]
"""What is asked at some paths, all of it."""

Way: TypeAlias = tuple[Field, ...]
"""One way to match a filter: fields, all of which have to."""

_MOST_WAYS: Final = 200
"""Where ``$or`` make more of them, the last ones are left out, which lets through more."""

_SHOWN: Final = 5
"""Rules of a handler."""

_MOST_STARS: Final = 3
"""https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html ."""


def see_into_filters(clauses: Sequence[Clause]) -> Iterator[tuple[Sequence[Clause], Said]]:
    """Give the clauses that are no filters of AWS's, with each way in which those can match."""
    others = [clause for clause in clauses if not isinstance(clause.condition, JsonFilter)]
    ways: list[Said] = [()]
    for clause in clauses:
        if isinstance(clause.condition, JsonFilter):
            filter = clause.condition
            own = [tuple(_say(way, clause.path, filter.dialect)) for way in ways_of(filter.tree)]
            ways = _combine(ways, own, lambda some, more: (*some, *more))
    return ((others, said) for said in ways)


def attribute_branches_of(handler: Handler) -> list[Branch] | None:
    """Return the branches of a handler that asks by a policy for attributes; None for any other one."""
    function = handler.pattern.function if isinstance(handler.pattern, UserFunction) else None
    if not isinstance(function, AttributesFilter):
        return None
    return [_read_attributes(way) for way in ways_of(function.tree)]


def _read_attributes(way: Way) -> Branch:
    branch: dict[Path, Choices] = {}
    for field in way:
        asked = frozenset().union(*map(_write, field.written))
        # Attributes are in no objects, and their names may have dots. Of two lists for one, either lets through more.
        path = (field.name,)
        branch[path] = min(branch.get(path, asked), asked, key=tightness)
    return branch


def describe_rules(handler: Handler) -> str:
    """Return what *handler* asks for, as it is written, and where."""
    asked = required_conditions(handler.pattern)
    rules = [f"{'.'.join(path)}: {condition!r}" if path else repr(condition) for path, condition in asked]
    more = f", and {len(rules) - _SHOWN} more" if len(rules) > _SHOWN else ""
    return ", ".join(rules[:_SHOWN]) + more


def ways_of(part: Part) -> list[Way]:
    """Return the ways in which *part* of a filter can match; or fewer conditions, where there are very many."""
    if isinstance(part, Field):
        return [(part,)]
    inner = list(map(ways_of, part.parts))
    if isinstance(part, Either):
        several = [way for ways in inner for way in ways]
        return several if len(several) <= _MOST_WAYS else [()]
    ways: list[Way] = [()]
    for each in inner:
        ways = _combine(ways, each, lambda some, more: (*some, *more))
    return ways


def _combine(some: list[Any], more: list[Any], join: Callable[[Any, Any], Any]) -> list[Any]:
    if len(some) * len(more) > _MOST_WAYS:
        return some
    return [join(one, other) for one in some for other in more]


def _say(way: Way, path: Path, dialect: Dialect) -> Iterator[tuple[Path, Choices]]:
    for field in way:
        keys = tuple(field.name.split("."))
        if not all(map(is_key, (*path, *keys))):
            continue
        if not field.alternatives.missing or _is_sure_to_be_missing(field, way, path, dialect):
            yield (*path, *keys), frozenset().union(*(_translate(each, dialect) for each in field.written))


def _is_sure_to_be_missing(field: Field, way: Way, path: Path, dialect: Dialect) -> bool:
    """Tell whether SNS finds nothing there, either, where the filter finds nothing.

    Not so within another object, since ``{"a.b": 1}`` is to SNS what ``{"a": {"b": 1}}`` is. And EventBridge looks for
    it only in those elements of a list in which the other fields match.
    """
    start = field.name.partition(".")[0]
    alone = all(other is field or other.name.partition(".")[0] != start for other in way)
    return not path and (dialect is SNS or alone)


def _translate(alternative: Any, dialect: Dialect) -> Choices:
    if dialect is SNS:
        return _write(alternative)
    if not isinstance(alternative, dict):
        return _translate_value(alternative)
    ((name, operand),) = alternative.items()
    return _TRANSLATIONS[name](operand)


def _write(alternative: Any) -> Choices:
    return frozenset({json.dumps(alternative)})


def _translate_value(value: Any) -> Choices:
    # SNS compares five decimals where EventBridge compares six.
    return _write(value) if not is_number(value) or (_fits(value) and _has_five_decimals(value)) else SOMETHING


def _translate_exists(operand: bool) -> Choices:
    return PRESENT if operand else frozenset({NOT_THERE})


def _translate_end(name: str, operand: Any) -> Choices:
    return _write({name: operand}) if isinstance(operand, str) and operand else ANY_TEXT


def _translate_wildcard(operand: str) -> Choices:
    pieces = split_wildcard(operand, "")
    if len(pieces) - 1 <= _MOST_STARS:
        return _write({"wildcard": operand})
    return _translate_end("prefix", pieces[0]) if pieces[0] else _translate_end("suffix", pieces[-1])


def _translate_denied(operand: Any) -> Choices:
    if not isinstance(operand, dict):
        values = operand if isinstance(operand, list) else [operand]
        # To deny a number at five decimals is to deny more.
        return PRESENT if any(map(is_number, values)) else _write({"anything-but": operand})
    ((name, denied),) = operand.items()
    first = denied[0] if isinstance(denied, list) else denied
    is_said = name in SNS.denied and not (name == "wildcard" and len(split_wildcard(first, "")) - 1 > _MOST_STARS)
    return _write({"anything-but": {name: first}}) if is_said else PRESENT


def _translate_numeric(operand: Sequence[Any]) -> Choices:
    """Translate a range of six decimals into one of five, which holds at least as much."""
    terms = list(zip(operand[::2], operand[1::2], strict=True))
    if terms[0][0] == "=":
        return _translate_value(terms[0][1])
    lows = [_floor(bound) for name, bound in terms if name in (">", ">=")]
    highs = [_ceil(bound) for name, bound in terms if name in ("<", "<=")]
    written: list[Any] = []
    if lows and lows[0] >= -SNS.limit:
        written += [">=", min(lows[0], SNS.limit)]
    if highs and highs[0] <= SNS.limit:
        written += ["<=", max(highs[0], -SNS.limit)]
    if len(written) == 4 and written[1] >= written[3]:
        written = ["=", written[1]] if written[1] == written[3] else []
    return _write({"numeric": written}) if written else SOMETHING


def _fits(number: AnyNumber) -> bool:
    return -SNS.limit <= number <= SNS.limit


def _has_five_decimals(number: AnyNumber) -> bool:
    return round(float(number), SNS.decimals) == float(number)


def _floor(number: AnyNumber) -> float:
    return _whole(number) if _has_five_decimals(number) else math.floor(float(number) * 10**4) / 10**4


def _ceil(number: AnyNumber) -> float:
    return _whole(number) if _has_five_decimals(number) else math.ceil(float(number) * 10**4) / 10**4


def _whole(number: AnyNumber) -> float:
    return number if isinstance(number, int) else float(number)


_TRANSLATIONS: Final[Mapping[str, Callable[[Any], Choices]]] = {
    "exists": _translate_exists,
    "exactly": _write,
    "prefix": lambda operand: _translate_end("prefix", operand),
    "suffix": lambda operand: _translate_end("suffix", operand),
    "equals-ignore-case": lambda operand: _write({"equals-ignore-case": operand}),
    "wildcard": _translate_wildcard,
    "cidr": lambda operand: _write({"cidr": operand}),
    "numeric": _translate_numeric,
    "anything-but": _translate_denied,
}
"""How SNS says what each operator of EventBridge's does."""
