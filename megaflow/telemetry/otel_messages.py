"""The trace of a message: its ``process`` span, and the ``handle`` spans below it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from opentelemetry.context import Context, attach
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, get_current_span, set_span_in_context

from megaflow.messages.message import Message
from megaflow.telemetry import conventions as names
from megaflow.telemetry.otel_basics import describe, end, start
from megaflow.telemetry.otel_context import NOWHERE, link_to
from megaflow.telemetry.tracing import Place


class MessageTrace:
    """The trace of one delivery of a message: its sender's, how it came here, and the spans of its processing.

    What ends a span takes it out of its list, so that it is ended once, by whichever thread.
    """

    __slots__ = (
        "_context",
        "_handle",
        "_process",
        "_tracer",
        "ambient",
        "has_begun",
        "received_in",
        "sender",
        "sent_in",
    )

    def __init__(self, tracer: Tracer, sender: Context | None) -> None:
        self._tracer = tracer
        self.sender = sender
        """What the message brings along: a remote span, and baggage."""

        sent_in = None if sender is None else get_current_span(sender).get_span_context()
        self.sent_in = sent_in if sent_in is not None and sent_in.is_valid else None
        self.received_in: SpanContext | None = None
        """The span of the poll that brought it, or in which a function was called with it, where that is kept."""

        self.ambient: Context | None = None
        """Where it is processed, where that is not in a consumer's own thread."""

        self.has_begun = False
        self._context = NOWHERE
        self._process = self._handle = _NONE

    def find_place(self, *, as_link: bool) -> tuple[Context, Context, Sequence[Link]]:
        """Return what ``process`` is below, what is current in it besides, and what it is linked to."""
        base = self.sender or self.ambient or NOWHERE
        parent = NOWHERE if self.ambient is None else self.ambient
        if self.sent_in is not None and self.sender is not None:
            parent = NOWHERE if as_link else self.sender
        if not as_link and self.received_in is None:
            return parent, base, ()
        received_in = None if parent is self.ambient else self.received_in
        return parent, base, link_to([self.sent_in if as_link else None, received_in])

    def begin(self, span: Span, context: Context, message: Message) -> None:
        """Go on with ``process``, which is current in *context*, and is kept."""
        self.has_begun = True
        self._context = context
        self._process = [span]
        span.set_attributes(_describe_message(message))

    @property
    def processes(self) -> Sequence[Span]:
        """The ``process`` span, as long as it has not ended."""
        return tuple(self._process)

    def begin_handle(self, handler: str) -> None:
        """Begin ``handle``, and let it be current."""
        attributes = {names.HANDLER: handler}
        span = start(self._tracer, f"handle {handler}", self._context, SpanKind.INTERNAL, attributes)
        self._handle = [span]
        attach(set_span_in_context(span, self._context))

    def begin_batch(self, handler: str, traces: Sequence[MessageTrace | None]) -> None:
        """Begin ``handle`` for a batch of messages, whose traces may differ: it is linked to each ``process`` kept."""
        links = link_to(span.get_span_context() for each in traces if each is not None for span in each.processes)
        if not links:
            return
        attributes: dict[str, str | int] = {names.HANDLER: handler, names.BATCH_MESSAGE_COUNT: len(traces)}
        name = f"handle {handler}"
        span = start(self._tracer, name, NOWHERE, SpanKind.INTERNAL, attributes, links)
        self._handle = [span]
        attach(set_span_in_context(span, NOWHERE))

    def end_handle(self, status: str, problem: str, skipped: str = "") -> None:
        """End ``handle``, and let ``process`` be current again; *skipped* says why the handler was not called."""
        if span := _take(self._handle):
            span.set_attribute(names.STATUS, status)
            if skipped:
                span.set_attribute(names.SKIPPED, skipped)
            end(span, problem)
            # Not by a token: it may have begun in another copy of the context.
            attach(self._context)

    def end(self, said: Mapping[str, str], problem: str) -> None:
        """End ``process`` with what is *said* of it, by the names of attributes."""
        if span := _take(self._process):
            span.set_attributes(said)
            end(span, problem)

    def give_up(self, *, timed_out: bool) -> None:
        """End what is not waited for any more."""
        for span in filter(None, (_take(self._handle), _take(self._process))):
            end(span, names.TIMEOUT if timed_out else names.GIVEN_UP)

    def crash(self, error: BaseException) -> None:
        """End what ends without a verdict: *error* is why, or that nobody goes on with it."""
        for span in filter(None, (_take(self._handle), _take(self._process))):
            end(span, names.GIVEN_UP if isinstance(error, GeneratorExit) else names.name_error(error))


@cache
def describe_process(queue_url: str) -> tuple[str, Mapping[str, str | int]]:
    """Return the name of ``process`` for messages of a queue, and what these have in common, made once."""
    name = queue_url.rpartition("/")[2]
    if not name:
        # A body that was handed over, and not received.
        return names.PROCESS, {names.OPERATION_NAME: names.PROCESS, names.OPERATION_TYPE: names.PROCESS}
    return f"process {name}", describe(Place(names.SQS, name, queue_url), names.PROCESS)


def _describe_message(message: Message) -> dict[str, str | int | float]:
    known: dict[str, str | int | float] = {
        names.MESSAGE_ID: message.id,
        names.RECEIVE_COUNT: message.receive_count,
    }
    if message.sent_at is not None:
        known[names.TIME_IN_QUEUE] = max(0.0, time.time() - message.sent_at.timestamp())
    return known


def _take(spans: list[Span]) -> Span | None:
    if not spans:
        return None
    try:
        return spans.pop()
    except IndexError:
        # Another thread has ended it.
        return None


_NONE: Final[list[Span]] = []
"""One for all, as most have none; nothing is ever put into it."""
