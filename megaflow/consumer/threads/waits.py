"""Waits of pollers for quick async handlers: whoever has begun them tells what they have come to, and settles it.

Where the event loop told it instead, a settler would have to be woken for each poll.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

SOON: Final = 0.002
"""Seconds: async handlers that take longer are not waited for."""


@dataclass(slots=True, eq=False)
class Waiting:
    """The wait of one poller until something has *ended*; *until* then it is soon there."""

    until: float
    ended: threading.Lock = field(default_factory=threading.Lock)


class Waits:
    """The pollers that wait, or are about to. Each step of it is one of a deque's, so that it needs no lock."""

    def __init__(self) -> None:
        self._waits: deque[Waiting] = deque()

    def announce(self) -> Waiting:
        """Let the calling poller tell what ends next: it is about to begin handlers, and to `wait`."""
        wait = Waiting(time.perf_counter() + 2 * SOON)
        wait.ended.acquire()
        self._waits.append(wait)
        return wait

    def wait(self, wait: Waiting, *, for_something: bool) -> None:
        """Wait a little until something has ended, where it is *for_something* that is under way."""
        if for_something:
            wait.ended.acquire(timeout=SOON)
        with suppress(ValueError):  # it was taken out already: something has ended
            self._waits.remove(wait)

    def end_one(self) -> bool:
        """Let a poller go on that waits, and tell whether one is there: one that a handler holds up comes too late."""
        with suppress(IndexError):
            while wait := self._waits.popleft():
                wait.ended.release()
                if time.perf_counter() < wait.until:
                    return True
        return False
