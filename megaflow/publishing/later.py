"""Later: messages that are encoded and checked for a publisher now, and sent by somebody who has stored them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from megaflow.messages.attributes import Attribute
from megaflow.publishing.batches import EntryAnswer
from megaflow.publishing.outgoing import Outgoing, Prepared, prepare, trace_all
from megaflow.publishing.publisher import Publisher
from megaflow.wire.patience import read_patience
from megaflow.wire.pending import Pending


def encode_for(publisher: Publisher, source: Outgoing) -> Prepared:
    """Return *source* as *publisher* would send it now; raise `EncodeError` for what it would refuse.

    What goes along from the message in hand, and the trace, are those of this moment.
    """
    message = prepare(source, max_size=max_size_of(publisher), offered=publisher._offer())  # noqa: SLF001 - one room
    publisher._check(source)  # noqa: SLF001
    spans, parent = publisher._read_current()  # noqa: SLF001
    if spans is None:
        return message
    with (span := spans.begin_send(publisher._place, parent)).ending():  # noqa: SLF001
        (traced,) = trace_all((message,), (span,), max_size_of(publisher))
        return replace(traced, span=None)


def is_fifo(publisher: Publisher) -> bool:
    """Tell whether messages of a group arrive in order where *publisher* sends them."""
    return publisher._is_fifo  # noqa: SLF001


def max_size_of(publisher: Publisher) -> int:
    """Return the bytes that a message, and a batch, may have there."""
    return publisher._max_size  # noqa: SLF001


def patience_of(publisher: Publisher) -> float:
    """Return how many seconds a call may take. The first one makes the client."""
    return read_patience(publisher.client)


def begin_batch(publisher: Publisher, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
    """Begin to send *batch*, once, until a time of the monotonic clock; whatever goes wrong comes with the answer."""
    return publisher._begin_batch(batch, until)  # noqa: SLF001


def count_answers(publisher: Publisher, answers: Iterable[EntryAnswer]) -> None:
    """Tell the metrics what became of messages in the end."""
    publisher._measuring.count(answers)  # noqa: SLF001


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
