"""Instruments: everything that is counted and measured, in one table. The names that others know it by come from here.

The conventions' names are those of OpenTelemetry's for messaging, of which none is stable yet:
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from megaflow import limits


class Kind(Enum):
    """The kind of an instrument."""

    COUNTER = "counter"
    """It only grows."""

    HISTOGRAM = "histogram"
    """Values, counted by the bucket into which they fall."""

    GAUGE = "gauge"
    """What is so now."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One thing that is counted or measured: what it is called here, and by OpenTelemetry, and what it means.

    *unit* is ``"s"``, or what is counted, in braces. *labels* are always told, ``""`` where one says
    nothing; the queue is the first.
    """

    name: str
    kind: Kind
    otel_name: str
    unit: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    """Of a histogram: the highest value of each bucket but the last, which has no highest one."""

    takes_lowest: bool = False
    """Of a gauge: whether several processes together are at the lowest of theirs, and not at the sum."""

    @property
    def prometheus_name(self) -> str:
        """What Prometheus calls it: that of OpenTelemetry with the base unit, below ``megaflow_``."""
        _, *words = self.otel_name.split(".")
        unit = ["seconds"] if self.unit == "s" else []
        total = ["total"] if self.kind is Kind.COUNTER else []
        return "_".join(["megaflow", *words, *unit, *total])


LABELS: Final[Mapping[str, str]] = {
    "queue": "the name of the queue",
    "topic": "the name of the topic, of what is published to one; it has no queue then",
    "handler": "the name of the handler, as in the log",
    "status": "what the handler made of the message: `DONE`, `RETRY_LATER`, `RETRIABLE_ERROR`, `FATAL_ERROR`",
    "fate": "what became of the message: `deleted`, `kept`, `dead-lettered`; `dropped` is deleted for want of a "
    "dead-letter queue, `given-back` is hidden no longer, unhandled",
    "result": "what became of the poll: `messages`, `empty`, `failed`, `hung`",
    "operation": "what was asked of SQS or SNS: `receive`, `delete`, `hide`, `extend`, `dead_letter`, `send`",
    "error": 'AWS\'s name for the error, or its type, as `error.type` of spans has it; `""` where there was none',
}
"""All labels, and what each says. None says anything that is another for every message."""

FATES: Final = ("deleted", "kept", "dead-lettered", "dropped", "given-back")
RESULTS: Final = ("messages", "empty", "failed", "hung")
"""What polls come to."""

_QUEUE: Final = ("queue",)
_MESSAGES: Final = "{message}"

# The conventions' own advice for these two; the last one is for polls, which wait for 20 s.
_CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 25.0)
_HANDLER_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
_AGES: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 345_600.0)
_BATCHES: Final = tuple(float(size) for size in range(1, limits.BATCH_ENTRIES))


def _counter(name: str, otel_name: str, meaning: str, *labels: str, unit: str = _MESSAGES) -> Instrument:
    return Instrument(name, Kind.COUNTER, otel_name, unit, labels or _QUEUE, meaning)


def _by_name(instruments: Iterable[Instrument]) -> Mapping[str, Instrument]:
    return {each.name: each for each in instruments}


INSTRUMENTS: Final[Mapping[str, Instrument]] = _by_name(
    (
        _counter("received", "messaging.client.consumed.messages", "messages received"),
        _counter(
            "sent",
            "messaging.client.sent.messages",
            "messages that were to be published, those that failed among them",
            *("queue", "error", "topic"),
        ),
        _counter("handled", "megaflow.messages.handled", "messages whose handlers have all ended"),
        _counter("unmatched", "megaflow.messages.unmatched", "messages that no handler matched"),
        _counter("ended", "megaflow.messages.ended", "messages by what became of them", "queue", "fate"),
        _counter("deleted", "megaflow.messages.deleted", "messages deleted"),
        _counter("hidden", "megaflow.messages.hidden", "kept messages hidden until their backoff is over"),
        _counter(
            "not_dead_lettered",
            "megaflow.messages.not_dead_lettered",
            "messages that stay, as the dead-letter queue did not take them",
        ),
        _counter(
            "duplicates",
            "megaflow.messages.duplicates",
            "messages that came again while in hand, or after they were handled here",
        ),
        _counter(
            "timed_out",
            "megaflow.messages.timed_out",
            "messages given up, as a handler took longer than its `timeout=`",
        ),
        _counter("not_deleted", "megaflow.messages.not_deleted", "messages that could not be deleted, and come again"),
        _counter(
            "not_hidden",
            "megaflow.messages.not_hidden",
            "messages that could not be hidden, and come again when their visibility timeout ends",
        ),
        _counter("extended", "megaflow.leases.extended", "extensions of a visibility timeout", unit="{lease}"),
        _counter("not_extended", "megaflow.leases.not_extended", "extensions that failed", unit="{lease}"),
        _counter(
            "lost_leases",
            "megaflow.leases.lost",
            "messages whose visibility timeout ended while they were in hand",
            unit="{lease}",
        ),
        _counter("polls", "megaflow.polls", "polls by what became of them", "queue", "result", unit="{poll}"),
        _counter("failed_store_calls", "megaflow.store_calls.failed", "calls to stores that failed", unit="{call}"),
        Instrument(
            "operation_duration",
            Kind.HISTOGRAM,
            "messaging.client.operation.duration",
            "s",
            ("queue", "operation", "error", "topic"),
            "from when a call of SQS or SNS was begun to when its answer was read, which a thread does that handles "
            "messages meanwhile",
            _CALL_SECONDS,
        ),
        Instrument(
            "process_duration",
            Kind.HISTOGRAM,
            "messaging.process.duration",
            "s",
            ("queue", "fate"),
            "how long a message's handlers took, one after another",
            _CALL_SECONDS,
        ),
        Instrument(
            "handler_duration",
            Kind.HISTOGRAM,
            "megaflow.handler.duration",
            "s",
            ("queue", "handler", "status"),
            "how long one handler took for one message",
            _HANDLER_SECONDS,
        ),
        Instrument(
            "message_age",
            Kind.HISTOGRAM,
            "megaflow.message.age",
            "s",
            _QUEUE,
            "how long ago a message was sent when it is taken up, at each delivery, whether or not a handler matches",
            _AGES,
        ),
        Instrument(
            "batch_size",
            Kind.HISTOGRAM,
            "megaflow.batch.messages",
            _MESSAGES,
            ("queue", "operation", "topic"),
            "messages in one call",
            _BATCHES,
        ),
        Instrument(
            "in_hand", Kind.GAUGE, "megaflow.messages.in_hand", _MESSAGES, _QUEUE, "messages received and not settled"
        ),
        Instrument(
            "running",
            Kind.GAUGE,
            "megaflow.messages.running",
            _MESSAGES,
            _QUEUE,
            "those of them whose handlers are at work",
        ),
        Instrument(
            "in_line",
            Kind.GAUGE,
            "megaflow.messages.in_line",
            _MESSAGES,
            _QUEUE,
            "those of them that wait for their turn at a handler: for its limits, or its circuit breaker",
        ),
        _counter("parked", "megaflow.outbox.parked", "messages of an outbox that AWS refuses, and that are parked"),
        Instrument(
            "outbox_age",
            Kind.GAUGE,
            "megaflow.outbox.age",
            "s",
            _QUEUE,
            "how long the oldest message of an outbox has waited to be sent, as its relay sees it every few seconds",
        ),
        Instrument(
            "open_breakers",
            Kind.GAUGE,
            "megaflow.breakers.open",
            "{breaker}",
            _QUEUE,
            "circuit breakers that are open, or let one message try",
        ),
        Instrument(
            "paused", Kind.GAUGE, "megaflow.consumers.paused", "{consumer}", _QUEUE, "1 where it is paused, else 0"
        ),
        Instrument(
            "last_heard",
            Kind.GAUGE,
            "megaflow.last_heard.timestamp",
            "s",
            _QUEUE,
            "when SQS last answered a poll, in seconds since 1970; now, where nothing is asked as all handlers are at "
            "work; of several processes that which has heard nothing for longest",
            takes_lowest=True,
        ),
    )
)
"""All instruments, by their names."""
