"""From one value to the buckets whose probes it answers.

A bucket holds the handlers that are filed under one probe. It is a function that goes on with the whole payload and
adds what it finds to a list.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from megaflow.dispatch.probes import How, Interval
from megaflow.match import values
from megaflow.match.re2_sets import RegexSet
from megaflow.match.values import Moment, Number

Found: TypeAlias = list[int]
"""The positions of the handlers that match, in no order and perhaps several times each."""

Bucket: TypeAlias = Callable[[Any, Found], None]
"""Adds the handlers of a bucket that match a payload."""

Visit: TypeAlias = Callable[[Any, Any, Found], None]
"""Takes a value, and the payload it comes from, to the buckets it belongs to."""

Filed: TypeAlias = Mapping[How, Mapping[Any, Bucket]]
"""The buckets for the values at one path, by what they are looked up by."""


Steps: TypeAlias = Mapping[type, Visit]
"""What is to be done with a value, by its type; nothing, where its type is not there."""

StepFor: TypeAlias = Callable[[type], Visit | None]
"""Looks up what is to be done with a value of a type."""


class Place(NamedTuple):
    """What is to be done with the value at one path: the step for the type that is expected there, and for others."""

    expected: type
    step: Visit
    step_for: StepFor


def build_place(filed: Filed, below: Mapping[str, Place]) -> Place:
    """Return what takes a value to its buckets in *filed*, and what is in it to the places *below*."""
    steps: dict[type, list[Visit]] = {dict: [_visit_keys(below)]} if below else {}
    for how, buckets in filed.items():
        for type_, step in _MAKERS[how](buckets).items():
            steps.setdefault(type_, []).append(step)
    by_type = {type_: each[0] if len(each) == 1 else _one_by_one(tuple(each)) for type_, each in steps.items()}
    return Place(*next(iter(by_type.items())), by_type.get)


def _visit_keys(below: Mapping[str, Place]) -> Visit:
    """Return what goes through the keys of an object or through those of *below*, whichever are fewer."""
    visit_wanted, look_up, size = _visit_wanted(below), below.get, len(below)

    def visit(value: Any, payload: Any, found: Found) -> None:
        if size <= len(value):
            visit_wanted(value, payload, found)
            return
        for key, each in value.items():
            place = look_up(key)
            if place is not None:
                expected, step, step_for = place
                if type(each) is expected:
                    step(each, payload, found)
                else:
                    visit_unexpected(step_for, each, payload, found)

    return visit_wanted if size <= _FEW_KEYS else visit


_FEW_KEYS: Final = 3


def _visit_wanted(below: Mapping[str, Place]) -> Visit:
    wanted = [(key, *place) for key, place in below.items()]

    def visit(value: Any, payload: Any, found: Found) -> None:
        for key, expected, step, step_for in wanted:
            if key in value:
                each = value[key]
                if type(each) is expected:
                    step(each, payload, found)
                else:
                    visit_unexpected(step_for, each, payload, found)

    return visit


def visit_unexpected(step_for: StepFor, value: Any, payload: Any, found: Found) -> None:
    """Visit a value of any type, one of a subclass as its base sees it; the specification speaks of no other types."""
    step = step_for(type(value))
    if step is not None:
        step(value, payload, found)
    elif type(value) not in _KNOWN_TYPES:
        for base, convert in _PLAIN.items():
            if isinstance(value, base):
                step = step_for(base)
                if step is not None:
                    step(convert(value), payload, found)
                return


def _one_by_one(steps: Sequence[Visit]) -> Visit:
    def visit(value: Any, payload: Any, found: Found) -> None:
        for step in steps:
            step(value, payload, found)

    return visit


_KNOWN_TYPES: Final = frozenset(
    {str, int, float, Decimal, bool, type(None), datetime, date, bytes, UUID, list, tuple, dict}
)
_PLAIN: Final[Mapping[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int,
    float: float.__float__,
    Decimal: Decimal,
    datetime: lambda value: value,
    date: lambda value: value,
    bytes: bytes,
    UUID: lambda value: value,
    list: lambda value: value,
    tuple: lambda value: value,
    dict: lambda value: value,
}


def _equal(types: Sequence[type], key: Callable[[Any], Hashable]) -> _Maker:
    """Return what makes a step that looks up the *key* of a value, unless that is None."""

    def make(buckets: Mapping[Any, Bucket]) -> Steps:
        look_up = buckets.get

        def visit(value: Any, payload: Any, found: Found) -> None:
            bucket = look_up(key(value))
            if bucket is not None:
                bucket(payload, found)

        return dict.fromkeys(types, visit)

    return make


def _texts(buckets: Mapping[Any, Bucket]) -> Steps:
    look_up = buckets.get

    def visit(value: Any, payload: Any, found: Found) -> None:
        bucket = look_up(value)
        if bucket is not None:
            bucket(payload, found)

    return {str: visit}


def _numbers(buckets: Mapping[Any, Bucket]) -> Steps:
    segments = Segments(buckets)
    return {int: segments.visit_points()} | dict.fromkeys((float, Decimal, str), segments.visit(read_number))


def _dates(buckets: Mapping[Any, Bucket]) -> Steps:
    days = Segments(buckets, _count_day).visit(_read_day)
    return {str: _date_texts(buckets, days), date: days, datetime: days}


def _date_texts(buckets: Mapping[Any, Bucket], days: Visit) -> Visit:
    """Return a step for text, which as a date alone sorts like the date: it is read only where it lies in a range."""
    visit_text = Segments(buckets, lambda bound: _as_date(bound).isoformat()).visit_points(_is_day)

    def visit(value: Any, payload: Any, found: Found) -> None:
        if len(value) == _DATE_LENGTH:
            visit_text(value, payload, found)
        elif value[4:5] == "-":
            days(value, payload, found)

    return visit


def _datetimes(buckets: Mapping[Any, Bucket]) -> Steps:
    """Return steps that compare datetimes with datetimes, and dates with the dates of the bounds."""
    moments = Segments(buckets).visit(_read_datetime)
    days = Segments(buckets, _count_day).visit(_read_day)

    def visit_text(value: Any, payload: Any, found: Found) -> None:
        if value[4:5] == "-":
            (moments if len(value) > _DATE_LENGTH else days)(value, payload, found)

    return {str: visit_text, datetime: moments, date: days}


class Segments:
    """Ranges that overlap as they like, asked for those that a point lies in.

    The bounds cut the line into points and the gaps between them. Each range is kept with the few nodes of a binary
    tree over these that make it up, so that a range costs the logarithm of their number, however many it covers.
    """

    def __init__(self, buckets: Mapping[Interval, Bucket], convert: Callable[[Any], Any] = lambda bound: bound) -> None:
        bounds = {convert(each) for interval in buckets for each in (interval.low, interval.high) if each is not None}
        self._bounds: Final = sorted(bounds)
        size = 2 * len(self._bounds) + 1
        nodes: dict[int, list[Bucket]] = {}
        for interval, bucket in buckets.items():
            first, last = self._span(interval, convert, size)
            for node in _split(first + size, last + size):
                nodes.setdefault(node, []).append(bucket)
        self._covering: Final = _collect_upwards(nodes, size)

    def visit(self, read: Callable[[Any], Any]) -> Visit:
        """Return what takes a value to the ranges it lies in, once *read* has made a point of it."""
        visit_point = self.visit_points()

        def visit(value: Any, payload: Any, found: Found) -> None:
            point = read(value)
            if point is not None:
                visit_point(point, payload, found)

        return visit

    def visit_points(self, is_point: Callable[[Any], bool] = lambda value: True) -> Visit:
        """Return what takes a point to the ranges it lies in; only there it is asked whether it *is_point*."""
        bounds, covering, size = self._bounds, self._covering, len(self._bounds)

        def visit(value: Any, payload: Any, found: Found) -> None:
            index = bisect_left(bounds, value)
            covers = covering[2 * index + (index < size and bounds[index] == value)]
            if covers and is_point(value):
                for bucket in covers:
                    bucket(payload, found)

        return visit

    def _span(self, interval: Interval, convert: Callable[[Any], Any], size: int) -> tuple[int, int]:
        """Return the first segment of *interval*, and the one behind its last."""
        first, last = 0, size
        if interval.low is not None:
            first = 2 * bisect_left(self._bounds, convert(interval.low)) + (1 if interval.low_included else 2)
        if interval.high is not None:
            last = 2 * bisect_left(self._bounds, convert(interval.high)) + (2 if interval.high_included else 1)
        return first, last


def _split(first: int, last: int) -> Iterator[int]:
    """Give the nodes of a binary tree in an array that make up the leaves from *first* on and before *last*."""
    while first < last:
        if first & 1:
            yield first
            first += 1
        if last & 1:
            last -= 1
            yield last
        first, last = first >> 1, last >> 1


def _collect_upwards(nodes: Mapping[int, list[Bucket]], size: int) -> list[tuple[Bucket, ...]]:
    """Return for each leaf what stands on its way up, as one tuple for all leaves that share it."""
    shared: dict[tuple[int, ...], tuple[Bucket, ...]] = {}
    covering = []
    for leaf in range(size, 2 * size):
        way, node = [], leaf
        while node:
            if node in nodes:
                way.append(node)
            node >>= 1
        key = tuple(way)
        if key not in shared:
            shared[key] = tuple(bucket for each in way for bucket in nodes[each])
        covering.append(shared[key])
    return covering


def _starts(buckets: Mapping[Any, Bucket]) -> Steps:
    """Return a step that finds the texts a value starts with, in alphabetical order.

    The last of them that is not behind the value either starts it, or shares what starts it with those before.
    """
    texts = sorted(buckets)
    in_order, shorter = [buckets[text] for text in texts], _find_shorter(texts)

    def visit(value: Any, payload: Any, found: Found) -> None:
        index = bisect_right(texts, value) - 1
        while index >= 0:
            if value.startswith(texts[index]):
                in_order[index](payload, found)
            index = shorter[index]

    return {str: visit}


def _ends(buckets: Mapping[Any, Bucket]) -> Steps:
    visit_start = _starts(buckets)[str]

    def visit(value: Any, payload: Any, found: Found) -> None:
        visit_start(value[::-1], payload, found)

    return {str: visit}


def _find_shorter(texts: Sequence[str]) -> list[int]:
    """Return for each of the sorted *texts* the position of the longest other that it starts with, or -1."""
    shorter: list[int] = []
    for index, text in enumerate(texts):
        before = index - 1
        while before >= 0 and not text.startswith(texts[before]):
            before = shorter[before]
        shorter.append(before)
    return shorter


def _regexes(buckets: Mapping[Any, Bucket]) -> Steps:
    regexes, in_order = RegexSet(list(buckets)), list(buckets.values())

    def visit(value: Any, payload: Any, found: Found) -> None:
        for index in regexes.candidates(value):
            in_order[index](payload, found)

    return {str: visit}


def _items(buckets: Mapping[Any, Bucket]) -> Steps:
    """Return a step that looks every item of a list up by itself."""
    by_how: dict[How, dict[Any, Bucket]] = {}
    for (how, what), bucket in buckets.items():
        by_how.setdefault(how, {})[what] = bucket
    step_for = build_place(by_how, {}).step_for

    def visit(value: Any, payload: Any, found: Found) -> None:
        for item in value:
            visit_unexpected(step_for, item, payload, found)

    return {list: visit, tuple: visit}


def _lists(buckets: Mapping[Any, Bucket]) -> Steps:
    """Return a step for all lists alike."""
    bucket = buckets[None]

    def visit(value: Any, payload: Any, found: Found) -> None:
        bucket(payload, found)

    return {list: visit, tuple: visit}


def read_number(value: Any) -> Number | None:
    """Return what `values.read_number` does; most text is no number at first sight."""
    if type(value) is str and value[:1] not in _NUMBER_STARTS:
        return None
    return values.read_number(value)


_NUMBER_STARTS: Final = frozenset("-0123456789")
_DATE_LENGTH: Final = 10


def _read_datetime(value: Any) -> Moment | None:
    moment = values.read_moment(value)
    return moment if isinstance(moment, datetime) else None


def _read_day(value: Any) -> int | None:
    """Return the number of a day: numbers compare faster than dates."""
    moment = values.read_moment(value)
    return None if moment is None else moment.toordinal()


def _count_day(bound: Moment) -> int:
    return bound.toordinal()


def _as_date(bound: Moment) -> date:
    return bound.date() if isinstance(bound, datetime) else bound


def _is_day(text: str) -> bool:
    return values.read_moment(text) is not None


_Maker: TypeAlias = Callable[[Mapping[Any, Bucket]], Steps]
"""Makes the steps for the types that the specification compares in one way."""

_NUMERIC: Final = (int, float, Decimal, str)
_MAKERS: Final[dict[How, _Maker]] = {
    How.TEXT: _texts,
    How.CASEFOLDED: _equal([str], str.casefold),
    How.NUMBER: _equal(_NUMERIC, read_number),
    How.CONSTANT: _equal([bool, type(None)], str),
    How.BYTES: _equal([bytes], lambda value: value),
    How.UUID: _equal([str, UUID], str),
    How.NUMBERS: _numbers,
    How.DATES: _dates,
    How.DATETIMES: _datetimes,
    How.START: _starts,
    How.END: _ends,
    How.REGEX: _regexes,
    How.ITEM: _items,
    How.LIST: _lists,
}
