"""Simulated time: what happens next, in an order that one seed decides."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count


class Clock:
    """Seconds, and what is to happen at which of them."""

    def __init__(self, randomness: random.Random) -> None:
        self.now = 1_000_000.0
        self._random = randomness
        self._heap: list[tuple[float, float, int, Callable[[], None]]] = []
        self._count = count()

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Let something happen in so many seconds; what happens at the same time does so in any order."""
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), self._random.random(), next(self._count), do))

    def step(self) -> bool:
        """Let the next thing happen; tell whether there was one."""
        if not self._heap:
            return False
        self.now, _, _, do = heapq.heappop(self._heap)
        do()
        return True
