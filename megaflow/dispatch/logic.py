"""Logic of conditions: some can never hold together, and some imply another, whatever the payload.

Both are answered with certainty or not at all: what cannot be told counts as possible, and as not implied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from megaflow.dispatch.fields import Path
from megaflow.dispatch.normal import OBJECT, Clause, required_conditions
from megaflow.dispatch.probes import How, Interval, Probe, find_covers
from megaflow.match import comparison
from megaflow.match.conditions import AllOf, AnyOf, Condition, Not, Present, compile_test
from megaflow.match.containers import Fields, Inside, Items
from megaflow.match.leaves import Absent, Check, Comparison, Equals, Regex, Text
from megaflow.match.regexes import literal_start

Conditions = Mapping[Path, Sequence[Condition]]
"""The conditions that hold together, by the path of the value."""


def collect_conditions(clauses: Iterable[Clause]) -> dict[Path, list[Condition]]:
    """Return what *clauses* say of each path; that a path leads on says that it holds an object."""
    conditions: dict[Path, list[Condition]] = {}
    for clause in clauses:
        conditions.setdefault(clause.path, []).append(clause.condition)
    for clause in clauses:
        if not clause.condition.matches_missing:
            for size in range(len(clause.path)):
                above = conditions.setdefault(clause.path[:size], [])
                if OBJECT not in above:
                    above.append(OBJECT)
    return conditions


def find_contradiction(conditions: Conditions) -> str:
    """Return the conditions that never hold together, with their path; ``""`` where there seem to be none."""
    for path, several in conditions.items():
        if not _are_possible(several):
            said = " and ".join(dict.fromkeys(repr(each) for each in several if each is not OBJECT or len(several) < 2))
            return f"{'.'.join(path)}: {said}" if path else said
    return ""


def implies(conditions: Conditions, path: Path, condition: Condition) -> bool:
    """Tell whether *condition* holds at *path* wherever all of *conditions* do."""
    if isinstance(condition, AllOf | Fields):
        flat = [(below, part) for below, part in required_conditions(condition, path) if part is not condition]
        if flat and not _is_range(condition):
            return all(implies(conditions, below, part) for below, part in flat)
    here = conditions.get(path, ())
    if any(each.key == condition.key for each in here):
        return True
    present = any(not each.matches_missing for each in here)
    if isinstance(condition, Present):
        return present
    if isinstance(condition, AnyOf) and any(implies(conditions, path, part) for part in condition.parts):
        return True
    if isinstance(condition, Not):
        return present and not _are_possible([*here, condition.part])
    return any(_implies_alone(each, condition) for each in here)


def _implies_alone(one: Condition, other: Condition) -> bool:
    """Tell whether *other* holds for every value for which *one* does."""
    allowed = _list_values(one)
    if allowed is not None:
        test = compile_test(other)
        return not other.asks_functions and all(test(value) for value in allowed)
    if isinstance(one, AnyOf):
        return all(implies({(): [part]}, (), other) for part in one.parts)
    if isinstance(other, Text) and other.name in ("prefix", "suffix"):
        wanted = other.text if other.name == "prefix" else other.text[::-1]
        return _forms(one) <= _TEXT and _affix(one, other.name).startswith(wanted)
    outer, inner = _range(other), _range(one)
    return outer is not None and inner is not None and outer.how == inner.how and _lies_in(inner.what, outer.what)


def _are_possible(conditions: Sequence[Condition]) -> bool:
    """Tell whether some value, or its absence, may fulfil all *conditions*."""
    conditions = [part for each in conditions for part in _split(each)]
    forms = [_forms(each) for each in conditions]
    if not frozenset.intersection(*forms) or not all(map(_is_possible_inside, conditions)):
        return False
    denied = {each.part.key for each in conditions if isinstance(each, Not)}
    if denied & ({each.key for each in conditions} | {_PRESENT.key}):
        return False
    return (
        _have_a_value(conditions)
        and _ranges_meet(conditions)
        and _affixes_meet(conditions, "prefix")
        and _affixes_meet(conditions, "suffix")
        and _have_an_alternative(conditions)
    )


def _split(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _split(part)
    else:
        yield condition


def _is_possible_inside(condition: Condition) -> bool:
    if any(cover.exact and not cover.probes for cover in find_covers(condition, ())):
        return False  # nothing equals NaN
    if isinstance(condition, Inside) and condition.name != "all_items":
        return _has_paths(condition.part) or _are_possible([part for _, part in required_conditions(condition.part)])
    if isinstance(condition, Fields) and condition.keys:
        return not find_contradiction(collect_conditions([Clause(*each) for each in required_conditions(condition)]))
    return True


def _has_paths(condition: Condition) -> bool:
    return any(path for path, _ in required_conditions(condition))


def _have_a_value(conditions: Sequence[Condition]) -> bool:
    """Tell whether one of the few values that a condition allows is allowed by the others, where it allows a few."""
    for each in conditions:
        allowed = _list_values(each)
        if allowed is not None:
            tests = [compile_test(other) for other in conditions if not other.asks_functions]
            return any(all(test(value) for test in tests) for value in allowed)
    return True


def _have_an_alternative(conditions: Sequence[Condition]) -> bool:
    """Tell whether every choice leaves something to choose beside what is no choice."""
    others = [each for each in conditions if not isinstance(each, AnyOf)]
    choices = [each for each in conditions if isinstance(each, AnyOf)]
    return all(any(_are_possible([*others, part]) for part in choice.parts) for choice in choices)


def _ranges_meet(conditions: Sequence[Condition]) -> bool:
    by_how: dict[How, list[Interval]] = {}
    for each in conditions:
        found = _range(each)
        if found is not None:
            by_how.setdefault(found.how, []).append(found.what)
    return not any(_is_empty(one, other) for ranges in by_how.values() for one in ranges for other in ranges)


def _affixes_meet(conditions: Sequence[Condition], name: str) -> bool:
    affixes = [affix for each in conditions if (affix := _affix(each, name))]
    longest = max(affixes, key=len, default="")
    return all(longest.startswith(each) for each in affixes)


def _list_values(condition: Condition) -> list[Any] | None:
    """Return the only values that fulfil *condition*, where they are few; numbers and dates have many texts each."""
    if isinstance(condition, AnyOf):
        parts = [_list_values(part) for part in condition.parts]
        return None if None in parts else [value for part in parts for value in part or ()]
    if isinstance(condition, Equals) and (condition.value is None or isinstance(condition.value, bool | str)):
        return [condition.value]
    return None


def _range(condition: Condition) -> Probe | None:
    """Return the range of numbers or moments that *condition* stands for."""
    covers = list(find_covers(condition, ())) if isinstance(condition, Equals | Comparison | AllOf) else []
    if len(covers) != 1 or not covers[0].exact or len(covers[0].probes) != 1:
        return None
    probe = covers[0].probes[0]
    if probe.how is How.NUMBER:
        return Probe((), How.NUMBERS, Interval(probe.what, True, probe.what, True))
    # Datetimes are compared with dates by the day, and so have no one scale.
    return probe if probe.how in (How.NUMBERS, How.DATES) else None


def _is_range(condition: Condition) -> bool:
    return _range(condition) is not None


def _is_empty(one: Interval, other: Interval) -> bool:
    """Tell whether nothing lies above the low bound of *one* and below the high bound of *other*."""
    low, high = one.low, other.high
    if low is None or high is None:
        return False
    return low > high or (low == high and not (one.low_included and other.high_included))  # type: ignore[operator]


def _lies_in(inner: Interval, outer: Interval) -> bool:
    return _is_below(outer.low, outer.low_included, inner.low, inner.low_included) and _is_below(
        _Turned.of(outer.high), outer.high_included, _Turned.of(inner.high), inner.high_included
    )


def _is_below(outer: Any, outer_included: bool, inner: Any, inner_included: bool) -> bool:
    if outer is None:
        return True
    if inner is None:
        return False
    return bool(outer < inner or (outer == inner and (outer_included or not inner_included)))


class _Turned:
    """A bound on a scale that is turned upside down."""

    def __init__(self, bound: Any) -> None:
        self.bound = bound

    @classmethod
    def of(cls, bound: Any) -> _Turned | None:
        return None if bound is None else cls(bound)

    def __lt__(self, other: _Turned) -> bool:
        return bool(self.bound > other.bound)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turned) and self.bound == other.bound

    __hash__ = None  # type: ignore[assignment]


def _affix(condition: Condition, name: str) -> str:
    """Return what every text that fulfils *condition* starts with or, turned around, ends with; ``""`` for any."""
    if isinstance(condition, Equals) and isinstance(condition.value, str):
        return condition.value if name == "prefix" else condition.value[::-1]
    if isinstance(condition, Regex):
        return literal_start(condition.name, condition.regex) if name == "prefix" else ""
    if isinstance(condition, Text) and condition.name == name:
        return condition.text if name == "prefix" else condition.text[::-1]
    if isinstance(condition, Text) and condition.name == "wildcard":
        return condition.text.partition("*")[0] if name == "prefix" else condition.text.rpartition("*")[2][::-1]
    return ""


_PRESENT: Final = Present("any_()")
_TEXT: Final = frozenset({"text", "number as text", "moment as text"})
_SCALARS: Final = _TEXT | {"null", "bool", "number", "moment", "uuid", "bytes", "other"}
_THERE: Final = _SCALARS | {"list", "object"}
_ANY_FORM: Final = _THERE | {"missing"}


def _forms(condition: Condition) -> frozenset[str]:
    """Return which forms of values can fulfil *condition*."""
    if isinstance(condition, Equals):
        return _forms_of(condition.value)
    if isinstance(condition, Comparison):
        form = "number" if condition.is_number else "moment"
        return frozenset({form, f"{form} as text"})
    if isinstance(condition, AnyOf):
        return frozenset().union(*map(_forms, condition.parts))
    if isinstance(condition, AllOf):
        return frozenset.intersection(*map(_forms, condition.parts))
    if isinstance(condition, Check) and condition.written == "empty()":
        return frozenset({"null", "text", "list", "object"})
    return _FORMS.get(type(condition), lambda condition: _ANY_FORM)(condition)


def _forms_of(value: object) -> frozenset[str]:
    if isinstance(value, str):
        as_what = "number" if comparison.read_number(value) is not None else "moment"
        is_plain = as_what == "moment" and comparison.read_moment(value) is None
        return frozenset({"text" if is_plain else f"{as_what} as text"})
    for types, forms in _FORMS_OF:
        if isinstance(value, types):
            return frozenset(forms)
    return _THERE


_FORMS_OF: Final[Sequence[tuple[type | tuple[type, ...], Collection[str]]]] = (
    (type(None), ["null"]),
    (bool, ["bool"]),
    ((int, float, Decimal), ["number", "number as text"]),
    (date, ["moment", "moment as text"]),
    (bytes, ["bytes"]),
    (dict, ["object"]),
    ((list, tuple), ["list"]),
)
_FORMS: Final[Mapping[type, Callable[[Any], frozenset[str]]]] = {
    Absent: lambda condition: frozenset({"missing"}),
    Present: lambda condition: _THERE,
    Not: lambda condition: _THERE,
    Regex: lambda condition: _TEXT,
    Text: lambda condition: _TEXT,
    Fields: lambda condition: frozenset({"object"}),
    Items: lambda condition: _SCALARS | {"list"},
    Inside: lambda condition: _TEXT | {"list", "object"} if condition.name == "length" else frozenset({"list"}),
}


def representatives(conditions: Sequence[Condition]) -> Iterator[Any]:
    """Give values that fulfil one of *conditions* each, as far as they can be named."""
    for each in conditions:
        with suppress(ArithmeticError):  # between bounds that are endless, or nearly so
            yield from _represent(each)


def _represent(condition: Condition) -> Iterator[Any]:
    if isinstance(condition, AnyOf | Items) and condition.parts:
        yield from _represent(condition.parts[0])
    elif isinstance(condition, Inside) and condition.name == "contains":
        yield from ([value] for value in _represent(condition.part))
    elif isinstance(condition, Equals):
        yield condition.value
    elif _affix(condition, "prefix"):
        yield _affix(condition, "prefix")
    elif _affix(condition, "suffix"):
        yield _affix(condition, "suffix")[::-1]
    elif isinstance(condition, Text):
        yield condition.text
    else:
        found = _range(condition)
        if found is not None:
            yield from _point_in(found.what)


def _point_in(interval: Interval) -> Iterator[Any]:
    low, included, high, high_included = interval
    if low is not None and included:
        yield low
    elif high is not None and high_included:
        yield high
    elif isinstance(low, int | Decimal) and isinstance(high, int | Decimal):
        yield (Decimal(low) + Decimal(high)) / 2
    elif isinstance(low, int | Decimal):
        yield low + 1
    elif isinstance(high, int | Decimal):
        yield high - 1
    elif isinstance(low, date):
        with suppress(OverflowError):
            yield low + timedelta(1)
    elif isinstance(high, date):
        with suppress(OverflowError):
            yield high - timedelta(1)
