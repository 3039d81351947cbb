"""Probes: what the index looks up for a condition; every value that fulfils it answers to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Any, Final, NamedTuple
from uuid import UUID

from megaflow.dispatch.fields import Path
from megaflow.dispatch.normal import scale_of
from megaflow.match.comparison import Moment, Number, read_moment, read_number
from megaflow.match.conditions import AllOf, AnyOf, Condition
from megaflow.match.containers import Fields, Inside, Items
from megaflow.match.json_filter import JsonFilter
from megaflow.match.leaves import Comparison, Equals, Regex, Text
from megaflow.match.regexes import literal_start

MOST_PROBES: Final = 1_000
"""A condition with more alternatives than these is not looked up, but asked."""


class How(StrEnum):
    """In which way a value answers to a probe."""

    TEXT = auto()
    NUMBER = auto()
    CONSTANT = auto()
    BYTES = auto()
    UUID = auto()
    CASEFOLDED = auto()
    NUMBERS = auto()
    DATES = auto()
    DATETIMES = auto()
    START = auto()
    END = auto()
    ITEM = auto()
    LIST = auto()
    REGEX = auto()


EQUALITIES: Final = frozenset(
    {How.TEXT, How.NUMBER, How.CONSTANT, How.BYTES, How.UUID, How.CASEFOLDED, How.ITEM, How.LIST}
)
RANGES: Final = frozenset({How.NUMBERS, How.DATES, How.DATETIMES})


class Interval(NamedTuple):
    """Numbers or moments between two bounds, None where there is none on that side."""

    low: Number | Moment | None
    low_included: bool
    high: Number | Moment | None
    high_included: bool


class Probe(NamedTuple):
    """What the value at *path* is looked up by."""

    path: Path
    how: How
    what: Any


class Cover(NamedTuple):
    """Probes of which one is answered wherever a condition holds.

    *exact* says that the condition holds wherever one of them is answered, too, so that it need not be asked again.
    """

    probes: tuple[Probe, ...]
    exact: bool


def find_covers(condition: Condition, path: Path) -> Iterator[Cover]:
    """Give the ways in which *condition* can be looked up, the better ones first; none where it can be in no way."""
    if condition.asks_functions or condition.matches_missing:
        return
    covers = _BY_TYPE.get(type(condition))
    if covers is not None:
        yield from (each for each in covers(condition, path) if len(each.probes) <= MOST_PROBES)


def _cover_equality(condition: Equals, path: Path) -> Iterator[Cover]:
    probe = _probe_value(condition.value, path)
    if probe is not None:
        yield Cover(probe, True)


def _probe_value(value: object, path: Path) -> tuple[Probe, ...] | None:
    """Return the probes for what equals *value*: none where nothing does, and None for what is no scalar."""
    if isinstance(value, Enum):
        return _probe_value(value.value, path)
    if isinstance(value, str):
        return (Probe(path, How.TEXT, str.__str__(value)),)
    if value is None or isinstance(value, bool):
        return (Probe(path, How.CONSTANT, str(value)),)
    if isinstance(value, int | float | Decimal):
        number = read_number(value)
        return () if number is None else (Probe(path, How.NUMBER, number),)
    if isinstance(value, date):
        moment = read_moment(value)
        return () if moment is None else (_probe_moments(path, Interval(moment, True, moment, True)),)
    if isinstance(value, UUID):
        return (Probe(path, How.UUID, str(value)),)
    return (Probe(path, How.BYTES, value),) if isinstance(value, bytes) else None


def _probe_moments(path: Path, interval: Interval) -> Probe:
    bound = interval.high if interval.low is None else interval.low
    return Probe(path, How.DATETIMES if isinstance(bound, datetime) else How.DATES, interval)


def _cover_comparison(condition: Comparison, path: Path) -> Iterator[Cover]:
    yield _cover_range((condition,), path)


def _cover_range(bounds: Sequence[Comparison], path: Path) -> Cover:
    """Cover *bounds*, all numbers, all dates or all datetimes."""
    lows = [(_read_bound(each), each.name == "gte") for each in bounds if each.name in ("gt", "gte")]
    highs = [(_read_bound(each), each.name == "lte") for each in bounds if each.name in ("lt", "lte")]
    if any(bound is None for bound, _ in (*lows, *highs)):
        return Cover((), True)
    low, low_included = max(lows, key=lambda each: (each[0], not each[1]), default=(None, False))
    high, high_included = min(highs, key=lambda each: (each[0], each[1]), default=(None, False))
    interval = Interval(low, low_included, high, high_included)
    if bounds[0].is_number:
        return Cover((Probe(path, How.NUMBERS, interval),), True)
    # A date is compared by its day alone, so that of two bounds on one side neither implies the other for it.
    probe = _probe_moments(path, interval)
    return Cover((probe,), probe.how is How.DATES or max(len(lows), len(highs)) == 1)


def _read_bound(comparison: Comparison) -> Number | Moment | None:
    return read_number(comparison.bound) if comparison.is_number else comparison.moment


def _cover_all(condition: AllOf, path: Path) -> Iterator[Cover]:
    """Cover one of the parts, or all of them where they are the bounds of one range."""
    bounds = [part for part in condition.parts if isinstance(part, Comparison)]
    if len(bounds) == len(condition.parts) and len(set(map(scale_of, bounds))) == 1:
        yield _cover_range(bounds, path)
        return
    for part in condition.parts:
        yield from (each._replace(exact=False) for each in find_covers(part, path))


def _cover_fields(condition: Fields, path: Path) -> Iterator[Cover]:
    for key, part in zip(condition.keys, condition.parts, strict=True):
        exact = len(condition.keys) == 1
        yield from (each._replace(exact=each.exact and exact) for each in find_covers(part, (*path, key)))


def _cover_any(condition: AnyOf, path: Path) -> Iterator[Cover]:
    """Cover every part: each of them may be the one that holds."""
    best = [next(find_covers(part, path), None) for part in condition.parts]
    covers = [each for each in best if each is not None]
    if len(covers) == len(best):
        yield _join(covers)


def _join(covers: Sequence[Cover]) -> Cover:
    probes = dict.fromkeys(probe for each in covers for probe in each.probes)
    return Cover(tuple(probes), all(each.exact for each in covers))


def _cover_items(condition: Items, path: Path) -> Iterator[Cover]:
    """Cover scalars by any of the parts, and lists by the one that every list has to hold an item for."""
    equal = [_probe_scalar(part, path) for part in condition.parts]
    scalars = [probes for probes in equal if probes is not None]
    if len(scalars) < len(equal):
        return
    probes = [probe for each in scalars for probe in each]
    if not scalars:
        yield Cover((Probe(path, How.LIST, None),), True)
        return
    yield Cover((*dict.fromkeys(probes), *_as_items(scalars[0])), len(scalars) == 1)


def _probe_scalar(condition: Condition, path: Path) -> tuple[Probe, ...] | None:
    probes = _probe_value(condition.value, path) if isinstance(condition, Equals) else None
    return probes if all(probe.how not in RANGES for probe in probes or ()) else None


def _as_items(probes: Sequence[Probe]) -> Iterator[Probe]:
    return (Probe(path, How.ITEM, (how, what)) for path, how, what in probes)


def _cover_inside(condition: Inside, path: Path) -> Iterator[Cover]:
    if condition.name == "contains":
        alternatives = condition.part.parts if isinstance(condition.part, AnyOf) else (condition.part,)
        scalars = [_probe_scalar(part, path) for part in alternatives]
        if None not in scalars:
            yield Cover(tuple(_as_items([probe for each in scalars for probe in each or ()])), True)


def _cover_text(condition: Text, path: Path) -> Iterator[Cover]:
    text = condition.text
    if condition.name == "prefix" and text:
        yield Cover((Probe(path, How.START, text),), True)
    elif condition.name == "suffix" and text:
        yield Cover((Probe(path, How.END, text[::-1]),), True)
    elif condition.name == "iequals":
        yield Cover((Probe(path, How.CASEFOLDED, text.casefold()),), True)
    elif condition.name == "wildcard":
        yield from _cover_wildcard(text, path)


def _cover_wildcard(text: str, path: Path) -> Iterator[Cover]:
    start, star, rest = text.partition("*")
    end = rest.rpartition("*")[2]
    if not star:
        yield Cover((Probe(path, How.TEXT, text),), True)
        return
    probes = [Probe(path, How.START, start)] if start else []
    probes += [Probe(path, How.END, end[::-1])] if end else []
    yield from (Cover((each,), False) for each in sorted(probes, key=lambda probe: -len(str(probe.what))))


def _cover_regex(condition: Regex, path: Path) -> Iterator[Cover]:
    start = literal_start(condition.name, condition.regex)
    if start:
        yield Cover((Probe(path, How.START, start),), False)
        return
    from megaflow.match.re2_sets import can_hold

    if can_hold(condition.name, condition.regex):
        yield Cover((Probe(path, How.REGEX, (condition.name, condition.regex)),), False)


def _cover_json_filter(condition: JsonFilter, path: Path) -> Iterator[Cover]:
    """Cover what has to stand at one path, or a list there or above, since AWS looks into lists."""
    for below, allowed in condition.required.items():
        place = (*path, *below)
        lists = [Probe(place[:size], How.LIST, None) for size in range(len(path), len(place) + 1)]
        scalars = [probe for value in sorted(allowed, key=repr) for probe in _probe_value(value, place) or ()]
        yield Cover((*scalars, *lists), False)


_BY_TYPE: Final[Mapping[type, Callable[[Any, Path], Iterator[Cover]]]] = {
    Equals: _cover_equality,
    Comparison: _cover_comparison,
    AllOf: _cover_all,
    AnyOf: _cover_any,
    Fields: _cover_fields,
    Items: _cover_items,
    Inside: _cover_inside,
    Text: _cover_text,
    Regex: _cover_regex,
    JsonFilter: _cover_json_filter,
}
