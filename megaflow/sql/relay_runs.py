"""The runs of relays in this process, which whoever has their outbox can end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from megaflow.consumer.core.health import NOT_RUNNING, Health
from megaflow.forks import renew_in_child
from megaflow.sql.relay_asyncio import LoopRelay
from megaflow.sql.relay_threads import ThreadRelay


class RelayRuns:
    """The relays of an outbox in this process, and whether the next one is to end at once."""

    def __init__(self) -> None:
        self._running: list[ThreadRelay | LoopRelay] = []
        self._stop_wanted = False
        # Reentrant: a signal handler of the user's may call stop() in the middle of anything.
        self._lock = threading.RLock()
        renew_in_child(self)

    @contextmanager
    def running(self, relay: ThreadRelay | LoopRelay) -> Iterator[None]:
        """Have *relay* run within a ``with``."""
        with self._lock:
            self._running.append(relay)
            if self._stop_wanted:
                relay.stop()
                self._stop_wanted = False
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(relay)

    def stop(self, *, now: bool) -> None:
        """End them all, or the next one."""
        with self._lock:
            self._stop_wanted = not self._running
            for relay in self._running:
                relay.stop(now=now)

    def health(self) -> Health:
        """Return how they are: how one is that is not ready, if there is such."""
        known = [each.relay.health() for each in tuple(self._running)]
        if not known:
            return NOT_RUNNING
        return next((each for each in known if not each.ready), known[0])

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: they run in the parent."""
        self._running, self._stop_wanted, self._lock = [], False, threading.RLock()
