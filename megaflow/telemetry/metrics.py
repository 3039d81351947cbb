"""Metrics: counters of what happened to messages, and the protocol that others can implement."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final, Protocol

from megaflow.forks import renew_in_child

NAMES: Final[Mapping[str, str]] = {
    "received": "messages received",
    "handled": "messages whose handlers have all ended",
    "unmatched": "messages that no handler matched",
    "deleted": "messages deleted",
    "kept": "messages that stay in the queue and come again",
    "hidden": "kept messages hidden until their backoff is over",
    "given_back": "messages given back to the queue unhandled, so that others get them at once",
    "dead_lettered": "messages sent to the dead-letter queue",
    "not_dead_lettered": "messages that stay, as the dead-letter queue did not take them",
    "dropped": "messages that failed and were deleted, without a dead-letter queue",
    "extended": "extensions of a visibility timeout",
    "not_extended": "extensions that failed",
    "lost_leases": "messages whose visibility timeout ended while they were in hand",
    "duplicates": "messages that came again while in hand, or after they were handled here",
    "timed_out": "messages given up, as a handler took longer than its `timeout=`",
    "not_deleted": "messages that could not be deleted, and come again",
    "not_hidden": "messages that could not be hidden, and come again when their visibility timeout ends",
    "failed_polls": "polls that failed",
    "failed_store_calls": "calls to stores that failed",
    "hung_polls": "polls that were given up, as no answer came",
}
"""All that is counted, and what of."""


class Metrics(Protocol):
    """Something that wants to know how often things happen, by one of `NAMES`. May be called from any thread."""

    def count(self, name: str, amount: int = 1) -> None:
        """Take note that *name* happened *amount* times."""
        ...


class Counters:
    """Counts what happens to messages in this process, from 0; `snapshot` reads the counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()
        renew_in_child(self)

    def count(self, name: str, amount: int = 1) -> None:
        """Count that *name* happened *amount* times."""
        with self._lock:
            self._counts[name] += amount

    def clear(self) -> None:
        """Set all counters to 0."""
        with self._lock:
            self._counts = Counter(dict.fromkeys(NAMES, 0))

    def snapshot(self) -> Mapping[str, int]:
        """Return all counters by name, as they are now."""
        with self._lock:
            return dict(self._counts)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()
