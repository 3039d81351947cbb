"""Allowed JSON: what a handler matches of a body, as far as an SNS filter policy can say it; never less.

SNS sees the values below the keys of a body, through lists. ``[]`` and ``{}`` it does not see, so that a condition
which may hold for them allows anything here, or that nothing is there.

https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from megaflow.dispatch.fields import EVENT_FIELDS, Path
from megaflow.dispatch.logic import collect_conditions, find_contradiction
from megaflow.dispatch.normal import Clause, Normaliser, required_conditions
from megaflow.event import PROTOCOL
from megaflow.handlers.handler import Handler
from megaflow.match.comparison import read_number
from megaflow.match.conditions import AllOf, AnyOf, Condition, compile_test
from megaflow.match.containers import Fields, Inside, Items
from megaflow.match.leaves import Absent, Check, Comparison, Equals, Regex, Text
from megaflow.match.operators import KEYWORDS
from megaflow.match.regexes import literal_start
from megaflow.messages.codec import Kind

Choices: TypeAlias = frozenset[str]
"""The values and operators under one key, as JSON."""

Branch: TypeAlias = Mapping[Path, Choices]
"""The alternatives at some paths, of which one has to hold each."""

_NULL: Final = "null"
_BLANK: Final = '""'
_THERE: Final = '{"exists": true}'
"""Anything but null and empty text."""

_NOT_THERE: Final = '{"exists": false}'
_SOMETHING: Final[Choices] = frozenset({_THERE})
_ANY_TEXT: Final[Choices] = frozenset({_THERE, _BLANK})
_ANYTHING: Final[Choices] = frozenset({_THERE, _NOT_THERE, _NULL, _BLANK})

_LONGEST: Final = 200
"""Longer alternatives would fill a policy by themselves."""

_MOST_OBJECTS: Final = 16

_LARGEST: Final = 10**9

_ATTRIBUTES: Final[Path] = ("event", "attributes")
_VERSIONS: Final = (("event", "version"), ("object", "version"))


def branches_of(handler: Handler) -> list[Branch]:
    """Return the branches of which one accepts every JSON object that *handler* matches; none where it never does."""
    rule = Normaliser().normalise(0, handler)
    if find_contradiction(collect_conditions(rule.clauses)):
        return []
    return [branch for clauses in _split(list(_open(rule.clauses))) for branch in _branches(handler.kind, clauses)]


def _open(clauses: Iterable[Clause]) -> Iterator[Clause]:
    """Go through *clauses*; what an object in a list has to hold, SNS asks for as if it stood in no list."""
    for clause in clauses:
        match clause.condition:
            case Inside(name="contains", part=Fields() as part):
                yield from (Clause(path, each) for path, each in required_conditions(part, clause.path))
            case _:
                yield clause


def _split(clauses: Sequence[Clause]) -> list[Sequence[Clause]]:
    """Return the clauses for each of several objects, where one of them is asked for first."""
    for position, clause in enumerate(clauses):
        parts = clause.condition.parts if isinstance(clause.condition, AnyOf) else ()
        if len(parts) <= _MOST_OBJECTS and any(isinstance(part, Fields) for part in parts):
            rest = [*clauses[:position], *clauses[position + 1 :]]
            split = ([Clause(path, each) for path, each in required_conditions(part, clause.path)] for part in parts)
            return [[*rest, *each] for each in split]
    return [clauses]


def _branches(kind: Kind, clauses: Sequence[Clause]) -> list[Branch]:
    if kind is not Kind.MEGA:
        return [_choose((clause.path, _allow(clause.condition)) for clause in clauses)]
    branch: dict[Path, Choices] = {("protocol",): frozenset({json.dumps(PROTOCOL)})}
    branch |= _choose((_allow_field(clause) for clause in clauses if clause.path[:2] != _ATTRIBUTES), EVENT_FIELDS)
    inside = [clause for clause in clauses if clause.path[:2] == _ATTRIBUTES and clause.path != _ATTRIBUTES]
    attributes = _choose((clause.path, _allow(clause.condition)) for clause in inside)
    if not attributes:
        return [branch]
    # Each of them may stand in two places. One is enough to tell events apart, and takes two of the five keys.
    path = min(attributes, key=lambda each: tightness(attributes[each]))
    places = [path] if path[:3] in _EXPLICIT else [path, ("event", *path[2:])]
    return [branch | {place: attributes[path]} for place in places]


_EXPLICIT: Final = frozenset((*_ATTRIBUTES, path[1]) for path in EVENT_FIELDS if path[:1] == ("event",))
"""Attributes that have the name of a field, and so stand among the attributes only."""


def tightness(alternatives: Choices) -> float:
    """Return roughly which part of all values *alternatives* let through: the less, the better."""
    return min(1.0, sum(_LOOSENESS.get(each[:8], 0.01) for each in alternatives))


_LOOSENESS: Final = {'{"exists': 0.5, '{"prefix': 0.1, '{"suffix': 0.1, '{"equals': 0.02, '{"numeri': 0.2}


def loosen(asked: Collection[str], most: int) -> dict[str, str]:
    """Return what takes the place of each alternative: one of *most* starts of texts, or that there is a value."""
    values = {each: json.loads(each) for each in asked}
    for size in (32, 16, 8, 6, 5, 4, 3, 2, 1):
        starts = {each: _cut(each, value, size) for each, value in values.items()}
        if len(set(starts.values())) <= most:
            return starts
    return {each: each if each in _ANYTHING else _THERE for each in asked}


def _cut(alternative: str, value: Any, size: int) -> str:
    start = value.get("prefix") if isinstance(value, dict) else value
    if isinstance(start, str) and len(start) > size:
        return json.dumps({"prefix": start[:size]})
    return alternative


def _choose(allowed: Iterable[tuple[Path, Choices]], fields: Container[Path] = ()) -> dict[Path, Choices]:
    """Return the best that is said at each path, without what says nothing and what a policy cannot have as a key.

    To SNS, ``{"a.b": 1}`` and ``{"a": {"b": 1}}`` are one: that nothing is there can be asked at the top only, and at
    the *fields* of events, which have no keys with dots at their top.
    """
    chosen: dict[Path, Choices] = {}
    for path, alternatives in allowed:
        if not path or alternatives >= _ANYTHING or not all(map(_is_key, path)):
            continue
        if _NOT_THERE in alternatives and len(path) > 1 and path not in fields:
            continue
        if path not in chosen or tightness(alternatives) < tightness(chosen[path]):
            chosen[path] = _without_what_is_said(alternatives)
    # A key holds alternatives or other keys.
    return {path: each for path, each in chosen.items() if not any(_leads_to(path, other) for other in chosen)}


def _leads_to(path: Path, other: Path) -> bool:
    return len(path) < len(other) and other[: len(path)] == path


def _is_key(key: str) -> bool:
    return bool(key) and "." not in key and not key.startswith("$") and key not in KEYWORDS and len(key) < _LONGEST


def _without_what_is_said(alternatives: Choices) -> Choices:
    return alternatives & _ANYTHING if _THERE in alternatives else alternatives


def _allow_field(clause: Clause) -> tuple[Path, Choices]:
    """Allow what a field of an event may be for *clause* to hold; null is as good as missing there."""
    path, condition = clause.path, clause.condition
    if path in _VERSIONS:
        return path, _allow_version(condition)
    allowed = _allow(condition)
    if path in EVENT_FIELDS and condition.matches_missing:
        allowed |= {_NULL, _NOT_THERE}
    return path, allowed


def _allow_version(condition: Condition) -> Choices:
    """Allow whole numbers, which a version always is, 1 being that of an event that does not say."""
    allowed = _allow_whole(condition)
    return allowed | {_NULL, _NOT_THERE} if compile_test(condition)(1) or condition.matches_missing else allowed


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
        return _SOMETHING
    low, high = max(each for each in lows if each is not None), min(each for each in highs if each is not None)
    return _allow_between(low, high)


def _allow_between(low: int, high: int) -> Choices:
    if low == high:
        return frozenset({json.dumps(low)})
    if not -_LARGEST <= low < high <= _LARGEST:
        return _SOMETHING
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
    return _ANYTHING if allow is None else allow(condition)


def _allow_any(condition: AnyOf) -> Choices:
    return frozenset().union(*map(_allow, condition.parts))


def _allow_all(condition: AllOf) -> Choices:
    return min(map(_allow, condition.parts), key=tightness)


def _allow_items(condition: Items | Inside) -> Choices:
    """Allow items, which SNS takes for values of the list; one that it does not see may stand beside others."""
    if not condition.parts or (isinstance(condition, Inside) and condition.name != "contains"):
        return _ANYTHING
    allowed = frozenset().union(*map(_allow, condition.parts))
    return _ANYTHING if _NOT_THERE in allowed else allowed


def _allow_check(condition: Check) -> Choices:
    return frozenset({_NULL, _BLANK, _NOT_THERE}) if condition.written == "empty()" else _ANYTHING


def _allow_equal(value: object) -> Choices:
    if isinstance(value, Enum):
        return _allow_equal(value.value)
    if isinstance(value, str | UUID) and len(str(value)) <= _LONGEST:
        return frozenset({json.dumps(str(value))})
    if value is None or isinstance(value, bool):
        return frozenset({json.dumps(value)})
    # Numbers and dates may be text, in many forms; of bytes there are none in JSON.
    is_said = isinstance(value, int | float | Decimal | date | bytes)
    return _SOMETHING if is_said else (_ANY_TEXT if isinstance(value, str) else _ANYTHING)


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
    return _SOMETHING if name == "cidr" else _ANY_TEXT


def _allow_start(start: str) -> Choices:
    return frozenset({json.dumps({"prefix": start})}) if 0 < len(start) <= _LONGEST else _ANY_TEXT


def _allow_end(end: str) -> Choices:
    return frozenset({json.dumps({"suffix": end})}) if 0 < len(end) <= _LONGEST else _ANY_TEXT


_BY_TYPE: Final[Mapping[type, Callable[[Any], Choices]]] = {
    Equals: lambda condition: _allow_equal(condition.value),
    AnyOf: _allow_any,
    AllOf: _allow_all,
    Items: _allow_items,
    Inside: _allow_items,
    Comparison: lambda condition: _SOMETHING,
    Regex: lambda condition: _allow_start(literal_start(condition.name, condition.regex)),
    Text: _allow_text,
    Absent: lambda condition: frozenset({_NOT_THERE}),
    Check: _allow_check,
}
"""For conditions of other types SNS says nothing: nested objects, what is denied, users' functions."""
