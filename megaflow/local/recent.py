"""What was asked for in the last five minutes, so that asking twice does nothing twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

DEDUPLICATION_INTERVAL: Final = 300
"""Seconds. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html"""

Answer = TypeVar("Answer")


class Recent(Generic[Answer]):
    """Answers by key, each kept for the deduplication interval after it was first given."""

    __slots__ = ("_answers", "_ends")

    def __init__(self) -> None:
        self._answers: dict[Hashable, Answer] = {}
        self._ends: deque[tuple[float, Hashable]] = deque()

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._answers)

    def find(self, key: Hashable, now: float) -> Answer | None:
        """Return what *key* was answered, or None where it was not asked for of late."""
        self._forget(now)
        return self._answers.get(key)

    def remember(self, key: Hashable, answer: Answer, now: float) -> None:
        """Keep *answer* from *now* on; a *key* that is known keeps its time."""
        if key not in self._answers:
            self._ends.append((now + DEDUPLICATION_INTERVAL, key))
        self._answers[key] = answer

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            del self._answers[self._ends.popleft()[1]]
