"""Outgoing messages: encoded, and checked against the limits of SQS and SNS before any call."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Final, TypedDict

from megaflow import limits
from megaflow.checks import show
from megaflow.errors import EncodeError, UsageError
from megaflow.event import Payload
from megaflow.frozen import make_record
from megaflow.logs import get_logger
from megaflow.messages.attributes import Attribute, AttributeInput, check_text, read_attributes
from megaflow.messages.codec import KIND_ATTRIBUTE, encode
from megaflow.messages.identity import ID_ATTRIBUTE
from megaflow.messages.models import is_model
from megaflow.telemetry.trace_header import allows_trace_header
from megaflow.transport.entries import measure, write_attributes

if TYPE_CHECKING:
    from megaflow.publishing.offloading import Offloaded, Offloading
    from megaflow.telemetry.otel_spans import SendSpan

log = get_logger(__name__)

NO_ATTRIBUTES: Final[Mapping[str, Attribute]] = MappingProxyType({})


class PublishOptions(TypedDict, total=False):
    """What can be said of a message beside its payload."""

    binary_encoding: bool
    """Send an object as BSON in Base64, in place of JSON."""

    attributes: Mapping[str, AttributeInput]
    """Message attributes by name, at most ten: text, numbers, bytes, or an `Attribute`."""

    delay_seconds: int | None
    """Standard queues: how long the message stays invisible, up to 900. None leaves it to the queue."""

    group_id: str
    """The message group. FIFO queues and topics need one."""

    deduplication_id: str
    """FIFO: a second message with the same id within five minutes is not delivered."""

    subject: str
    """Topics: the subject of e-mails, and a field of the envelope."""

    trace_header: str
    """AWS's trace header, ``Root=1-…;Parent=…;Sampled=…``, in place of that of the span in which this is sent."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A payload with options of its own, for `App.publish_batch` and `App.publish_stream`."""

    payload: Any = field(kw_only=False)
    """A `Payload`, a dict, text, bytes, a pydantic model or a dataclass."""

    binary_encoding: bool = False
    """Send an object as BSON in Base64, in place of JSON."""

    attributes: Mapping[str, AttributeInput] = field(default_factory=dict)
    """Message attributes by name, at most ten: text, numbers, bytes, or an `Attribute`."""

    delay_seconds: int | None = None
    """Standard queues: how long the message stays invisible, up to 900. None leaves it to the queue."""

    group_id: str = ""
    """The message group. FIFO queues and topics need one."""

    deduplication_id: str = ""
    """FIFO: a second message with the same id within five minutes is not delivered."""

    subject: str = ""
    """Topics: the subject of e-mails, and a field of the envelope."""

    trace_header: str = ""
    """AWS's trace header, ``Root=1-…;Parent=…;Sampled=…``, in place of that of the span in which this is sent."""


class Terms(TypedDict):
    """On which terms messages are prepared."""

    max_size: int
    """How many bytes a message may have."""

    offered: Mapping[str, Attribute]
    """Attributes that go along as far as a message has room for them, the first ones first."""

    offloading: Offloading | None
    """What puts elsewhere what is too large; None refuses it."""

    identity: str
    """The ``megaflow-id`` of the message in hand: it is that one's alone."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that can be sent as it is."""

    index: int
    source: Outgoing
    body: str
    attributes: Mapping[str, Attribute]
    size: int
    trace_header: str = ""
    span: SendSpan | None = None
    """The span in which it is sent, where there is one."""

    offloaded: Offloaded | None = None
    """What has to be put elsewhere before it is sent, as its body is a pointer to that; None mostly."""


def prepare(
    source: Outgoing,
    *,
    max_size: int,
    index: int = 0,
    offered: Mapping[str, Attribute] = NO_ATTRIBUTES,
    offloading: Offloading | None = None,
    identity: str = "",
) -> Prepared:
    """Return *source* ready to be sent; raise `EncodeError` for what AWS would refuse.

    With *offloading*, a payload that is too large goes elsewhere. The attributes that are *offered* go along as far as
    there is room for them, the first ones first.
    """
    encoded = encode(source.payload, binary_encoding=source.binary_encoding)
    attributes = NO_ATTRIBUTES
    if source.attributes or encoded.hint:
        own = _read_own(source, identity)
        # One that came along from another message would have this one misread.
        own.pop(KIND_ATTRIBUTE, None)
        if encoded.hint:
            own[KIND_ATTRIBUTE] = Attribute("String", str(encoded.hint))
        attributes = own
    if isinstance(source.payload, str | bytes | bytearray):
        # An object becomes JSON or Base64, which are never empty, and all of whose characters SQS takes.
        check_text(encoded.body, "payload")
    return _finish(index, source, encoded.body, attributes, max_size, offered, offloading)


def prepare_raw(
    source: Outgoing,
    *,
    max_size: int,
    index: int = 0,
    offered: Mapping[str, Attribute] = NO_ATTRIBUTES,
    offloading: Offloading | None = None,
    identity: str = "",
) -> Prepared:
    """Return the text that is the payload of *source* ready to be sent as it is, without a hint."""
    body = source.payload
    if not isinstance(body, str):
        raise EncodeError(f"a raw message is text, not {type(body).__qualname__}", "body")
    if source.binary_encoding:
        raise EncodeError("is for objects, and a raw message goes as it is", "binary_encoding")
    attributes = _read_own(source, identity)
    check_text(body, "payload")
    return _finish(index, source, body, attributes, max_size, offered, offloading)


def _read_own(source: Outgoing, identity: str) -> dict[str, Attribute]:
    """Return the attributes of *source*, without the *identity* of another message that they came along from.

    An inbox would take this one for that one, and skip it.
    """
    attributes = read_attributes(source.attributes or {}, "attributes")
    if identity and ID_ATTRIBUTE in attributes and attributes[ID_ATTRIBUTE].value == identity:
        del attributes[ID_ATTRIBUTE]
    return attributes


def check_several(items: object, *, may_be_async: bool = False) -> None:
    """Raise `UsageError` for a single payload, which Python would take apart, and for what holds no items at all."""
    if not may_be_async and isinstance(items, AsyncIterable):
        raise UsageError(
            f"items={show(items)} is asynchronous, and a plain for goes through it here: use apublish_stream(items)"
        )
    if isinstance(items, str | bytes | bytearray | dict | Payload | Outgoing) or is_model(type(items)):
        raise UsageError(f"this takes several payloads, not one {type(items).__qualname__}: publish() it")
    if not (isinstance(items, Iterable | AsyncIterable) or hasattr(type(items), "__getitem__")):
        raise UsageError(f"items={show(items)} must be several payloads: a list, or anything to go through with for")


def as_outgoing(items: Iterable[object], options: PublishOptions) -> Iterator[Outgoing]:
    """Give *items*, payloads or `Outgoing`, as the latter; *options* are what the payloads have in common."""
    common = vars(Outgoing(None, **options))
    for item in items:
        yield item if isinstance(item, Outgoing) else make_record(Outgoing, {**common, "payload": item})


def prepare_all(
    items: Iterable[Outgoing],
    *,
    max_size: int,
    check: Callable[[Outgoing], None],
    offered: Mapping[str, Attribute] = NO_ATTRIBUTES,
    offloading: Offloading | None = None,
    identity: str = "",
) -> list[Prepared]:
    """Return all of *items* ready to be sent, as `prepare` does.

    *check* raises `EncodeError` for what their destination does not take. Nothing has been sent when one of them
    raises it; the error names the entry.
    """
    prepared = []
    for index, source in enumerate(items):
        try:
            terms: Terms = {"max_size": max_size, "offered": offered, "offloading": offloading, "identity": identity}
            prepared.append(prepare(source, index=index, **terms))
            check(source)
        except EncodeError as error:
            raise EncodeError(error.reason, f"entry {index}: {error.path}".removesuffix(": ")) from error
    return prepared


def write_options(message: Prepared) -> dict[str, Any]:
    """Return what goes with the body of *message* as boto3 takes it, for SQS and SNS alike."""
    written: dict[str, Any] = {}
    if message.attributes:
        written["MessageAttributes"] = write_attributes(message.attributes)
    if message.source.group_id:
        written["MessageGroupId"] = message.source.group_id
    if message.source.deduplication_id:
        written["MessageDeduplicationId"] = message.source.deduplication_id
    return written


def _finish(
    index: int,
    source: Outgoing,
    body: str,
    attributes: Mapping[str, Attribute],
    max_size: int,
    offered: Mapping[str, Attribute],
    offloading: Offloading | None,
) -> Prepared:
    """Refuse what AWS would refuse, before any call to it."""
    size, offloaded = measure(body, attributes), None
    if size > max_size and offloading is not None:
        slimmed = offloading.slim(source, body, attributes)
        source, body, attributes, offloaded = slimmed.source, slimmed.body, slimmed.attributes, slimmed.offloaded
        size = measure(body, attributes)
    if len(attributes) > limits.MESSAGE_ATTRIBUTES:
        raise EncodeError(
            f"{len(attributes)} message attributes are more than {limits.MESSAGE_ATTRIBUTES}", "attributes"
        )
    if size > max_size:
        raise EncodeError(
            f"{size:,} bytes with its attributes are more than the {max_size:,} allowed; "
            "send a reference to what is large, or let large_payloads= put it elsewhere",
            "payload",
        )
    _check_delivery(source)
    if offered:
        attributes, size = _take_along(attributes, size, offered, max_size)
    return Prepared(index, source, body, attributes, size, source.trace_header, offloaded=offloaded)


def trace_all(messages: Sequence[Prepared], spans: Iterable[SendSpan], max_size: int) -> list[Prepared]:
    """Return *messages* with what lets the receiver of each continue its span, as far as *max_size* bytes have room."""
    traced, room = [], max_size - sum(message.size for message in messages)
    for each, span in zip(messages, spans, strict=False):
        attributes, size = _take_along(each.attributes, each.size, span.offered, each.size + room)
        header = each.trace_header or span.trace_header
        traced.append(Prepared(each.index, each.source, each.body, attributes, size, header, span, each.offloaded))
        room -= size - each.size
    return traced


def _take_along(
    attributes: Mapping[str, Attribute], size: int, offered: Mapping[str, Attribute], max_size: int
) -> tuple[Mapping[str, Attribute], int]:
    """Return *attributes* with what there is room for of those *offered*, and the *size* with them.

    One place stays free: SNS's raw delivery loses a message that has more attributes than SQS takes, and a dead letter
    needs one for its origin.
    """
    taken = dict(attributes)
    for name, attribute in offered.items():
        if name in taken:
            continue
        larger = size + measure("", {name: attribute})
        if len(taken) < limits.MESSAGE_ATTRIBUTES - 1 and larger <= max_size:
            taken[name], size = attribute, larger
        else:
            _tell_left_out(name)
    return taken, size


@cache
def _tell_left_out(name: str) -> None:
    text = (
        "a message had no room for the attribute %s, which was to go along with it: of its %d attributes one stays "
        "free; this is said once"
    )
    log.warning(text, name, limits.MESSAGE_ATTRIBUTES)


def _check_delivery(source: Outgoing) -> None:
    delay = source.delay_seconds
    if delay is not None and (isinstance(delay, bool) or not isinstance(delay, int) or not 0 <= delay <= limits.DELAY):
        raise EncodeError(f"{delay!r} is no whole number from 0 to {limits.DELAY}", "delay_seconds")
    if not isinstance(source.trace_header, str | NoneType):
        raise EncodeError(f"{source.trace_header!r} is no text", "trace_header")
    if not isinstance(source.binary_encoding, bool | NoneType):
        raise EncodeError(f"{source.binary_encoding!r} is neither True nor False", "binary_encoding")
    if source.trace_header and not allows_trace_header(source.trace_header):
        raise EncodeError(f"{source.trace_header!r} is not 'Root=1-…;Parent=…;Sampled=…' as AWS has it", "trace_header")
    for name in ("group_id", "deduplication_id"):
        value = getattr(source, name)
        if value not in ("", None) and not (isinstance(value, str) and limits.allows_group_id(value)):
            raise EncodeError(f"{value!r} is not up to {limits.GROUP_ID_LENGTH} printable ASCII characters", name)
