"""`MemoryStore`: progress and idempotency keys in this process."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from megaflow.checks import check_function, check_time
from megaflow.forks import renew_in_child
from megaflow.stores.store import KEEP_FOR, Claim, ClosableStore, Ended

_NOTHING: Final[tuple[float, dict[str, Ended]]] = (-math.inf, {})
"""What is known of work that nobody has begun, and when that expired."""


class MemoryStore(ClosableStore):
    """Remembers in this process, for one consumer and for tests. Closing it changes nothing.

    Args:
        keep_for: Seconds for which it remembers how a handler ended; 14 days by default, as long as SQS keeps messages.
        clock: Gives the time, in seconds since the epoch.
    """

    def __init__(self, *, keep_for: float = KEEP_FOR, clock: Callable[[], float] = time.time) -> None:
        check_time("keep_for", keep_for)
        check_function("clock", clock, "() -> seconds", takes=0)
        self._keep_for = keep_for
        self._clock = clock
        self._lock = threading.Lock()
        self._work: dict[str, tuple[float, dict[str, Ended]]] = {}
        self._keys: dict[str, tuple[float, str | None]] = {}
        self._expiries: list[tuple[float, str, bool]] = []
        renew_in_child(self)

    def check(self) -> None:
        """See `Store`: there is nothing to check."""

    def load(self, work: str) -> Mapping[str, Ended]:
        """See `Store.load`."""
        with self._lock:
            expires_at, ended = self._work.get(work, _NOTHING)
            return dict(ended) if expires_at > self._clock() else {}

    def save(self, work: str, handler: str, ended: Ended) -> None:
        """See `Store.save`."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            _, known = self._work.get(work, _NOTHING)
            self._work[work] = (now + self._keep_for, known | {handler: ended})
            heapq.heappush(self._expiries, (now + self._keep_for, work, True))

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        """See `Store.claim`."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            expires_at, holder = self._keys.get(key, (now, owner))
            if expires_at > now and holder != owner:
                return Claim.DONE if holder is None else Claim.BUSY
            self._hold(key, owner, now + seconds)
            return Claim.TAKEN

    def renew(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.renew`."""
        with self._lock:
            if self._is_held_by(key, owner):
                self._hold(key, owner, self._clock() + seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        """See `Store.complete`."""
        with self._lock:
            self._hold(key, None, self._clock() + seconds)

    def release(self, key: str, owner: str) -> None:
        """See `Store.release`."""
        with self._lock:
            if self._is_held_by(key, owner):
                del self._keys[key]

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()

    def _is_held_by(self, key: str, owner: str) -> bool:
        return key in self._keys and self._keys[key][1] == owner

    def _hold(self, key: str, owner: str | None, expires_at: float) -> None:
        self._keys[key] = (expires_at, owner)
        heapq.heappush(self._expiries, (expires_at, key, False))

    def _sweep(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, name, is_work = heapq.heappop(self._expiries)
            remembered: dict[str, Any] = self._work if is_work else self._keys
            # What was written again since then expires later.
            if name in remembered and remembered[name][0] <= now:
                del remembered[name]
