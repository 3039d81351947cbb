"""Gates before a handler: so many calls within a time, so many at once. A message is called where all are open."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from megaflow.handlers.options import Options
from megaflow.handlers.rate import Rate


class Gate(Protocol):
    """What a message has to pass before its handler is called; its time is in seconds."""

    def opens_at(self, now: float) -> float:
        """Return since when it is open, or when it will be; infinity where only something that happens can open it."""
        ...

    def enter(self, now: float) -> None:
        """Let a call begin."""
        ...

    def leave(self) -> None:
        """Take note that a call has ended."""
        ...

    def room_until(self, end: float, now: float, most: int) -> int:
        """Return how many calls can perhaps begin until *end*; *most* where there may be more."""
        ...


class TokenBucket:
    """A gate that lets so many calls begin within a time, whenever that begins.

    The bucket is full at first. Each call takes a token out, which comes back when that time has passed since then: so
    never do more calls begin within it, and no call waits while it would be one too many nowhere.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._taken: deque[float] = deque(maxlen=rate.calls)
        """When each of the latest tokens was taken."""

    def opens_at(self, now: float) -> float:
        """Return when there is a token."""
        return _opens_at(self._taken, self._rate)

    def enter(self, now: float) -> None:
        """Take a token."""
        self._taken.append(now)

    def leave(self) -> None:
        """Do nothing: a token comes back by itself."""

    def room_until(self, end: float, now: float, most: int) -> int:
        """Return how many tokens can be taken until *end*."""
        taken, room = self._taken.copy(), 0
        while room < most and (opens_at := max(now, _opens_at(taken, self._rate))) <= end:
            taken.append(opens_at)
            room += 1
        return room


class MostCalls:
    """A gate that lets so many calls run at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0

    def opens_at(self, now: float) -> float:
        """Return infinity where that many run."""
        return -math.inf if self._running < self._most else math.inf

    def enter(self, now: float) -> None:
        """Count a call."""
        self._running += 1

    def leave(self) -> None:
        """Count a call less."""
        self._running -= 1

    def room_until(self, end: float, now: float, most: int) -> int:
        """Return *most*: nobody knows how long calls take."""
        return most


def make_gates(options: Options) -> Sequence[Gate]:
    """Return the gates that a handler's options ask for."""
    gates: list[Gate] = []
    if options.max_concurrency is not None:
        gates.append(MostCalls(options.max_concurrency))
    if options.rate is not None:
        gates.append(TokenBucket(options.rate))
    return gates


def _opens_at(taken: deque[float], rate: Rate) -> float:
    return taken[0] + rate.seconds if len(taken) == rate.calls else -math.inf
