"""Later: messages that are encoded and checked for a publisher now, and sent by somebody who has stored them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from megaflow.messages.attributes import Attribute
from megaflow.publishing.batches import EntryAnswer
from megaflow.publishing.offloading import store_payload
from megaflow.publishing.outgoing import Outgoing, Prepared, prepare, trace_all
from megaflow.publishing.publisher import Publisher
from megaflow.publishing.sns import SnsPublisher
from megaflow.telemetry import conventions
from megaflow.transport.addresses import read_address
from megaflow.wire.pending import Pending


def encode_for(publisher: Publisher, source: Outgoing) -> Prepared:
    """Return *source* as *publisher* would send it now; raise `EncodeError` for what it would refuse.

    What goes along from the message in hand, and the trace, are those of this moment.
    """
    message = prepare(source, **publisher._terms())  # noqa: SLF001 - one room
    publisher._check(source)  # noqa: SLF001
    spans, parent = publisher._read_current()  # noqa: SLF001
    if spans is None:
        return message
    with (span := spans.begin_send(publisher._place, parent)).ending():  # noqa: SLF001
        (traced,) = trace_all((message,), (span,), max_size_of(publisher))
        return replace(traced, span=None)


def store_for(publisher: Publisher, message: Prepared) -> None:
    """Put the payload of *message* where its pointer says, if it has any; raise `PublishError` where that fails."""
    store_payload(publisher.large_payloads, message)


def name_destination(publisher: Publisher) -> str:
    """Return where *publisher* sends, such as ``queue orders``: nothing is looked up."""
    kind = "topic" if isinstance(publisher, SnsPublisher) else "queue"
    return f"{kind} {read_address(publisher._address).name}"  # noqa: SLF001 - one room


def is_fifo(publisher: Publisher) -> bool:
    """Tell whether messages of a group arrive in order where *publisher* sends them."""
    return publisher._is_fifo  # noqa: SLF001


def max_size_of(publisher: Publisher) -> int:
    """Return the bytes that a message, and a batch, may have there."""
    return publisher._max_size  # noqa: SLF001


def begin_batch(publisher: Publisher, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
    """Begin to send *batch*, once, until a time of the monotonic clock; whatever goes wrong comes with the answer."""
    return publisher._begin_batch(batch, until)  # noqa: SLF001


def count_answers(publisher: Publisher, answers: Iterable[EntryAnswer]) -> None:
    """Tell the metrics what became of messages in the end."""
    publisher._measuring.count(answers)  # noqa: SLF001


def count_parked(publisher: Publisher, count: int) -> None:
    """Tell the metrics how many messages of an outbox AWS refuses."""
    publisher.outlets.note(_queue_of(publisher), {("parked",): count})


def wants_age(publisher: Publisher) -> bool:
    """Tell whether anybody wants to know how long an outbox has waited."""
    publisher.outlets.look()
    return publisher.outlets.are_told_all


def tell_age(publisher: Publisher, age: float) -> None:
    """Tell the metrics how long the oldest message of an outbox has waited."""
    publisher.outlets.gauge(_queue_of(publisher), "outbox_age", age)


def _queue_of(publisher: Publisher) -> str:
    """Return the name of the queue that is published to; ``""`` where it is a topic."""
    place = publisher._place  # noqa: SLF001
    return "" if place.system == conventions.SNS else place.name


def write_options(message: Prepared) -> str:
    """Return all of *message* but its body, as text for `read_message`."""
    source = message.source
    attributes = {name: _write_attribute(each) for name, each in message.attributes.items()}
    options = {
        "attributes": attributes,
        "delay_seconds": source.delay_seconds,
        "group_id": source.group_id,
        "deduplication_id": source.deduplication_id,
        "subject": source.subject,
        "trace_header": message.trace_header,
    }
    return json.dumps({name: value for name, value in options.items() if value not in (None, "", {})})


def read_message(body: str, options: str, size: int) -> Prepared:
    """Return the message with this *body*, and the *options* that `write_options` gave."""
    said: dict[str, Any] = json.loads(options)
    attributes = {name: _read_attribute(each) for name, each in said.pop("attributes", {}).items()}
    header = said.pop("trace_header", "")
    return Prepared(0, Outgoing(None, **said), body, attributes, size, header)


def _write_attribute(attribute: Attribute) -> Mapping[str, str]:
    value = attribute.value
    return {"type": attribute.type} | (
        {"base64": b64encode(value).decode()} if isinstance(value, bytes) else {"text": value}
    )


def _read_attribute(said: Mapping[str, str]) -> Attribute:
    return Attribute(said["type"], b64decode(said["base64"]) if "base64" in said else said["text"])
