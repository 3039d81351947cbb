"""Circuits: which breakers are open, so that messages wait in hand, and which one tries whether that is over.

A circuit is closed, until a handler fails too often in a row. Then it is open for a while, and after that half open:
one call tries. Where that fails it is open again, and where it succeeds closed.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Final

from megaflow.consumer.core.actions import Actions
from megaflow.errors import describe_error
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.processing.outcomes import is_outage
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.settings import CircuitBreaker


class Circuit:
    """The state of one *breaker*, which is that of *owner*, in words."""

    def __init__(self, breaker: CircuitBreaker, owner: str, actions: Actions) -> None:
        self._breaker = breaker
        self._actions = actions
        self._failures = Counter[Handler]()
        """Failures in a row, of each handler for itself."""

        self._opened_at: float | None = None
        self._half_open_at = -math.inf
        self._trying = ""
        """The id of the message that tries."""

        self.owner: Final = owner

    @property
    def is_open(self) -> bool:
        """Whether it is open, or half open."""
        return self._opened_at is not None

    @property
    def opens_at(self) -> float:
        """Since when the next call may begin, or from when on; infinity is that one tries."""
        return math.inf if self._trying else self._half_open_at

    def is_opened_by(self, handler: Handler) -> bool:
        """Tell whether *handler* has failed so often that it can have been the reason: its calls try first."""
        return self.is_open and self._failures[handler] >= self._breaker.failures

    def counts_any(self, handler: Handler) -> bool:
        """Tell whether *handler* has failed since its last success, so that another one is of importance."""
        return self._failures[handler] > 0

    def is_told_by(self, outcome: Outcome) -> bool:
        """Tell whether an outcome says whether what is needed is there, or away."""
        return not outcome.skipped and (outcome.status is ProcessStatus.DONE or is_outage(outcome, self._breaker))

    def begin(self, message_id: str) -> None:
        """Take note that a message is let in."""
        if self.is_open:
            self._trying = message_id

    def end(self, message_id: str, handler: Handler, outcome: Outcome | None, now: float) -> None:
        """Take note that the call of a message that was let in has ended; None is that nobody knows how."""
        tried = self._trying == message_id
        self.forget(message_id)
        if outcome is None or outcome.skipped:
            return
        if is_outage(outcome, self._breaker):
            self._note_failure(handler, outcome, now, tried=tried)
        elif outcome.status is ProcessStatus.DONE and (tried or not self.is_open):
            del self._failures[handler]
            self._close(now)

    def forget(self, message_id: str) -> None:
        """Let another one try, where it was this message."""
        if self._trying == message_id:
            self._trying = ""

    def _note_failure(self, handler: Handler, outcome: Outcome, now: float, *, tried: bool) -> None:
        self._failures[handler] += 1
        if tried:
            self._half_open_at = now + self._breaker.seconds
        elif not self.is_open and self._failures[handler] >= self._breaker.failures:
            self._opened_at, self._half_open_at = now, now + self._breaker.seconds
            text = "the circuit breaker of %s is open for %g s; failures of %s in a row: %d, the last one: %s"
            said = "" if outcome.error is None else describe_error(outcome.error)
            values = self.owner, self._breaker.seconds, handler.name, self._failures[handler], said
            self._actions.report(logging.WARNING, text, *values)

    def _close(self, now: float) -> None:
        if self._opened_at is not None:
            text = "the circuit breaker of %s is closed again, after %.0f s"
            self._actions.report(logging.INFO, text, self.owner, now - self._opened_at)
            self._opened_at, self._half_open_at = None, -math.inf


class Circuits:
    """The circuits of all handlers that have a breaker, of their own or that *of_app*."""

    def __init__(self, of_app: CircuitBreaker | None, actions: Actions) -> None:
        self._actions = actions
        self._of_app = None if of_app is None else Circuit(of_app, "the app", actions)
        self._of_handlers: dict[Handler, Circuit] = {}

    def find(self, handler: Handler) -> Circuit | None:
        """Return the circuit that calls of *handler* go through, if any. May be asked from any thread."""
        breaker = handler.options.breaker
        if breaker is None:
            return self._of_app
        found = self._of_handlers.get(handler)
        # Where two threads make one, both get the first.
        return found or self._of_handlers.setdefault(handler, Circuit(breaker, handler.name, self._actions))

    @property
    def are_used(self) -> bool:
        """Whether a call ever was to go through one."""
        return self._of_app is not None or bool(self._of_handlers)

    def last_success(self, verdict: Verdict) -> Outcome | None:
        """Return what the last handler that has turns has made of a message, where it has not failed.

        What others made of it was told when it came to the next one, or says nothing new.
        """
        called = (each for each in reversed(verdict.outcomes) if not each.skipped)
        last = next((each for each in called if each.handler.options.has_turns or self.find(each.handler)), None)
        return last if last is not None and last.error is None else None

    def forget(self, message_id: str) -> None:
        """Let others try, where it was this message."""
        for circuit in self._all:
            circuit.forget(message_id)

    @property
    def open_ones(self) -> tuple[str, ...]:
        """Whose circuits are open, or half open. May be asked from any thread."""
        return tuple(circuit.owner for circuit in self._all if circuit.is_open)

    @property
    def is_all_open(self) -> bool:
        """Whether that of the app is open, or half open: nothing more is to come into hand."""
        return self._of_app is not None and self._of_app.is_open

    @property
    def due_at(self) -> float:
        """When that of the app is half open; infinity where it is closed, or tried."""
        return self._of_app.opens_at if self._of_app is not None and self._of_app.is_open else math.inf

    @property
    def _all(self) -> list[Circuit]:
        of_app = [] if self._of_app is None else [self._of_app]
        return [*of_app, *self._of_handlers.copy().values()]
