"""The publisher: what `SqsPublisher` and `SnsPublisher` share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property, partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Unpack

from megaflow.checks import check_flag, check_function, check_whole
from megaflow.errors import EncodeError, FailedEntry
from megaflow.keywords import check_options
from megaflow.loops import get_running_loop
from megaflow.messages.identity import find_identity
from megaflow.messages.payloads import Payloads, check_payloads
from megaflow.publishing.batches import (
    BatchSender,
    Entry,
    EntryAnswer,
    Sent,
    note_answer,
    read_batch_answer,
    read_error,
    read_message_ids,
    send_all,
)
from megaflow.publishing.gathering import AT_ONCE, Answer, Call, Gathering
from megaflow.publishing.measuring import Measuring
from megaflow.publishing.offloading import Offloading, store_payload, store_payloads
from megaflow.publishing.outgoing import (
    NO_ATTRIBUTES,
    Outgoing,
    Prepared,
    PublishOptions,
    Terms,
    as_outgoing,
    check_several,
    prepare,
    prepare_all,
    prepare_raw,
    trace_all,
)
from megaflow.publishing.streams import Items, send_stream
from megaflow.publishing.threads import Threads
from megaflow.publishing.together import Count, describe_too_large, make_client_error, send_together
from megaflow.telemetry.current import current_message, find_attributes
from megaflow.telemetry.metrics import Metrics
from megaflow.telemetry.outlets import Outlets
from megaflow.telemetry.propagation import Propagation
from megaflow.telemetry.tracing import Place, Telemetry, Tracing
from megaflow.wire.patience import is_boto3, read_patience
from megaflow.wire.pending import Pending

if TYPE_CHECKING:
    from megaflow.telemetry.otel_spans import Spans

BATCHES_IN_FLIGHT: Final = 8
"""Batches that are under way at once: boto3 keeps ten connections."""


class Publisher(ABC):
    """Publishes payloads to one place. May be used from any thread.

    *max_size* is what a message, and a batch, may have in bytes; *sleep* waits between the tries of a batch.
    *telemetry* is whether there are spans of what is sent, where OpenTelemetry's SDK is set up. *large_payloads* is
    where payloads go that are too large.
    """

    def __init__(
        self,
        *,
        max_size: int,
        sleep: Callable[[float], None],
        telemetry: bool | Telemetry,
        metrics: Metrics | None,
        large_payloads: Payloads | None,
    ) -> None:
        check_payloads(large_payloads)
        check_function("sleep", sleep, "(seconds) -> None", takes=1)
        self._max_size = max_size
        self._sleep = sleep
        self._tracing = Tracing(telemetry)
        self.outlets = Outlets(own=metrics, tells_opentelemetry=bool(telemetry))
        """Who is told what is sent; those of an app's publishers are the app's."""

        self.propagation = Propagation()
        """What goes along with each message, from the one in hand; that of an app's publishers is the app's."""

        self.large_payloads = large_payloads
        """Where payloads go that are too large for a message; that of an app's publishers is the app's."""

    def propagate(self, *names: str) -> None:
        """Take along, with each message, attributes of these names; see `App.propagate`."""
        self.propagation.add(names)

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Publish *payload*, and return its message id.

        Args:
            payload: A `Payload`, a dict, text, bytes, a pydantic model or a dataclass. A model is written as pydantic
                does it: by its aliases, and without computed fields.
            options: Each as in `Outgoing`.

        Raises:
            EncodeError: AWS would refuse the message. Nothing was sent.
            PublishError: The message is too large for this queue or topic, which takes less than AWS allows, or its
                payload could not be put into *large_payloads*.
        """
        check_options(self.publish, options, PublishOptions)
        return self._publish(prepare(Outgoing(payload, **options), **self._terms()))

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Publish the text *body* exactly as it is, and return its message id. The options are those in `Outgoing`."""
        check_options(self.publish_raw_message, options, PublishOptions)
        return self._publish(prepare_raw(Outgoing(body, **options), **self._terms()))

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Publish *items*, payloads or `Outgoing`, ten to a call, and return their message ids in order.

        Up to eight calls are under way at once, so a standard queue gets the messages in about their order. On FIFO it
        is one, and their order is kept.

        Args:
            items: Payloads, or `Outgoing` where they differ in more.
            options: The options of all payloads, each as in `Outgoing`. An `Outgoing` has its own.

        Raises:
            EncodeError: AWS would refuse one of them. Nothing was sent.
            PublishError: Some did not go, or nobody knows whether they went. The error lists exactly those.
        """
        check_options(self.publish_batch, options, PublishOptions)
        check_several(items)
        outgoing = as_outgoing(items, options)
        entries = prepare_all(outgoing, check=self._check, **self._terms())
        sender = self._make_sender(*self._read_current())
        sent = list(self._send_all(entries, sender, min(BATCHES_IN_FLIGHT, -(-len(entries) // 10) or 1)))
        return read_message_ids(sent, sender.cause)

    def publish_stream(
        self,
        items: Iterable[object],
        *,
        raw: bool = False,
        in_flight: int = BATCHES_IN_FLIGHT,
        **options: Unpack[PublishOptions],
    ) -> Iterator[Sent]:
        """Publish *items* as they come, and give a `Sent` for each, in order: for more messages than memory holds.

        A message that did not go raises nothing: `Sent.failure` says why, and the others go all the same. After a call
        that failed as a whole, nothing more is sent.

        Args:
            items: Payloads, or `Outgoing` where they differ in more.
            raw: Send texts exactly as they are.
            in_flight: How many batches are under way at once, 1 to 100. On FIFO it is always one.
            options: The options of all payloads, each as in `Outgoing`. An `Outgoing` has its own.
        """
        check_options(self.publish_stream, options, PublishOptions)
        check_several(items)
        check_flag("raw", raw)
        check_whole("in_flight", in_flight, 1, 100)
        outgoing = as_outgoing(items, options)
        # As it is here: the stream may be read elsewhere.
        terms = self._terms()
        entries = (self._prepare(source, index, raw, terms) for index, source in enumerate(outgoing))
        return self._send_all(entries, self._make_sender(*self._read_current()), in_flight)

    async def apublish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Do what `publish` does in a running event loop, which is not blocked.

        Calls that wait at the same moment may share a request; each has its own answer, or error, and those of one
        message group go in order. One that is cancelled does not go, or nobody knows whether it went: once its request
        is under way, it may have been sent. A `PublishError` says the same of one that waited too long.
        """
        check_options(self.apublish, options, PublishOptions)
        message = prepare(Outgoing(payload, **options), **self._terms())
        source = message.source
        self._check(source)
        if message.offloaded is not None and not self._is_fifo:
            # Before it waits with others, which it is not to hold up; in order, it would be overtaken.
            loop = get_running_loop()
            await loop.run_in_executor(self._storing, store_payload, self.large_payloads, message)
            message = replace(message, offloaded=None)
        group = source.group_id if self._is_fifo else ""
        apart = source.trace_header if self._has_one_trace_header else ""
        return await self._gathering.publish(message, self._read_current()[1], group=group, apart=apart)

    async def apublish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Do what `publish_batch` does in a running event loop, which is not blocked.

        Where it is cancelled, nobody knows how many of them went.
        """
        check_options(self.apublish_batch, options, PublishOptions)
        check_several(items)
        given, context = list(items), copy_context()

        def publish() -> list[str]:
            self._open()
            return context.run(self.publish_batch, given, **options)

        return await get_running_loop().run_in_executor(self._gathering.threads, publish)

    def apublish_stream(
        self,
        items: Items,
        *,
        raw: bool = False,
        in_flight: int = BATCHES_IN_FLIGHT,
        **options: Unpack[PublishOptions],
    ) -> AsyncIterator[Sent]:
        """Do what `publish_stream` does in a running event loop, which is not blocked: ``async for sent in …``.

        *items* may be an async iterable, too. Where you leave the loop early, nobody knows what became of the batches
        that are under way.
        """
        check_options(self.apublish_stream, options, PublishOptions)
        check_several(items, may_be_async=True)
        check_flag("raw", raw)
        check_whole("in_flight", in_flight, 1, 100)
        # As it is here: the stream may be read elsewhere.
        terms, current = self._terms(), self._read_current()

        def open_() -> tuple[BatchSender, int]:
            return self._make_sender(*current), in_flight if self._may_send_ahead else 1

        def prepare_chunk(chunk: Iterable[object], first: int) -> list[Entry]:
            outgoing = enumerate(as_outgoing(chunk, options), first)
            return [self._prepare(source, index, raw, terms) for index, source in outgoing]

        return send_stream(items, open_, prepare_chunk, max_size=self._max_size)

    def _publish(self, message: Prepared) -> str:
        self._check(message.source)
        return self._send_traced(message, *self._read_current())

    def _read_current(self) -> tuple[Spans | None, Any]:
        """Return what makes spans, and what is current here: for what is sent elsewhere."""
        spans = self._tracing.look()
        return spans, None if spans is None else spans.read_current()

    def _send_traced(self, message: Prepared, spans: Spans | None, parent: Any) -> str:
        if message.offloaded is not None:
            store_payload(self.large_payloads, message)
        if spans is None:
            return self._send_alone(message)
        span = spans.begin_send(self._place, parent)
        with span.calling(), span.ending():
            message_id = self._send_alone(*trace_all((message,), (span,), self._max_size))
            span.note_message(message_id)
            return message_id

    @cached_property
    def _gathering(self) -> Gathering:
        made = Gathering(self._open, self._send_calls, max_size=self._max_size)
        # Two threads that come at once are to have the same one.
        return self.__dict__.setdefault("_gathering", made)  # type: ignore[no-any-return]

    @cached_property
    def _storing(self) -> Threads:
        return self.__dict__.setdefault("_storing", Threads(AT_ONCE))  # type: ignore[no-any-return]

    def _open(self) -> tuple[float, int]:
        """Make the client; return how long a call takes at most, and how many may be made at once."""
        patience, at_once = read_patience(self.client), AT_ONCE if is_boto3(self.client) else 1
        self._gathering.threads.allow(at_once)
        return patience, at_once

    def _send_calls(self, calls: Sequence[Call]) -> Sequence[Answer]:
        """Send what waited at the same moment, and return what became of each."""
        spans = self._tracing.spans

        def send_alone(call: Call) -> str:
            return self._send_traced(call.message, spans, call.parent)

        make_sender = partial(self._make_sender, spans, [call.parent for call in calls])
        make_error = partial(make_client_error, self.client)
        return send_together(calls, make_sender, send_alone, count=self._measuring.count, make_error=make_error)

    def _send_alone(self, message: Prepared) -> str:
        measuring = self._measuring
        try:
            answer = measuring.call(lambda: Pending(lambda: self._send(message)), 1).result()
        except Exception as error:
            measuring.count((read_error(error),))
            too_large = describe_too_large(error, message)
            if too_large is None:
                raise
            raise too_large from error
        message_id = str(answer["MessageId"])
        measuring.count((EntryAnswer(message_id),))
        if message.span is not None:
            message.span.note_answer(answer)
        return message_id

    def _terms(self) -> Terms:
        """Return on which terms messages are prepared here and now."""
        # What goes along where a message has room for it, the most important ones first.
        offered = find_attributes(self.propagation.names) if self.propagation.names else NO_ATTRIBUTES
        payloads = self.large_payloads
        offloading = None if payloads is None else Offloading(payloads, lambda: self._is_fifo)
        message = current_message()
        identity = "" if message is None else find_identity(message)
        return {"max_size": self._max_size, "offered": offered, "offloading": offloading, "identity": identity}

    def _prepare(self, source: Outgoing, index: int, raw: bool, terms: Terms) -> Entry:
        try:
            self._check(source)
            return (prepare_raw if raw else prepare)(source, index=index, **terms)
        except EncodeError as error:
            return FailedEntry(index, source.payload, "EncodeError", str(error))

    def _make_sender(self, spans: Spans | None, parents: Any, count: Count | None = None) -> BatchSender:
        """Return what sends batches, each in a span below *parents*, or each message in one below its own of them."""
        from megaflow.wire.client import WireClient

        sender = partial(
            BatchSender,
            self._begin_batch,
            fifo=self._is_fifo,
            store=partial(store_payloads, self.large_payloads),
            ahead=isinstance(self.client, WireClient),
            sleep=self._sleep,
            note=count or self._measuring.count,
            patience=read_patience(self.client),
        )
        return sender() if spans is None else sender(trace=partial(self._trace, spans, parents))

    def _trace(self, spans: Spans, parents: Any, batch: Sequence[Prepared]) -> list[Prepared]:
        """Begin the span of a batch, below what was current where the publishing began, or one for each message."""
        begin = partial(spans.begin_send, self._place)
        if isinstance(parents, list):
            return trace_all(batch, [begin(parents[each.index]) for each in batch], self._max_size)
        return trace_all(batch, repeat(begin(parents, len(batch))), self._max_size)

    def _begin_batch(self, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
        pending, span = self._measuring.call(lambda: self._begin(batch, until), len(batch)), batch[0].span
        if span is not None:
            pending = pending.within(span.calling).map(partial(note_answer, batch))
        return pending.map(lambda answer: read_batch_answer(answer, batch))

    def _send_all(self, entries: Iterable[Entry], sender: BatchSender, in_flight: int) -> Iterator[Sent]:
        return send_all(entries, sender, max_size=self._max_size, in_flight=in_flight if self._may_send_ahead else 1)

    @property
    def _may_send_ahead(self) -> bool:
        """Whether a batch may go before the one ahead of it is answered."""
        return is_boto3(self.client) and not self._is_fifo

    @cached_property
    @abstractmethod
    def client(self) -> object:
        """The client that sends; raises `ConfigurationError` where there is no queue or topic, or no way to it."""

    @cached_property
    def _measuring(self) -> Measuring:
        return Measuring(self.outlets, self._place)

    @cached_property
    @abstractmethod
    def _place(self) -> Place:
        """Where it publishes to; raises as `client` does."""

    @property
    @abstractmethod
    def _address(self) -> str:
        """Where it sends, as an address or a name, which is not looked up."""

    @property
    @abstractmethod
    def _is_fifo(self) -> bool:
        """Whether messages of a group must arrive in order."""

    @property
    @abstractmethod
    def _has_one_trace_header(self) -> bool:
        """Whether all messages of a call have the same trace header, or none."""

    @abstractmethod
    def _check(self, source: Outgoing) -> None:
        """Raise `EncodeError` for what only another kind of place takes."""

    @abstractmethod
    def _send(self, message: Prepared) -> Mapping[str, Any]:
        """Send one message, and return the answer, which has its id."""

    @abstractmethod
    def _begin(self, batch: Sequence[Prepared], until: float) -> Pending[Mapping[str, Any]]:
        """Begin to send a batch, whose entries have their places in it as ids; see `begin_call`."""
