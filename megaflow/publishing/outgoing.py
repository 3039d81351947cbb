"""Outgoing messages: encoded, and checked against the limits of SQS and SNS before any call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypedDict

from megaflow import limits
from megaflow.errors import EncodeError, UsageError
from megaflow.event import Payload
from megaflow.frozen import make_record
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import KIND_ATTRIBUTE, encode
from megaflow.messages.models import is_model
from megaflow.transport.entries import measure, write_attributes

AttributeInput: TypeAlias = str | int | float | Decimal | bytes | Attribute

_NO_ATTRIBUTES: Final[Mapping[str, Attribute]] = MappingProxyType({})
_VALUE_TYPES: Final[Mapping[str, type]] = {"String": str, "Number": str, "Binary": bytes}


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that can be sent as it is."""

    index: int
    source: Outgoing
    body: str
    attributes: Mapping[str, Attribute]
    size: int


def prepare(source: Outgoing, *, max_size: int, index: int = 0) -> Prepared:
    """Return *source* ready to be sent; raise `EncodeError` for what AWS would refuse."""
    encoded = encode(source.payload, binary_encoding=source.binary_encoding)
    attributes = _NO_ATTRIBUTES
    if source.attributes or encoded.hint:
        # One that came along from another message would have this one misread.
        attributes = {name: each for name, each in _read_attributes(source).items() if name != KIND_ATTRIBUTE}
        if encoded.hint:
            attributes[KIND_ATTRIBUTE] = Attribute("String", str(encoded.hint))
    if isinstance(source.payload, str | bytes | bytearray):
        # An object becomes JSON or Base64, which are never empty, and all of whose characters SQS takes.
        _check_text(encoded.body, "payload")
    return _finish(index, source, encoded.body, attributes, max_size)


def prepare_raw(source: Outgoing, *, max_size: int, index: int = 0) -> Prepared:
    """Return the text that is the payload of *source* ready to be sent as it is, without a hint."""
    body = source.payload
    if not isinstance(body, str):
        raise EncodeError(f"a raw message is text, not {type(body).__qualname__}", "body")
    attributes = _read_attributes(source)
    _check_text(body, "payload")
    return _finish(index, source, body, attributes, max_size)


def check_several(items: object) -> None:
    """Raise `UsageError` for a single payload, which Python would take apart."""
    if isinstance(items, str | bytes | bytearray | dict | Payload | Outgoing) or is_model(type(items)):
        raise UsageError(f"this takes several payloads, not one {type(items).__qualname__}: publish() it")


def as_outgoing(items: Iterable[object], options: PublishOptions) -> Iterator[Outgoing]:
    """Give *items*, payloads or `Outgoing`, as the latter; *options* are what the payloads have in common."""
    common = vars(Outgoing(None, **options))
    for item in items:
        yield item if isinstance(item, Outgoing) else make_record(Outgoing, {**common, "payload": item})


def prepare_all(items: Iterable[Outgoing], *, max_size: int, check: Callable[[Outgoing], None]) -> list[Prepared]:
    """Return all of *items* ready to be sent.

    *check* raises `EncodeError` for what their destination does not take. Nothing has been sent when one of them
    raises it; the error names the entry.
    """
    prepared = []
    for index, source in enumerate(items):
        try:
            prepared.append(prepare(source, max_size=max_size, index=index))
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


def _read_attributes(source: Outgoing) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {}
    for name, value in source.attributes.items():
        path = f"attributes.{name}"
        if not isinstance(name, str) or not limits.allows_attribute_name(name):
            raise EncodeError("a name is up to 256 letters, digits, '_', '-' and single dots inside, not 'AWS.'", path)
        attributes[name] = value if isinstance(value, Attribute) else _make_attribute(value, path)
        _check_attribute(attributes[name], path)
    return attributes


def _make_attribute(value: str | int | float | Decimal | bytes, path: str) -> Attribute:
    if isinstance(value, str):
        return Attribute("String", value)
    if isinstance(value, bytes):
        return Attribute("Binary", value)
    # By way of Decimal, which takes whole numbers of any length and numbers that are none.
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite():
        return Attribute("Number", repr(float(value)) if isinstance(value, float) else str(Decimal(value)))
    raise EncodeError(f"{value!r} is no text, number or bytes", path)


def _check_attribute(attribute: Attribute, path: str) -> None:
    base = str(attribute.type).partition(".")[0]
    if base not in _VALUE_TYPES or not isinstance(attribute.value, _VALUE_TYPES[base]):
        raise EncodeError(f"{attribute!r} is neither a String or Number of text nor a Binary of bytes", path)
    if isinstance(attribute.value, str):
        _check_text(attribute.value, path)
    elif not attribute.value:
        raise EncodeError("is empty, and AWS takes no empty value", path)


def _finish(index: int, source: Outgoing, body: str, attributes: Mapping[str, Attribute], max_size: int) -> Prepared:
    """Refuse what AWS would refuse, before any call to it."""
    size = measure(body, attributes)
    if len(attributes) > limits.MESSAGE_ATTRIBUTES:
        raise EncodeError(
            f"{len(attributes)} message attributes are more than {limits.MESSAGE_ATTRIBUTES}", "attributes"
        )
    if size > max_size:
        raise EncodeError(
            f"{size:,} bytes with its attributes are more than the {max_size:,} allowed; "
            "send a reference to what is large",
            "payload",
        )
    _check_delivery(source)
    return Prepared(index, source, body, attributes, size)


def _check_text(text: str, path: str) -> None:
    if not text:
        raise EncodeError("is empty, and AWS takes no empty text", path)
    refused = limits.refused_character(text)
    if refused is not None:
        raise EncodeError(f"holds {refused!r}, a character that SQS refuses; send bytes, or JSON", path)


def _check_delivery(source: Outgoing) -> None:
    delay = source.delay_seconds
    if delay is not None and (isinstance(delay, bool) or not isinstance(delay, int) or not 0 <= delay <= limits.DELAY):
        raise EncodeError(f"{delay!r} is no whole number from 0 to {limits.DELAY}", "delay_seconds")
    for name in ("group_id", "deduplication_id"):
        value = getattr(source, name)
        if value not in ("", None) and not (isinstance(value, str) and limits.allows_group_id(value)):
            raise EncodeError(f"{value!r} is not up to {limits.GROUP_ID_LENGTH} printable ASCII characters", name)
