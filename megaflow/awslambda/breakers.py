"""The circuit breakers of a function: they last from one invocation to the next, in each environment that Lambda runs.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from megaflow.consumer.core.circuits import Circuits
from megaflow.consumer.core.protocol import Actions, Report
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.steps import Result, Turn
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.settings import CircuitBreaker

log = get_logger(__name__)


class NotTriedError(Exception):
    """A message is not tried, as a circuit breaker is open: it comes again."""


class Breakers:
    """The breakers, with that *of_app*. Nobody waits for one, as the time of a function costs. For any thread."""

    def __init__(self, of_app: CircuitBreaker | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._actions = Actions()
        self._circuits = Circuits(of_app, self._actions)

    def take(self, turn: Turn, message: Message) -> Result:
        """Return what a message's turn comes to; raise `NotTriedError` where it does not come in time."""
        with self._lock:
            # A failure was told when it was for another try.
            if turn.last is not None and (turn.is_again or turn.last.error is None):
                self._note(message, turn.last)
            circuit = self._circuits.find(turn.handler)
            if circuit is not None and not turn.is_again:
                if circuit.opens_at > self._clock():
                    raise NotTriedError(f"the circuit breaker of {circuit.owner} is open")
                circuit.begin(message.id)
        return turn.pass_by()

    def note_verdict(self, verdict: Verdict) -> None:
        """Take note of what has succeeded."""
        with self._lock:
            if (success := self._circuits.last_success(verdict)) is not None:
                self._note(verdict.message, success)

    def forget(self, message: Message) -> None:
        """Take note that nobody waits any more for what becomes of a message."""
        with self._lock:
            self._circuits.forget(message.id)

    def _note(self, message: Message, outcome: Outcome) -> None:
        circuit = self._circuits.find(outcome.handler)
        if circuit is not None:
            circuit.end(message.id, outcome.handler, outcome, self._clock())
            for report in self._actions.take():
                if isinstance(report, Report):
                    log.log(report.level, report.text, *report.values, extra={"queue": message.queue_url})
