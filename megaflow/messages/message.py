"""`Message`: one received message, its SNS envelope opened, its body decoded; and its lease.

An SNS envelope: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from megaflow.errors import UsageError
from megaflow.event import Payload, serialize_payload
from megaflow.frozen import make_record
from megaflow.messages.attributes import Attribute, AttributeValue, plain_attributes
from megaflow.messages.codec import KIND_ATTRIBUTE, Decoded, Kind, decode
from megaflow.messages.envelope import SnsInfo, is_sns_envelope, read_envelope_attributes, read_sns_info
from megaflow.messages.models import is_model, read_model
from megaflow.messages.pointers import SIZE_ATTRIBUTES, Pointer, find_pointer
from megaflow.readable import write_readable

_DATA: Final = Kind.DATA
_TEXT: Final = Kind.TEXT

_ENVELOPES: Final = 4
"""How many envelopes in each other are opened."""


@dataclass(slots=True)
class Lease:
    """For how long SQS gives this message to nobody else. The consumer extends it while it has the message in hand."""

    receipt_handle: str
    """The receipt handle of this delivery."""

    received_at: float
    """When it was received, by the consumer's clock."""

    expires_at: float
    """When the visibility timeout ends, as far as it is extended by now."""

    clock: Callable[[], float] = field(repr=False, compare=False)
    """That clock, in seconds."""

    is_refused: bool = False
    """Whether SQS has said that the receipt handle is no longer good."""

    is_given_up: bool = False
    """Whether the consumer lets the message come again without waiting for its handlers."""

    trace: Any = field(default=None, repr=False, compare=False)
    """The trace of this delivery, where messages are traced; its owner is `megaflow.telemetry`."""

    @property
    def remaining(self) -> float:
        """Seconds until the visibility timeout ends, as far as it is extended by now; 0 once the lease is lost."""
        return 0.0 if self.is_refused or self.is_given_up else max(0.0, self.expires_at - self.clock())

    @property
    def lost(self) -> bool:
        """Whether somebody else may have the message by now. May be read from any thread.

        A long handler should look at it, and stop: its message comes again, whatever the handler still does.
        """
        return self.is_given_up or self.is_over(self.clock())

    def is_over(self, now: float) -> bool:
        """Tell whether the receipt handle is no longer good at *now*."""
        return self.is_refused or now >= self.expires_at

    def renew(self, lease: Lease) -> None:
        """Take over the *lease* of a later delivery of the same message."""
        self.receipt_handle, self.received_at = lease.receipt_handle, lease.received_at
        self.expires_at, self.is_refused = lease.expires_at, False


@dataclass(frozen=True)
class Message:
    """One received message. A handler gets it in a parameter that is annotated ``Message``."""

    id: str
    """The message id of SQS."""

    body: str
    """The body as it was received, with the SNS envelope where there is one."""

    kind: Kind
    """What the payload is."""

    payload: Any
    """What the body holds: a `Payload`, a dict, text or bytes."""

    problem: str = ""
    """Why the payload is only data or text: an event that breaks the protocol, an object that is nested too deeply, a
    pointer to S3. Else ``""``.
    """

    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    """The publisher's message attributes, as Python values; those inside the envelope where SNS has put one around the
    message.
    """

    receive_count: int = 1
    """How often SQS has delivered it, this time included."""

    sent_at: datetime | None = None
    """When SQS got it, in UTC."""

    group_id: str = ""
    """Its message group; ``""`` where it has none."""

    deduplication_id: str = ""
    """Its deduplication id; ``""`` where it has none."""

    sns: SnsInfo | None = None
    """What the SNS envelope says; None where there is none."""

    queue_url: str = ""
    """The URL of its queue; ``""`` where there is none."""

    lease: Lease | None = None
    """For how long nobody else gets it; None where there is no queue."""

    sqs_attributes: Mapping[str, Attribute] = field(default_factory=dict, repr=False)
    """The message attributes as SQS delivered them, with their types."""

    binary_encoding: bool = False
    """Whether the object travelled as BSON."""

    system_attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The attributes that SQS sets, by the names of its API:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
    """

    pointer: Pointer | None = None
    """Where the payload lay, outside of the message, whose body is a pointer to it; None where it came with it."""

    discards_payload: bool = field(default=False, repr=False)
    """Whether what lay there is deleted once the message was handled, and deleted."""

    @property
    def sequence_number(self) -> str:
        """The sequence number of SQS in a FIFO queue: later messages have higher ones. Elsewhere ``""``."""
        return self.system_attributes.get("SequenceNumber", "")

    @property
    def sender_id(self) -> str:
        """The id of the user, role or account that sent it; ``""`` where there is no queue."""
        return self.system_attributes.get("SenderId", "")

    @property
    def trace_header(self) -> str:
        """The X-Ray trace header that it was sent with; ``""`` where there is none."""
        return self.system_attributes.get("AWSTraceHeader", "")

    @property
    def dead_letter_source(self) -> str:
        """The ARN of the queue from which SQS has moved it to this dead-letter queue; ``""`` where SQS has not."""
        return self.system_attributes.get("DeadLetterQueueSourceArn", "")

    @property
    def has_payload(self) -> bool:
        """Whether there is something to handle. A confirmation of a subscription by SNS has no payload."""
        return self.sns is None or self.sns.is_notification

    def to_json(self) -> str:
        """Return the message as JSON text, for logs and tests of your own: all but body and lease, and nothing empty.

        In the payload, bytes are Base64, and dates ISO 8601. Raises `EncodeError` for a payload that cannot be sent.
        """
        known = {name: getattr(self, name) for name in _TOLD}
        known["payload"] = serialize_payload(self.payload) if isinstance(self.payload, Payload) else self.payload
        known["sns"] = self.sns and {name: value for name, value in asdict(self.sns).items() if value}
        return write_readable({name: value for name, value in known.items() if name == "payload" or value})

    def with_own_payload(self) -> Message:
        """Return the same message with a copy of the payload."""
        return replace(self, payload=_copy_payload(self.payload))


_TOLD: Final = (
    *("id", "kind", "payload", "problem", "attributes", "binary_encoding", "sns", "queue_url", "receive_count"),
    *("sent_at", "group_id", "deduplication_id", "sequence_number", "sender_id", "trace_header", "dead_letter_source"),
)


def open_message(
    body: str,
    *,
    id: str = "",
    sqs_attributes: Mapping[str, Attribute] | None = None,
    receive_count: int = 1,
    sent_at: datetime | None = None,
    group_id: str = "",
    deduplication_id: str = "",
    queue_url: str = "",
    lease: Lease | None = None,
    system_attributes: Mapping[str, str] | None = None,
) -> Message:
    """Return the message that was received as *body*: envelopes opened, payload decoded. Never raises."""
    carried = sqs_attributes or {}
    attributes = plain_attributes(carried) if carried else {}
    hint = attributes.get(KIND_ATTRIBUTE, "") if carried else ""
    decoded, sns = decode(body, hint), None
    if decoded.kind is _DATA and "TopicArn" in decoded.payload:
        decoded, attributes, sns, _ = _open_envelopes(_Opened(decoded, attributes, None, body))
    kind, payload, problem, binary_encoding = decoded
    if attributes or kind is _TEXT:
        problem = problem or find_pointer(payload, attributes)
    return make_record(
        Message,
        {
            "id": id,
            "body": body,
            "kind": kind,
            "payload": payload,
            "problem": problem,
            "attributes": attributes,
            "receive_count": receive_count,
            "sent_at": sent_at,
            "group_id": group_id,
            "deduplication_id": deduplication_id,
            "sns": sns,
            "queue_url": queue_url,
            "lease": lease,
            "sqs_attributes": carried,
            "binary_encoding": binary_encoding,
            "system_attributes": system_attributes or {},
        },
    )


def with_fetched(message: Message, text: str, pointer: Pointer, *, discards: bool = False) -> Message:
    """Return *message* with the payload that lay elsewhere, as *text*: envelopes opened, payload decoded.

    With *discards*, it is deleted with the message; but what a topic has sent may be wanted by other queues, too.
    """
    attributes = {name: each for name, each in message.attributes.items() if name not in SIZE_ATTRIBUTES}
    decoded = decode(text, attributes.get(KIND_ATTRIBUTE, ""))
    (kind, payload, problem, binary_encoding), attributes, sns, _ = _open_envelopes(
        _Opened(decoded, attributes, message.sns, text)
    )
    return replace(
        message,
        kind=kind,
        payload=payload,
        problem=problem or find_pointer(payload, attributes),
        binary_encoding=binary_encoding,
        attributes=attributes,
        sns=sns,
        pointer=pointer,
        discards_payload=discards and message.sns is None,
    )


def read_body(message: Message) -> str:
    """Return the body that the publisher sent: what is inside the envelopes, where SNS has put any around it."""
    if message.sns is None:
        return message.body
    attributes = plain_attributes(message.sqs_attributes)
    return _open_envelopes(_Opened(decode(message.body), attributes, None, message.body)).body


def message_with(payload: object) -> Message:
    """Return a message that holds *payload* as a handler would get it, without a queue.

    A dict is always data, whatever it says, and a model is the dict that would be sent; a `Message` is returned as it
    is. Raises `UsageError` for anything else.
    """
    if isinstance(payload, Message):
        return payload
    for type_, kind in ((Payload, Kind.MEGA), (dict, Kind.DATA), (str, Kind.TEXT), (bytes, Kind.BINARY)):
        if isinstance(payload, type_):
            return Message(id="", body="", kind=kind, payload=payload)
    if is_model(type(payload)):
        return Message(id="", body="", kind=_DATA, payload=read_model(payload))
    said = type(payload).__qualname__
    raise UsageError(f"a payload is a Payload, a dict, a model, a str, bytes or a Message, not {said}")


class _Opened(NamedTuple):
    """What is in a body, or in the envelope that it is."""

    decoded: Decoded
    attributes: dict[str, AttributeValue]
    sns: SnsInfo | None
    body: str


def _open_envelopes(opened: _Opened) -> _Opened:
    """Return what is in the innermost envelope, which shares nothing with those around it."""
    for _ in range(_ENVELOPES):
        kind, payload, *_ = opened.decoded
        if kind is not _DATA or opened.attributes.get(KIND_ATTRIBUTE) == _DATA or not is_sns_envelope(payload):
            break
        opened = _open_envelope(payload)
    return opened


def _open_envelope(envelope: Mapping[str, Any]) -> _Opened:
    sns, body = read_sns_info(envelope), envelope["Message"]
    attributes = plain_attributes(read_envelope_attributes(envelope))
    if not sns.is_notification:
        return _Opened(Decoded(Kind.TEXT, body), attributes, sns, body)
    return _Opened(decode(body, attributes.get(KIND_ATTRIBUTE, "")), attributes, sns, body)


def _copy_payload(payload: Any) -> Any:
    if not isinstance(payload, Payload):
        return _copy_value(payload)
    event, subject = payload.event, payload.object
    return Payload(
        event=replace(event, attributes=_copy_value(event.attributes)),
        object=subject
        and replace(subject, current=_copy_value(subject.current), previous=_copy_value(subject.previous)),
        extra=_copy_value(payload.extra),
    )


def _copy_value(value: Any) -> Any:
    """Return *value* with dicts and lists of its own, whatever is left of the stack."""
    holder = [value]
    todo: list[Any] = [holder]
    while todo:
        container = todo.pop()
        for key, each in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(each, dict | list):
                container[key] = each.copy()
                todo.append(container[key])
    return holder[0]
