"""Ranges of numbers and dates that overlap as they like, asked for those that a value lies in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from megaflow.dispatch.buckets import Bucket, Positions, Visit, Visits
from megaflow.dispatch.probes import Interval
from megaflow.match import comparison
from megaflow.match.comparison import Moment, Number


def visit_numbers(buckets: Mapping[Any, Bucket]) -> Visits:
    segments = Segments(buckets)
    points = _list_points(buckets, _whole_numbers_in)
    visit_whole = segments.visit_points() if points is None else _visit_listed(points)
    return {int: visit_whole} | dict.fromkeys((float, Decimal, str), segments.visit(read_likely_number))


def visit_dates(buckets: Mapping[Any, Bucket]) -> Visits:
    days = Segments(buckets, _count_day).visit(_read_day)
    return {str: _date_texts(buckets, days), date: days, datetime: days}


def _date_texts(buckets: Mapping[Any, Bucket], days: Visit) -> Visit:
    """Return a step for text, which as a date alone sorts like the date: it is read only where it lies in a range."""
    points = _list_points(buckets, _days_in)
    visit_text = (
        Segments(buckets, lambda bound: _as_date(bound).isoformat()).visit_points(_is_day)
        if points is None
        else _visit_listed({date.fromordinal(day).isoformat(): covers for day, covers in points.items()})
    )

    def visit(value: Any, payload: Any, found: Positions) -> None:
        if len(value) == _DATE_LENGTH:
            visit_text(value, payload, found)
        elif value[4:5] == "-":
            days(value, payload, found)

    return visit


def visit_datetimes(buckets: Mapping[Any, Bucket]) -> Visits:
    """Return steps that compare datetimes with datetimes, and dates with the dates of the bounds."""
    moments = Segments(buckets).visit(_read_datetime)
    days = Segments(buckets, _count_day).visit(_read_day)

    def visit_text(value: Any, payload: Any, found: Positions) -> None:
        if value[4:5] == "-":
            (moments if len(value) > _DATE_LENGTH else days)(value, payload, found)

    return {str: visit_text, datetime: moments, date: days}


def _list_points(
    buckets: Mapping[Interval, Bucket], list_in: Callable[[Interval], range | None]
) -> dict[int, tuple[Bucket, ...]] | None:
    """Return the whole numbers that lie in each range, with their buckets, where every range has a few of them only."""
    points: dict[int, tuple[Bucket, ...]] = {}
    for interval, bucket in buckets.items():
        listed = list_in(interval)
        if listed is None or listed.stop - listed.start > _FEW_POINTS:
            return None
        for point in listed:
            points[point] = (*points.get(point, ()), bucket)
    return points


_FEW_POINTS: Final = 8


def _whole_numbers_in(interval: Interval) -> range | None:
    low, high = interval.low, interval.high
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return range(low if interval.low_included else low + 1, high + 1 if interval.high_included else high)


def _days_in(interval: Interval) -> range | None:
    low, high = interval.low, interval.high
    if not isinstance(low, date) or not isinstance(high, date):
        return None
    return _whole_numbers_in(interval._replace(low=_count_day(low), high=_count_day(high)))


def _visit_listed(points: Mapping[Any, Sequence[Bucket]]) -> Visit:
    look_up = points.get

    def visit(value: Any, payload: Any, found: Positions) -> None:
        for bucket in look_up(value, ()):
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

    def visit(self, read: Callable[[Any], Any]) -> Visit:
        """Return what takes a value to the ranges it lies in, once *read* has made a point of it."""
        visit_point = self.visit_points()

        def visit(value: Any, payload: Any, found: Positions) -> None:
            point = read(value)
            if point is not None:
                visit_point(point, payload, found)

        return visit

    def visit_points(self, is_point: Callable[[Any], bool] = lambda value: True) -> Visit:
        """Return what takes a point to the ranges it lies in; only there it is asked whether it *is_point*."""
        bounds, covering, size = self._bounds, self._covering, len(self._bounds)

        def visit(value: Any, payload: Any, found: Positions) -> None:
            index = bisect_left(bounds, value)
            covers = covering[2 * index + (index < size and bounds[index] == value)]
            if covers and is_point(value):
                for buckets in covers:
                    for bucket in buckets:
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


def _collect_upwards(nodes: Mapping[int, list[Bucket]], size: int) -> list[tuple[list[Bucket], ...]]:
    """Return for each leaf the buckets of the nodes on its way up, as one tuple for all leaves that share it."""
    shared: dict[tuple[int, ...], tuple[list[Bucket], ...]] = {}
    covering = []
    for leaf in range(size, 2 * size):
        way, node = [], leaf
        while node:
            if node in nodes:
                way.append(node)
            node >>= 1
        key = tuple(way)
        if key not in shared:
            shared[key] = tuple(nodes[each] for each in way)
        covering.append(shared[key])
    return covering


def read_likely_number(value: Any) -> Number | None:
    """Return what `comparison.read_number` does; most text is no number at first sight."""
    if type(value) is str and value[:1] not in _NUMBER_STARTS:
        return None
    return comparison.read_number(value)


_NUMBER_STARTS: Final = frozenset("-0123456789")
_DATE_LENGTH: Final = 10


def _read_datetime(value: Any) -> Moment | None:
    moment = comparison.read_moment(value)
    return moment if isinstance(moment, datetime) else None


def _read_day(value: Any) -> int | None:
    """Return the number of a day: numbers compare faster than dates."""
    moment = comparison.read_moment(value)
    return None if moment is None else moment.toordinal()


def _count_day(bound: Moment) -> int:
    return bound.toordinal()


def _as_date(bound: Moment) -> date:
    return bound.date() if isinstance(bound, datetime) else bound


def _is_day(text: str) -> bool:
    return comparison.read_moment(text) is not None
