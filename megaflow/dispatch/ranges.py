"""Ranges of numbers and dates that overlap as they like, asked for those that a value lies in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from megaflow.dispatch.buckets import Bucket, join
from megaflow.dispatch.cuts import Cut, float_from, whole_from
from megaflow.dispatch.probes import Interval
from megaflow.match import comparison
from megaflow.match.comparison import Moment, Number


class Segments:
    """The buckets of ranges, by the place among ``cuts`` at which a value lies.

    Each range begins at a cut and ends at one. It is kept with the few nodes of a binary tree over the segments between
    all cuts that make it up, so that a range costs the logarithm of their number, however many it covers.
    """

    def __init__(self, buckets: Mapping[Interval, Bucket], cut: Callable[[Any, bool], Any]) -> None:
        spans = [(_start(interval, cut), _end(interval, cut), bucket) for interval, bucket in buckets.items()]
        self.cuts: Final = sorted({each for start, end, _ in spans for each in (start, end) if each is not None})
        """Where ranges begin and end, in order."""

        place = {each: index for index, each in enumerate(self.cuts, 1)}
        size = len(self.cuts) + 1
        nodes: dict[int, list[Bucket]] = {}
        for start, end, bucket in spans:
            first, last = 0 if start is None else place[start], size if end is None else place[end]
            for node in _split(first + size, last + size):
                nodes.setdefault(node, []).append(bucket)
        self.covers: Final = _collect_upwards({node: join(each) for node, each in nodes.items()}, size)
        """The buckets for a value beyond so many cuts."""


def cut_number(bound: Number, after: bool) -> Cut:
    """Return the place before or *after* a number."""
    return Cut(bound, after)


def cut_moment(bound: Moment, after: bool) -> tuple[Moment, bool]:
    """Return the place before or *after* a moment."""
    return bound, after


def cut_day(bound: Moment, after: bool) -> int:
    """Return the number of the first day that is beyond the day of *bound*, or is that day."""
    return bound.toordinal() + after


def cuts_of_wholes(cuts: Sequence[Cut]) -> list[float] | None:
    """Return *cuts* as whole numbers are compared with them; None where that is not worth it."""
    return _all_of([whole_from(cut) for cut in cuts])


def cuts_of_floats(cuts: Sequence[Cut]) -> list[float] | None:
    """Return *cuts* as floats are compared with them; None where no float is beyond the last."""
    return _all_of([float_from(cut) for cut in cuts])


def list_points(cuts: Sequence[Any], covers: Sequence[tuple[Bucket, ...]]) -> dict[int, tuple[Bucket, ...]] | None:
    """Return the buckets for each whole number between *cuts*; None where there are many."""
    between = [each for each in zip(cuts, cuts[1:], covers[1:], strict=False) if each[2]]
    is_endless = covers[0] or covers[-1] or math.inf in cuts or -math.inf in cuts
    if is_endless or sum(last - first for first, last, _ in between) > _FEW_POINTS * len(between):
        return None
    return {point: cover for first, last, cover in between for point in range(first, last)}


_FEW_POINTS: Final = 8


def _all_of(cuts: Sequence[float | None]) -> list[float] | None:
    there = [cut for cut in cuts if cut is not None]
    return there if len(there) == len(cuts) else None


def _start(interval: Interval, cut: Callable[[Any, bool], Any]) -> Any:
    return None if interval.low is None else cut(interval.low, not interval.low_included)


def _end(interval: Interval, cut: Callable[[Any, bool], Any]) -> Any:
    return None if interval.high is None else cut(interval.high, interval.high_included)


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


def _collect_upwards(nodes: Mapping[int, Bucket], size: int) -> list[tuple[Bucket, ...]]:
    """Return for each leaf the buckets of the nodes on its way up, as one tuple for all leaves that share it."""
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
            shared[key] = tuple(nodes[each] for each in way)
        covering.append(shared[key])
    return covering


def read_likely_number(value: Any) -> Number | None:
    """Return what `comparison.read_number` does; most text is no number at first sight."""
    if type(value) is str and value[:1] not in _NUMBER_STARTS:
        return None
    return comparison.read_number(value)


_NUMBER_STARTS: Final = frozenset("-0123456789")


def read_datetime(value: Any) -> datetime | None:
    """Return the datetime in UTC that *value* is, or says; None where it is none."""
    moment = comparison.read_moment(value)
    return moment if isinstance(moment, datetime) else None


def read_day(value: Any) -> int | None:
    """Return the number of the day that *value* is, or says: numbers compare faster than dates."""
    moment = comparison.read_moment(value)
    return None if moment is None else moment.toordinal()


def is_day(text: str) -> bool:
    """Tell whether *text* is a date of the calendar."""
    return comparison.read_moment(text) is not None
