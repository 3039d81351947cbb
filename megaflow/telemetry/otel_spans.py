"""Spans by OpenTelemetry: of what is sent, received, processed and settled.

Imported only where its SDK is set up. Nothing of a payload, or of what an error says, is ever in a span.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from megaflow.distribution import DISTRIBUTION
from megaflow.messages.message import Message
from megaflow.telemetry import conventions as names
from megaflow.telemetry.otel_basics import describe, end, start
from megaflow.telemetry.otel_context import (
    NOWHERE,
    Reader,
    if_kept,
    link_to,
    suppressing,
    write_attributes,
    write_header,
)
from megaflow.telemetry.otel_messages import MessageTrace, describe_process
from megaflow.telemetry.tracing import Place


class Spans:
    """Makes spans by *provider*. With *as_link*, to process a message is a trace of its own. For any thread."""

    def __init__(self, provider: TracerProvider, *, as_link: bool) -> None:
        self._tracer = provider.get_tracer(names.SCOPE, _read_version(), schema_url=names.SCHEMA_URL)
        self._as_link = as_link
        self._reader = Reader()

    def read_current(self) -> Context:
        """Return what is current here: for a ``send`` that begins elsewhere."""
        return get_current()

    def begin_send(self, place: Place, parent: Context, count: int | None = None) -> SendSpan:
        """Begin a ``send``, below what is current in *parent*; a batch has so many messages."""
        attributes = {**describe(place, names.SEND), **_count(count)}
        span = start(self._tracer, f"send {place.name}", parent, SpanKind.PRODUCER, attributes)
        return SendSpan(span, parent)

    def note_receive(self, place: Place, messages: Sequence[Message], began: int, answer: Mapping[str, Any]) -> None:
        """Note that a poll, begun at *began* in nanoseconds of the epoch, has brought *messages*."""
        senders = [self._reader.read(message) for message in messages]
        traces = [None if sender is None else MessageTrace(self._tracer, sender) for sender in senders]
        attributes = {**describe(place, names.RECEIVE), **_count(len(messages))}
        name, links = f"receive {place.name}", _link(traces)
        span = start(self._tracer, name, NOWHERE, SpanKind.CLIENT, attributes, links, began)
        received_in = if_kept(span.get_span_context())
        for message, known in zip(messages, traces, strict=True):
            if message.lease is not None and not (known is None and received_in is None):
                message.lease.trace = trace = known or MessageTrace(self._tracer, None)
                trace.received_in = received_in
        CallSpan(span, NOWHERE).end_with(answer)

    def note_invocation(self, messages: Iterable[Message]) -> None:
        """Note that a function was called with *messages*, in the span that is current."""
        ambient = get_current()
        for message in messages:
            trace = MessageTrace(self._tracer, self._reader.read(message))
            trace.ambient, trace.received_in = ambient, if_kept(get_current_span(ambient).get_span_context())
            if message.lease is not None:
                message.lease.trace = trace

    def begin_process(self, message: Message) -> MessageTrace | None:
        """Begin a ``process``, in the context of the message, which is its own, and so need not be left.

        None is that it is not sampled: whatever handlers publish and call says so, and nothing more is to be done.
        """
        trace = self._find_trace(message)
        parent, base, links = (NOWHERE, NOWHERE, ()) if trace is None else trace.find_place(as_link=self._as_link)
        name, attributes = describe_process(message.queue_url)
        span = start(self._tracer, name, parent, SpanKind.CONSUMER, attributes, links)
        context = set_span_in_context(span, base)
        attach(context)
        if not span.is_recording():
            return None
        if trace is None:
            trace = MessageTrace(self._tracer, None)
            if message.lease is not None:
                message.lease.trace = trace
        trace.begin(span, context, message)
        return trace

    def begin_batch(self, batch: Message, handler: str, messages: Sequence[Message]) -> MessageTrace:
        """Begin ``handle`` for the messages of a *batch*."""
        trace = MessageTrace(self._tracer, None)
        trace.begin_batch(handler, [None if each.lease is None else each.lease.trace for each in messages])
        if batch.lease is not None:
            batch.lease.trace = trace
        return trace

    def begin_settle(self, place: Place, how: str, messages: Sequence[Message]) -> CallSpan:
        """Begin a ``settle``: *how* is the word for it."""
        traces = [None if each.lease is None else each.lease.trace for each in messages]
        is_alone = how == names.DEAD_LETTER
        about = {names.MESSAGE_ID: messages[0].id} if is_alone else _count(len(messages))
        attributes = {**describe(place, names.SETTLE), names.SETTLEMENT: how, **about}
        name, links = f"settle {place.name}", _link(traces)
        span = start(self._tracer, name, NOWHERE, SpanKind.CLIENT, attributes, links)
        return CallSpan(span, NOWHERE)

    def suppressing_others(self) -> AbstractContextManager[None]:
        """Have OpenTelemetry make no other span within a ``with``."""
        return suppressing(NOWHERE)

    def _find_trace(self, message: Message) -> MessageTrace | None:
        """Return what is known of a message's trace before it is processed; None where nothing is."""
        lease = message.lease
        if lease is None:
            trace = MessageTrace(self._tracer, self._reader.read(message))
            trace.ambient = get_current()
            return trace
        if lease.trace is not None and not lease.trace.has_begun:
            return lease.trace  # type: ignore[no-any-return]
        sender = self._reader.read(message)
        if sender is None:
            return None
        lease.trace = trace = MessageTrace(self._tracer, sender)
        return trace


class CallSpan:
    """The span of a call, below what is current in *parent*; it ends once."""

    __slots__ = ("_parent", "_span")

    def __init__(self, span: Span, parent: Context) -> None:
        self._span = span
        self._parent = parent

    def calling(self) -> AbstractContextManager[None]:
        """Make the call within a ``with``: no span of another instrumentation is below this one."""
        return suppressing(set_span_in_context(self._span, self._parent))

    def note_answer(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note which request this was, and return its *answer*."""
        request_id = answer.get("ResponseMetadata", {}).get("RequestId") if self._span.is_recording() else None
        if request_id is not None:
            self._span.set_attribute(names.REQUEST_ID, request_id)
        return answer

    def end(self, problem: str = "") -> None:
        """End it; *problem* is the type of the error, where there was one."""
        end(self._span, problem)

    def end_with(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """End it with the answer to a batch, and return that."""
        failed = answer.get("Failed", ())
        self.note_answer(answer)
        self.end(names.name_code(failed[0].get("Code", "Unknown")) if failed else "")
        return answer

    def fail_with(self, error: BaseException) -> NoReturn:
        """End it with an error, and raise that."""
        self.fail(error)
        raise error

    @contextmanager
    def ending(self) -> Iterator[None]:
        """End it at the end of a ``with``, with the error that leaves it, if any."""
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise
        self.end()

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            self.note_answer(response)
        self.end(names.name_error(error))


class SendSpan(CallSpan):
    """The span of what is sent, and what goes along with it so that whoever receives it can continue the trace."""

    __slots__ = ("offered", "trace_header")

    def __init__(self, span: Span, parent: Context) -> None:
        super().__init__(span, parent)
        self.offered = write_attributes(set_span_in_context(span, parent))
        """The attributes, the most important one first."""

        self.trace_header = write_header(span.get_span_context())
        """AWS's header."""

    def note_message(self, message_id: str) -> None:
        """Note which message was sent."""
        self._span.set_attribute(names.MESSAGE_ID, message_id)


def _link(traces: Iterable[MessageTrace | None]) -> list[Link]:
    return link_to([trace.sent_in for trace in traces if trace is not None])


def _count(count: int | None) -> dict[str, int]:
    return {} if count is None else {names.BATCH_MESSAGE_COUNT: count}


def _read_version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return ""
