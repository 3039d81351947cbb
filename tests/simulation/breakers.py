"""What a simulated process must know of its circuit breakers: until when they are open for certain."""

from __future__ import annotations

import math
from collections import Counter

from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.processing.verdict import Outcome
from megaflow.settings import CircuitBreaker


class OpenTimes:
    """Reckons when a breaker is open, from what its calls came to: perhaps too seldom, and never too long.

    It does not know which call tries, nor what a call is counted for that was under way when the breaker opened. So it
    counts failures twice, those that count for certain and those that may, and where both have been enough, the
    breaker may be open since the earlier of the two times.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._failures = Counter[str]()
        self._most_failures = Counter[str]()
        self._opened_at = -math.inf
        self._perhaps_since = math.inf
        self._is_certain = False
        """Whether it is open, or half open, for certain."""

        self._until = -math.inf

    def is_open(self, now: float) -> bool:
        return now < self._until

    def is_told_by(self, outcome: Outcome) -> bool:
        """Tell whether an outcome says whether what is needed is there; of a batch, the first that does counts."""
        if outcome.skipped:
            return False
        return outcome.status is ProcessStatus.DONE or (
            outcome.error is not None and self._breaker.counts(outcome.error)
        )

    def note(self, handler: Handler, outcome: Outcome, began_at: float, now: float) -> None:
        """A call that had its turn at *began_at* has ended."""
        if not self.is_told_by(outcome):
            return
        if outcome.status is ProcessStatus.DONE:
            self._note_success(handler, began_at)
        else:
            self._note_failure(handler, began_at, now)

    def _note_success(self, handler: Handler, began_at: float) -> None:
        self._failures[handler.name] = 0
        if began_at > self._perhaps_since or math.isinf(self._perhaps_since):
            self._is_certain = False
            if began_at > self._opened_at:
                self._most_failures[handler.name], self._perhaps_since = 0, math.inf

    def _note_failure(self, handler: Handler, began_at: float, now: float) -> None:
        self._most_failures[handler.name] += 1
        if self._most_failures[handler.name] >= self._breaker.failures:
            self._perhaps_since = min(self._perhaps_since, now)
        if began_at <= self._opened_at:
            # It was under way when the breaker opened, which may be closed again by now.
            return
        self._failures[handler.name] += 1
        if self._is_certain:
            # It has tried: no other begins while the breaker is open.
            self._until = now + self._breaker.seconds
        elif self._failures[handler.name] >= self._breaker.failures and not self.is_open(now):
            self._is_certain, self._opened_at = True, now
            self._until = self._perhaps_since + self._breaker.seconds
