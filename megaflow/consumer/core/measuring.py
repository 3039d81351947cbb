"""Measuring: what the metrics are told of calls, of messages and of handlers, where anybody wants to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.protocol import AskFailed, DeadLetter, Delete, Extend, Hide, Received, Settled
from megaflow.messages.message import Message
from megaflow.processing.measuring import measure_ages, measure_verdicts
from megaflow.processing.verdict import Verdict
from megaflow.telemetry.conventions import name_error

_OPERATIONS: Final = {Delete: "delete", Hide: "hide", Extend: "extend", DeadLetter: "dead_letter"}


class Measuring:
    """Measures where *is_observed* says so; *wall_clock* gives the seconds since 1970, by which messages are so old."""

    def __init__(self, actions: Actions, is_observed: Callable[[], bool], wall_clock: Callable[[], float]) -> None:
        self._actions = actions
        self._is_observed = is_observed
        self._wall_clock = wall_clock
        self.is_on = False

    def look(self) -> None:
        """Look whether anybody wants to know."""
        self.is_on = self._is_observed()

    def note_received(self, received: Received) -> None:
        """Measure a poll that was answered."""
        self._note_call("receive", received.took, len(received.messages))

    def note_failed(self, failed: AskFailed) -> None:
        """Measure a poll that failed."""
        self._note_call("receive", failed.took, 0, name_error(failed.error))

    def note_settled(self, settled: Settled) -> None:
        """Measure a settlement."""
        asked = settled.asked
        self._note_call(_OPERATIONS[type(asked)], settled.took, len(asked.messages), settled.error_type)

    def note_started(self, messages: Sequence[Message]) -> None:
        """Measure how old messages are whose first handlers are started."""
        if ages := measure_ages(messages, self._wall_clock()):
            self._actions.measure(("message_age",), ages)

    def note_finished(self, verdicts: Sequence[Verdict]) -> None:
        """Measure how long handlers took."""
        for told, values in measure_verdicts(verdicts).items():
            self._actions.measure(told, values)

    def _note_call(self, operation: str, took: float | None, messages: int, error: str = "") -> None:
        if took is not None:
            self._actions.measure(("operation_duration", operation, error), (took,))
        if messages:
            self._actions.measure(("batch_size", operation), (messages,))
