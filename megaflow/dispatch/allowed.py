"""Allowed JSON: what a handler matches of a body, as far as an SNS filter policy can say it; never less.

SNS sees the values below the keys of a body, through lists. ``[]`` and ``{}`` it does not see, so that a condition
which may hold for them allows anything here, or that nothing is there.

https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from megaflow.dispatch.choices import (
    ANY_TEXT,
    ANYTHING,
    BLANK,
    LONGEST,
    NOT_THERE,
    NULL,
    SOMETHING,
    Branch,
    Choices,
    is_key,
    tightness,
    without_what_is_said,
)
from megaflow.dispatch.fields import EVENT_FIELDS, Path
from megaflow.dispatch.filter_choices import see_into_filters
from megaflow.dispatch.logic import collect_conditions, find_contradiction
from megaflow.dispatch.normal import Clause, Normaliser, required_conditions
from megaflow.event import PROTOCOL
from megaflow.handlers.handler import Handler
from megaflow.match.comparison import read_number
from megaflow.match.conditions import AllOf, AnyOf, Condition, compile_test
from megaflow.match.containers import Fields, Inside, Items
from megaflow.match.json_filter import JsonFilter
from megaflow.match.leaves import Absent, Check, Comparison, Equals, Regex, Text
from megaflow.match.regexes import literal_start
from megaflow.messages.codec import Kind

_MOST_OBJECTS: Final = 16

_LARGEST: Final = 10**9

_ATTRIBUTES: Final[Path] = ("event", "attributes")
_VERSIONS: Final = (("event", "version"), ("object", "version"))


def branches_of(handler: Handler) -> list[Branch]:
    """Return the branches of which one accepts every JSON object that *handler* matches; none where it never does."""
    rule = Normaliser().normalise(0, handler)
    if find_contradiction(collect_conditions(rule.clauses)):
        return []
    return [
        branch
        for clauses in _split(list(_open(rule.clauses)))
        for others, said in see_into_filters(clauses)
        for branch in _branches(handler.kind, others, said)
    ]


def _open(clauses: Iterable[Clause]) -> Iterator[Clause]:
    """Go through *clauses*; what an object in a list has to hold, SNS asks for as if it stood in no list."""
    for clause in clauses:
        match clause.condition:
            case Inside(name="contains", part=(Fields() | JsonFilter()) as part):
                yield from (Clause(path, each) for path, each in required_conditions(part, clause.path))
            case _:
                yield clause


def _split(clauses: Sequence[Clause]) -> list[Sequence[Clause]]:
    """Return the clauses for each of several objects, where one of them is asked for first."""
    for position, clause in enumerate(clauses):
        parts = clause.condition.parts if isinstance(clause.condition, AnyOf) else ()
        if len(parts) <= _MOST_OBJECTS and any(isinstance(part, Fields | JsonFilter) for part in parts):
            rest = [*clauses[:position], *clauses[position + 1 :]]
            split = ([Clause(path, each) for path, each in required_conditions(part, clause.path)] for part in parts)
            return [[*rest, *each] for each in split]
    return [clauses]


def _branches(kind: Kind, clauses: Sequence[Clause], said: Sequence[tuple[Path, Choices]]) -> list[Branch]:
    if kind is not Kind.MEGA:
        return [_choose(((clause.path, _allow(clause.condition)) for clause in clauses), said=said)]
    branch: dict[Path, Choices] = {("protocol",): frozenset({json.dumps(PROTOCOL)})}
    branch |= _choose(
        (_allow_field(clause) for clause in clauses if clause.path[:2] != _ATTRIBUTES),
        EVENT_FIELDS,
        [each for each in said if each[0][:2] != _ATTRIBUTES],
    )
    inside = [clause for clause in clauses if clause.path[:2] == _ATTRIBUTES and clause.path != _ATTRIBUTES]
    attributes = _choose(
        ((clause.path, _allow(clause.condition)) for clause in inside),
        # A key with a dot may begin with the name of a field, and yet stand beside it.
        said=[each for each in said if each[0][:2] == _ATTRIBUTES and each[0][:3] not in _EXPLICIT],
    )
    if not attributes:
        return [branch]
    # Each of them may stand in two places. One is enough to tell events apart, and takes two of the five keys.
    path = min(attributes, key=lambda each: tightness(attributes[each]))
    places = [path] if path[:3] in _EXPLICIT else [path, ("event", *path[2:])]
    return [branch | {place: attributes[path]} for place in places]


_EXPLICIT: Final = frozenset((*_ATTRIBUTES, path[1]) for path in EVENT_FIELDS if path[:1] == ("event",))
"""Attributes that have the name of a field, and so stand among the attributes only."""


def _choose(
    allowed: Iterable[tuple[Path, Choices]], fields: Container[Path] = (), said: Iterable[tuple[Path, Choices]] = ()
) -> dict[Path, Choices]:
    """Return the best that is said at each path, without what says nothing and what a policy cannot have as a key.

    To SNS, ``{"a.b": 1}`` and ``{"a": {"b": 1}}`` are one: that nothing is there can be asked at the top only, and at
    the *fields* of events, which have no keys with dots at their top. What filters of AWS have *said* is sure as it is.
    """
    chosen: dict[Path, Choices] = {}
    for path, alternatives in (*_find_sure(allowed, fields), *said):
        if alternatives >= ANYTHING:
            continue
        if path not in chosen or tightness(alternatives) < tightness(chosen[path]):
            chosen[path] = without_what_is_said(alternatives)
    # A key holds alternatives or other keys.
    return {path: each for path, each in chosen.items() if not any(_leads_to(path, other) for other in chosen)}


def _find_sure(allowed: Iterable[tuple[Path, Choices]], fields: Container[Path]) -> Iterator[tuple[Path, Choices]]:
    for path, alternatives in allowed:
        if not path or not all(map(is_key, path)):
            continue
        if NOT_THERE not in alternatives or len(path) == 1 or path in fields:
            yield path, alternatives


def _leads_to(path: Path, other: Path) -> bool:
    return len(path) < len(other) and other[: len(path)] == path


def _allow_field(clause: Clause) -> tuple[Path, Choices]:
    """Allow what a field of an event may be for *clause* to hold; null is as good as missing there."""
    path, condition = clause.path, clause.condition
    if path in _VERSIONS:
        return path, _allow_version(condition)
    allowed = _allow(condition)
    if path in EVENT_FIELDS and condition.matches_missing:
        allowed |= {NULL, NOT_THERE}
    return path, allowed


def _allow_version(condition: Condition) -> Choices:
    """Allow whole numbers, which a version always is, 1 being that of an event that does not say."""
    allowed = _allow_whole(condition)
    return allowed | {NULL, NOT_THERE} if compile_test(condition)(1) or condition.matches_missing else allowed


def _allow_whole(condition: Condition) -> Choices:
    if isinstance(condition, AnyOf):
        return frozenset().union(*map(_allow_whole, condition.parts))
    value: object = condition.value if isinstance(condition, Equals) else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return frozenset({json.dumps(int(value))})
    bounds = condition.parts if isinstance(condition, AllOf) else ()
    lows = [_whole_bound(each, 1) for each in bounds if isinstance(each, Comparison) and each.name in ("gt", "gte")]
    highs = [_whole_bound(each, -1) for each in bounds if isinstance(each, Comparison) and each.name in ("lt", "lte")]
    if None in lows or None in highs or not lows or not highs:
        return SOMETHING
    low, high = max(each for each in lows if each is not None), min(each for each in highs if each is not None)
    return _allow_between(low, high)


def _allow_between(low: int, high: int) -> Choices:
    if low == high:
        return frozenset({json.dumps(low)})
    if not -_LARGEST <= low < high <= _LARGEST:
        return SOMETHING
    return frozenset({json.dumps({"numeric": [">=", low, "<=", high]})})


def _whole_bound(comparison: Comparison, step: int) -> int | None:
    """Return the first whole number on the right side of a bound; None where that is no number, or endless."""
    bound = read_number(comparison.bound)
    if bound is None or not -_LARGEST <= bound <= _LARGEST:
        return None
    whole = math.ceil(bound) if step > 0 else math.floor(bound)
    return whole + step if whole == bound and comparison.name in ("gt", "lt") else whole


def _allow(condition: Condition) -> Choices:
    """Allow the values of JSON for which *condition* holds, and no fewer."""
    allow = _BY_TYPE.get(type(condition))
    return ANYTHING if allow is None else allow(condition)


def _allow_any(condition: AnyOf) -> Choices:
    return frozenset().union(*map(_allow, condition.parts))


def _allow_all(condition: AllOf) -> Choices:
    return min(map(_allow, condition.parts), key=tightness)


def _allow_items(condition: Items | Inside) -> Choices:
    """Allow items, which SNS takes for values of the list; one that it does not see may stand beside others."""
    if not condition.parts or (isinstance(condition, Inside) and condition.name != "contains"):
        return ANYTHING
    allowed = frozenset().union(*map(_allow, condition.parts))
    return ANYTHING if NOT_THERE in allowed else allowed


def _allow_check(condition: Check) -> Choices:
    return frozenset({NULL, BLANK, NOT_THERE}) if condition.written == "empty()" else ANYTHING


def _allow_equal(value: object) -> Choices:
    if isinstance(value, Enum):
        return _allow_equal(value.value)
    if isinstance(value, str | UUID) and len(str(value)) <= LONGEST:
        return frozenset({json.dumps(str(value))})
    if value is None or isinstance(value, bool):
        return frozenset({json.dumps(value)})
    # Numbers and dates may be text, in many forms; of bytes there are none in JSON.
    is_said = isinstance(value, int | float | Decimal | date | bytes)
    return SOMETHING if is_said else (ANY_TEXT if isinstance(value, str) else ANYTHING)


def _allow_text(condition: Text) -> Choices:
    name, text = condition.name, condition.text
    if name == "prefix":
        return _allow_start(text)
    if name == "suffix":
        return _allow_end(text)
    if name == "wildcard" and "*" not in text:
        return _allow_equal(text)
    if name == "wildcard":
        start, end = text.partition("*")[0], text.rpartition("*")[2]
        return _allow_start(start) if start else _allow_end(end)
    if name == "iequals" and text.isascii() and text and not set("sfkSFK") & set(text):
        # Letters beyond ASCII fold to s, f and k (ß, a ligature, the Kelvin sign). SNS knows two cases of each letter.
        return frozenset({json.dumps({"equals-ignore-case": text})})
    return SOMETHING if name == "cidr" else ANY_TEXT


def _allow_start(start: str) -> Choices:
    return frozenset({json.dumps({"prefix": start})}) if 0 < len(start) <= LONGEST else ANY_TEXT


def _allow_end(end: str) -> Choices:
    return frozenset({json.dumps({"suffix": end})}) if 0 < len(end) <= LONGEST else ANY_TEXT


_BY_TYPE: Final[Mapping[type, Callable[[Any], Choices]]] = {
    Equals: lambda condition: _allow_equal(condition.value),
    AnyOf: _allow_any,
    AllOf: _allow_all,
    Items: _allow_items,
    Inside: _allow_items,
    Comparison: lambda condition: SOMETHING,
    Regex: lambda condition: _allow_start(literal_start(condition.name, condition.regex)),
    Text: _allow_text,
    Absent: lambda condition: frozenset({NOT_THERE}),
    Check: _allow_check,
}
"""For conditions of other types SNS says nothing: nested objects, what is denied, users' functions."""
