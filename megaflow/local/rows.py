"""Between what an account holds and the rows of its file."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from megaflow.local.content import NO_ATTRIBUTES, Attribute, Content
from megaflow.local.recent import Remembered
from megaflow.local.stored import Attempt, Message, Record, Stored

Row = tuple[Any, ...]

_QUEUE_SHIFT: Final = 40
"""A queue's number stands above the numbers of its messages in a key of SQLite's 63 bits."""


def key_of(queue: int, number: int) -> int:
    """Return the key of a message: its queue, then its number there."""
    return queue << _QUEUE_SHIFT | number


def keys_of(queue: int) -> tuple[int, int]:
    """Return the lowest and the highest key that messages of a queue can have."""
    return key_of(queue, 0), key_of(queue + 1, 0) - 1


def split_key(key: int) -> tuple[int, int]:
    """Return the numbers of the queue and the message of a key."""
    return key >> _QUEUE_SHIFT, key & (1 << _QUEUE_SHIFT) - 1


def message_row(key: int, record: Record) -> Row:
    """Return what never changes of a message."""
    stored, message = record.stored, record.stored.message
    return (
        key,
        message.id,
        message.content.body,
        _write_attributes(message.content.attributes),
        _write_attributes(message.content.system_attributes),
        message.sent_at,
        message.group_id,
        message.deduplication_id,
        message.sequence_number,
        stored.source_arn,
        record.aged_from,
        record.delayed_to,
    )


def delivery_row(key: int, record: Record) -> Row:
    """Return what became of a message by being received."""
    stored = record.stored
    return (
        key,
        stored.receive_count,
        stored.received_here,
        stored.received_at,
        stored.first_received_at,
        record.visible_at,
    )


def read_record(row: Row) -> Record:
    """Make a record of a row of messages with its row of deliveries behind it."""
    key, message_id, body, attributes, system, sent_at, group, deduplication, sequence, source, aged, delayed = row[:12]
    received, received_here, received_at, first_received_at, visible_at = row[12:]
    content = Content(body, _read_attributes(attributes), _read_attributes(system))
    message = Message(message_id, content, sent_at, group, deduplication, sequence)
    stored = Stored(
        split_key(key)[1], message, received or 0, received_here or 0, received_at or 0.0, first_received_at, source
    )
    return Record(stored, aged, delayed, visible_at)


def write_sent(remembered: Remembered[Message]) -> Row:
    """Return key, answer and end of what a FIFO queue was sent of late."""
    message = remembered.answer
    answer = [message.id, message.sent_at, message.group_id, message.deduplication_id, message.sequence_number]
    return json.dumps(remembered.key), json.dumps(answer), remembered.ends_at


def read_sent(row: Row) -> Remembered[Message]:
    """Read what ``write_sent`` wrote."""
    key, answer, ends_at = row
    message_id, sent_at, *others = json.loads(answer)
    return Remembered(tuple(json.loads(key)), Message(message_id, Content(""), sent_at, *others), ends_at)


def write_attempts(remembered: Remembered[tuple[Attempt, ...]]) -> Row:
    """Return key, answer and end of an attempt to receive."""
    answer = [(one.number, one.serial, one.visible_at) for one in remembered.answer]
    return remembered.key, json.dumps(answer), remembered.ends_at


def read_attempts(row: Row) -> Remembered[tuple[Attempt, ...]]:
    """Read what ``write_attempts`` wrote."""
    key, answer, ends_at = row
    return Remembered(key, tuple(Attempt(*one) for one in json.loads(answer)), ends_at)


def _write_attributes(attributes: Mapping[str, Attribute]) -> str | None:
    if not attributes:
        return None
    return json.dumps({name: [one.data_type, *_write_value(one.value)] for name, one in attributes.items()})


def _write_value(value: str | bytes) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ("", b64encode(value).decode())


def _read_attributes(text: str | None) -> Mapping[str, Attribute]:
    if text is None:
        return NO_ATTRIBUTES
    return {name: Attribute(kind, _read_value(*value)) for name, (kind, *value) in json.loads(text).items()}


def _read_value(text: str, binary: str | None = None) -> str | bytes:
    return text if binary is None else b64decode(binary)
