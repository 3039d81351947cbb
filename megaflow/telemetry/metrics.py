"""Metrics: the protocol of whoever wants to know what is counted and measured, and the measurements of this process."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Final, Protocol, TypeAlias

from megaflow.forks import renew_in_child
from megaflow.telemetry.instruments import FATES, INSTRUMENTS, RESULTS, Kind

Labels: TypeAlias = Mapping[str, str]

Key: TypeAlias = tuple[str, ...]
"""The name of an instrument, and the values of its labels, in the table's order."""

Series: TypeAlias = dict[Key, list[float]]
"""What is known, by key: one number, or for a histogram how many values each bucket has, and last their sum."""

Told: TypeAlias = tuple[str, ...]
"""The same, as whoever consumes a queue tells it: without the queue, which is the first, and without what is ``""``."""

_BY_LAST_LABEL: Final[Mapping[str, tuple[str, str, str]]] = {
    "kept": ("ended", "kept", "messages that stay in the queue and come again"),
    "given_back": (
        "ended",
        "given-back",
        "messages given back to the queue unhandled, so that others get them at once",
    ),
    "dead_lettered": ("ended", "dead-lettered", "messages sent to the dead-letter queue"),
    "dropped": ("ended", "dropped", "messages that failed and were deleted, without a dead-letter queue"),
    "failed_polls": ("polls", "failed", "polls that failed"),
    "hung_polls": ("polls", "hung", "polls that were given up, as no answer came"),
}
"""Those of `NAMES` that are a part of an instrument: which, by the value of its last label; and what they mean."""

_SNAPSHOT: Final = (
    *("received", "handled", "unmatched", "deleted", "kept", "hidden", "given_back", "dead_lettered"),
    *("not_dead_lettered", "dropped", "extended", "not_extended", "lost_leases", "duplicates", "timed_out"),
    *("not_deleted", "not_hidden", "failed_polls", "failed_store_calls", "hung_polls"),
)

NAMES: Final[Mapping[str, str]] = {
    name: _BY_LAST_LABEL[name][2] if name in _BY_LAST_LABEL else INSTRUMENTS[name].meaning for name in _SNAPSHOT
}
"""All that `Measurements.snapshot` counts, and what of."""


_FROM_THE_START: Final[Mapping[Told, int]] = {
    **{(each.name,): 0 for each in INSTRUMENTS.values() if each.kind is Kind.COUNTER and each.labels == ("queue",)},
    **{("ended", fate): 0 for fate in FATES},
    **{("polls", result): 0 for result in RESULTS},
}


class Metrics(Protocol):
    """Something that wants to know what happens. May be called from any thread, by one of `INSTRUMENTS`' names.

    The labels are those of the instrument; what it raises is logged, and harms nothing.
    """

    def count(self, name: str, amount: int, labels: Labels) -> None:
        """Take note that *name* happened *amount* times more."""
        ...

    def observe(self, name: str, value: float, labels: Labels) -> None:
        """Take note of one value of *name*, a histogram."""
        ...

    def gauge(self, name: str, value: float, labels: Labels) -> None:
        """Take note that *name* is at *value* now."""
        ...


class Measurements:
    """What was counted and measured in this process. May be used from any thread."""

    def __init__(self) -> None:
        self.is_read = False
        """Whether somebody reads all there is, histograms and gauges too, which are not kept for nobody."""

        self._lock = threading.Lock()
        self._series: Series = {}
        self._by_queue: defaultdict[str, dict[Told, list[float]]] = defaultdict(dict)
        """The same lists, by queue, and then as they are told: most are told again and again."""

        self._elsewhere: tuple[Callable[[], Series], ...] = ()
        renew_in_child(self)

    def begin(self, queue: str) -> None:
        """Have the counters of a queue from now on: Prometheus sees no growth where the first that it sees is 1."""
        self.note(queue, _FROM_THE_START, {})

    def note(self, queue: str, counts: Mapping[Told, int], values: Mapping[Told, Sequence[float]]) -> None:
        """Take note of what happened at a queue, so many times, and of the values that were measured."""
        with self._lock:
            known = self._by_queue[queue]
            for told, amount in counts.items():
                try:
                    known[told][0] += amount
                except KeyError:
                    self._find(known, queue, told)[0] += amount
            if values:
                self._note_values(known, queue, values)

    def gauge(self, queue: str, name: str, value: float) -> None:
        """Take note that *name* is at *value* now."""
        with self._lock:
            self._series[name, queue] = [value]

    def clear(self) -> None:
        """Set all counters to 0."""
        with self._lock:
            self._series, self._by_queue = {}, defaultdict(dict)

    def snapshot(self) -> Mapping[str, int]:
        """Return how often what happened in this process, by name, for all queues together."""
        series = self.read_own()
        return {name: _total(series, *_BY_LAST_LABEL.get(name, (name, ""))[:2]) for name in NAMES}

    def read_own(self) -> Series:
        """Return all that is known of this process."""
        with self._lock:
            return {key: list(value) for key, value in self._series.items()}

    def read(self) -> Series:
        """Return all that is known, of the processes that this one has started as well."""
        return merge([self.read_own(), *(read() for read in self._elsewhere)])

    @contextmanager
    def including(self, read: Callable[[], Series]) -> Iterator[None]:
        """Let `read` return what *read* does, too, within a ``with``."""
        self._elsewhere = (*self._elsewhere, read)
        try:
            yield
        finally:
            self._elsewhere = tuple(each for each in self._elsewhere if each is not read)

    def _note_values(self, known: dict[Told, list[float]], queue: str, values: Mapping[Told, Sequence[float]]) -> None:
        for told, measured in values.items():
            buckets, bounds = known.get(told) or self._find(known, queue, told), INSTRUMENTS[told[0]].buckets
            for value in measured:
                buckets[bisect_left(bounds, value)] += 1
            buckets[-1] += sum(measured)

    def _find(self, known: dict[Told, list[float]], queue: str, told: Told) -> list[float]:
        instrument = INSTRUMENTS[told[0]]
        key = (told[0], *name_labels(queue, told).values())
        empty: list[float] = [0] * (len(instrument.buckets) + 2 if instrument.kind is Kind.HISTOGRAM else 1)
        known[told] = found = self._series.setdefault(key, empty)
        return found

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()


def merge(several: Sequence[Series]) -> Series:
    """Return *several* as if all had happened in one process."""
    merged: Series = {}
    for series in several:
        for key, value in series.items():
            known = merged.get(key)
            if known is None:
                merged[key] = list(value)
            elif INSTRUMENTS[key[0]].takes_lowest:
                merged[key] = [min(known[0], value[0])]
            else:
                merged[key] = [one + other for one, other in zip(known, value, strict=True)]
    return merged


def without_gauges(series: Series) -> Series:
    """Return what stays of a process that has ended."""
    return {key: value for key, value in series.items() if INSTRUMENTS[key[0]].kind is not Kind.GAUGE}


def name_labels(queue: str, told: Told) -> dict[str, str]:
    """Return the labels of what was told about a queue."""
    labels = INSTRUMENTS[told[0]].labels
    return dict(zip_longest(labels, (queue, *told[1:]), fillvalue=""))


def _total(series: Series, name: str, last_label: str) -> int:
    counted = (value[0] for key, value in series.items() if key[0] == name and last_label in ("", key[-1]))
    return int(sum(counted))
