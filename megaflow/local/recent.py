"""Deduplication: what was asked for in the last five minutes, so that asking twice does nothing twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

DEDUPLICATION_INTERVAL: Final = 300
"""Seconds. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html"""

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Kept]):
    """One answer and until when it holds."""

    key: Hashable
    answer: Kept
    ends_at: float


class Recent(Generic[Kept]):
    """Answers by key, each kept for the deduplication interval after it was first given."""

    __slots__ = ("_known", "_order", "_unsaved")

    def __init__(self) -> None:
        self._known: dict[Hashable, Remembered[Kept]] = {}
        self._order: deque[Remembered[Kept]] = deque()
        self._unsaved: set[Hashable] = set()

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._known)

    def find(self, key: Hashable, now: float) -> Kept | None:
        """Return what *key* was answered, or None where it was not asked for of late."""
        self._forget(now)
        known = self._known.get(key)
        return None if known is None else known.answer

    def remember(self, key: Hashable, answer: Kept, now: float) -> None:
        """Keep *answer* from *now* on; a *key* that is known keeps its time."""
        known = self._known.get(key)
        made = Remembered(key, answer, now + DEDUPLICATION_INTERVAL if known is None else known.ends_at)
        self._known[key] = made
        if known is None:
            self._order.append(made)
        self._unsaved.add(key)

    def restore(self, remembered: Remembered[Kept]) -> None:
        """Take in what was remembered before, the one that ends first first."""
        self._known[remembered.key] = remembered
        self._order.append(remembered)

    def clear(self) -> None:
        """Forget everything."""
        for part in (self._known, self._order, self._unsaved):
            part.clear()

    def unsaved(self) -> Iterator[Remembered[Kept]]:
        """Give what is to be written down since ``saved`` was called."""
        return (self._known[key] for key in self._unsaved if key in self._known)

    def saved(self) -> None:
        """Note that all is written down."""
        self._unsaved.clear()

    def _forget(self, now: float) -> None:
        while self._order and self._order[0].ends_at <= now:
            del self._known[self._order.popleft().key]
