"""Metrics: counters of what happened to messages, and the protocol that others can implement."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from megaflow.forks import renew_in_child


class Metrics(Protocol):
    """Something that wants to know how often things happen. May be called from any thread."""

    def count(self, name: str, amount: int = 1) -> None:
        """Take note that *name* happened *amount* times."""
        ...


class Counters:
    """Counts kept in this process, one per name; `snapshot` reads them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        renew_in_child(self)

    def count(self, name: str, amount: int = 1) -> None:
        """Take note that *name* happened *amount* times."""
        with self._lock:
            self._counts[name] += amount

    def snapshot(self) -> Mapping[str, int]:
        """Return the counts as they are now."""
        with self._lock:
            return dict(self._counts)

    def after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()
