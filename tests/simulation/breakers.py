"""What a simulated process must know of its circuit breakers: until when they are open for certain."""

from __future__ import annotations

import math
from collections import Counter

from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.processing.verdict import Outcome
from megaflow.settings import CircuitBreaker


class OpenTimes:
    """Reckons when a breaker is open, from what its calls came to: perhaps too seldom, and never too long."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._failures = Counter[str]()
        self._opened_at = -math.inf
        self._until = -math.inf

    def is_open(self, now: float) -> bool:
        return now < self._until

    def note(self, handler: Handler, outcome: Outcome, began_at: float, now: float) -> None:
        """A call that had its turn at *began_at* has ended."""
        if outcome.skipped:
            return
        if outcome.status is ProcessStatus.DONE:
            self._failures[handler.name] = 0
        elif outcome.error is not None and self._breaker.counts(outcome.error):
            self._note_failure(handler, began_at, now)

    def _note_failure(self, handler: Handler, began_at: float, now: float) -> None:
        if began_at <= self._opened_at:
            # It was under way when the breaker opened, which may be closed again by now.
            return
        self._failures[handler.name] += 1
        if self._failures[handler.name] >= self._breaker.failures and not self.is_open(now):
            self._opened_at, self._until = now, now + self._breaker.seconds
