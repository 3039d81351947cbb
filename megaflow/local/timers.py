"""Timers: numbers that have a time each, given out when that time has come."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush


class Timers:
    """A heap of times, one for each number, that can be changed and cancelled.

    What was changed or cancelled stays in the heap until it comes up or until half of the heap is such waste; so
    every operation costs O(log n) on average, and a timer of twelve hours does not outlive its message.
    """

    __slots__ = ("_heap", "_times")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._times: dict[int, float] = {}

    def __len__(self) -> int:
        """Count the numbers that have a time."""
        return len(self._times)

    def __contains__(self, number: int) -> bool:
        """Tell whether *number* has a time."""
        return number in self._times

    def time(self, number: int) -> float | None:
        """Return the time of *number*, or None where it has none."""
        return self._times.get(number)

    def set(self, number: int, time: float) -> None:
        """Give *number* this *time*, in place of any it had."""
        self._times[number] = time
        heappush(self._heap, (time, number))
        self._drop_waste()

    def cancel(self, number: int) -> None:
        """Take the time of *number* away, if it has one."""
        if self._times.pop(number, None) is not None:
            self._drop_waste()

    def next(self) -> float | None:
        """Return the earliest time, or None where nothing has a time."""
        heap = self._heap
        while heap and self._times.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[int]:
        """Give out, earliest first, each number whose time is *now* or before; it then has none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            time, number = heappop(heap)
            if self._times.get(number) == time:
                del self._times[number]
                yield number

    def clear(self) -> None:
        """Take all times away."""
        self._heap.clear()
        self._times.clear()

    def _drop_waste(self) -> None:
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap[:] = [(time, number) for number, time in self._times.items()]
            heapify(self._heap)
