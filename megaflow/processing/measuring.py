"""Measuring: what the metrics are told of messages and of the verdicts on them, many at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message
from megaflow.processing.verdict import Verdict
from megaflow.telemetry.metrics import Told

_DONE: Final = ProcessStatus.DONE


def measure_verdicts(verdicts: Iterable[Verdict]) -> Mapping[Told, Sequence[float]]:
    """Return how long the handlers took, one by one and together. A handler that was not called took no time."""
    measured: dict[Told, list[float]] = {}
    for verdict in verdicts:
        whole = 0.0
        for outcome in verdict.outcomes:
            seconds = outcome.seconds
            if seconds:
                whole += seconds
                status = outcome.status
                # Enums take their time to say their names.
                said = "DONE" if status is _DONE else status.name
                told = ("handler_duration", outcome.handler.name, said)
                if told in measured:
                    measured[told].append(seconds)
                else:
                    measured[told] = [seconds]
        if whole:
            fate = "deleted" if verdict.deletes else verdict.fate.value
            measured.setdefault(("process_duration", fate), []).append(whole)
    return measured


def measure_ages(messages: Iterable[Message], now: float) -> list[float]:
    """Return how long ago messages were sent, as far as that is known; *now* is in seconds since 1970."""
    return [max(0.0, now - each.sent_at.timestamp()) for each in messages if each.sent_at is not None]
