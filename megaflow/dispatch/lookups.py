"""From one value to the buckets whose probes it answers.

A bucket holds the handlers that are filed under one probe. It is a function that goes on with the whole payload and
adds what it finds to a list.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from megaflow.dispatch.probes import How, Interval
from megaflow.match import values
from megaflow.match.values import Moment, Number

Found: TypeAlias = list[int]
"""The positions of the handlers that match, in no order and perhaps several times each."""

Bucket: TypeAlias = Callable[[Any, Found], None]
"""Adds the handlers of a bucket that match a payload."""

Visit: TypeAlias = Callable[[Any, Any, Found], None]
"""Takes a value, and the payload it comes from, to the buckets it belongs to."""

Filed: TypeAlias = Mapping[How, Mapping[Any, Bucket]]
"""The buckets for the values at one path, by what they are looked up by."""


def build_visit(filed: Filed) -> Visit:
    """Return what takes a value to its buckets in *filed*."""
    if filed.keys() == {How.TEXT}:
        return _visit_text(filed[How.TEXT])
    by_type = {type_: steps for type_ in _TYPES if (steps := tuple(_find_steps(filed, type_)))}

    def visit(value: Any, payload: Any, found: Found) -> None:
        steps = by_type.get(type(value))
        if steps is None:
            if type(value) in _TYPES:
                return
            value, steps = _as_plain(value, by_type)
        for step in steps:
            step(value, payload, found)

    return visit


def _visit_text(buckets: Mapping[Any, Bucket]) -> Visit:
    """Return what does the same where all that is asked of values is which text they are."""
    look_up = buckets.get

    def visit(value: Any, payload: Any, found: Found) -> None:
        if type(value) is not str:
            if not isinstance(value, str):
                return
            value = str.__str__(value)
        bucket = look_up(value)
        if bucket is not None:
            bucket(payload, found)

    return visit


_TYPES: Final = frozenset({str, int, float, Decimal, bool, type(None), datetime, date, bytes, UUID, list, tuple, dict})
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
}


def _as_plain(value: Any, by_type: Mapping[type, tuple[Visit, ...]]) -> tuple[Any, tuple[Visit, ...]]:
    """Return a value of a subclass as its base sees it, and the steps for that base."""
    for base, convert in _PLAIN.items():
        if isinstance(value, base):
            return convert(value), by_type.get(base, ())
    return value, ()


def _find_steps(filed: Filed, type_: type) -> Iterator[Visit]:
    """Give what is to be done with values of *type_*, which are compared by one rule of the specification each."""
    for how, make in _STEPS:
        if how in filed and type_ in _ANSWERS[how]:
            yield make(filed[how], type_)


def _equal(key: Callable[[Any], Hashable]) -> Callable[[Mapping[Any, Bucket], type], Visit]:
    """Return what makes a step that looks up the *key* of a value, unless that is None."""

    def make(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
        look_up = buckets.get

        def visit(value: Any, payload: Any, found: Found) -> None:
            bucket = look_up(key(value))
            if bucket is not None:
                bucket(payload, found)

        return visit

    return make


def _numbers(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    return _ranges(Segments(buckets), read_number)


def _dates(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    return _ranges(Segments(buckets), _read_date)


def _datetimes(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    """Return a step that compares datetimes with datetimes, and dates with the dates of the bounds."""
    moments, days = _ranges(Segments(buckets), _read_datetime), _ranges(Segments(buckets, _as_date), _read_date)

    def visit(value: Any, payload: Any, found: Found) -> None:
        is_time = isinstance(value, datetime) or (isinstance(value, str) and len(value) > _DATE_LENGTH)
        (moments if is_time else days)(value, payload, found)

    return visit


def _ranges(segments: Segments, read: Callable[[Any], Any]) -> Visit:
    def visit(value: Any, payload: Any, found: Found) -> None:
        point = read(value)
        if point is not None:
            for bucket in segments.covering(point):
                bucket(payload, found)

    return visit


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

    def covering(self, point: Any) -> Sequence[Bucket]:
        """Return the buckets of the ranges that *point* lies in."""
        bounds = self._bounds
        index = bisect_left(bounds, point)
        on_bound = index < len(bounds) and bounds[index] == point
        return self._covering[2 * index + on_bound]

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


def _starts(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    return _affixes(buckets, lambda value: value)


def _ends(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    return _affixes(buckets, lambda value: value[::-1])


def _affixes(buckets: Mapping[str, Bucket], turn: Callable[[str], str]) -> Visit:
    """Return a step that finds the texts a value starts with, in alphabetical order.

    The last of them that is not behind the value either starts it, or shares what starts it with those before.
    """
    texts = sorted(buckets)
    shorter = _find_shorter(texts)

    def visit(value: Any, payload: Any, found: Found) -> None:
        value = turn(value)
        index = bisect_right(texts, value) - 1
        while index >= 0:
            if value.startswith(texts[index]):
                buckets[texts[index]](payload, found)
            index = shorter[index]

    return visit


def _find_shorter(texts: Sequence[str]) -> list[int]:
    """Return for each of the sorted *texts* the position of the longest other that it starts with, or -1."""
    shorter: list[int] = []
    for index, text in enumerate(texts):
        before = index - 1
        while before >= 0 and not text.startswith(texts[before]):
            before = shorter[before]
        shorter.append(before)
    return shorter


def _items(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    """Return a step that looks every item of a list up by itself."""
    by_how: dict[How, dict[Any, Bucket]] = {}
    for (how, what), bucket in buckets.items():
        by_how.setdefault(how, {})[what] = bucket
    visit_item = build_visit(by_how)

    def visit(value: Any, payload: Any, found: Found) -> None:
        for item in value:
            visit_item(item, payload, found)

    return visit


def _always(buckets: Mapping[Any, Bucket], type_: type) -> Visit:
    """Return a step for all values alike."""
    bucket = buckets[None]
    return lambda value, payload, found: bucket(payload, found)


def read_number(value: Any) -> Number | None:
    """Return what `values.read_number` does; most text is no number at first sight."""
    if type(value) is str and value[:1] not in _NUMBER_STARTS:
        return None
    return values.read_number(value)


_NUMBER_STARTS: Final = frozenset("-0123456789")
_DATE_LENGTH: Final = 10


def _read_moment(value: Any) -> Moment | None:
    if type(value) is str and value[4:5] != "-":
        return None
    return values.read_moment(value)


def _read_datetime(value: Any) -> Moment | None:
    moment = _read_moment(value)
    return moment if isinstance(moment, datetime) else None


def _read_date(value: Any) -> Moment | None:
    moment = _read_moment(value)
    return None if moment is None else _as_date(moment)


def _as_date(moment: Moment) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


_NUMERIC: Final = frozenset({int, float, Decimal, str})
_MOMENTS: Final = frozenset({str, datetime, date})
_LISTS: Final = frozenset({list, tuple})
_TEXT: Final = frozenset({str})
_ANSWERS: Final[Mapping[How, frozenset[type]]] = {
    How.TEXT: _TEXT,
    How.CASEFOLDED: _TEXT,
    How.START: _TEXT,
    How.END: _TEXT,
    How.REGEX: _TEXT,
    How.NUMBER: _NUMERIC,
    How.NUMBERS: _NUMERIC,
    How.CONSTANT: frozenset({bool, type(None)}),
    How.BYTES: frozenset({bytes}),
    How.UUID: frozenset({str, UUID}),
    How.DATES: _MOMENTS,
    How.DATETIMES: _MOMENTS,
    How.ITEM: _LISTS,
    How.LIST: _LISTS,
}
_STEPS: Final[Sequence[tuple[How, Callable[[Mapping[Any, Bucket], type], Visit]]]] = (
    (How.TEXT, _equal(lambda value: value)),
    (How.CASEFOLDED, _equal(str.casefold)),
    (How.NUMBER, _equal(read_number)),
    (How.CONSTANT, _equal(str)),
    (How.BYTES, _equal(lambda value: value)),
    (How.UUID, _equal(str)),
    (How.NUMBERS, _numbers),
    (How.DATES, _dates),
    (How.DATETIMES, _datetimes),
    (How.START, _starts),
    (How.END, _ends),
    (How.ITEM, _items),
    (How.LIST, _always),
)
