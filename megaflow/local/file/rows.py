"""Rows of the SQLite file: queues, topics and messages, written and read."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from megaflow.local.content import NO_ATTRIBUTES, Content, MessageAttribute
from megaflow.local.endpoints.posts import Post
from megaflow.local.recent import Remembered
from megaflow.local.stored_message import Attempt, MessageRecord, SentMessage, Stored
from megaflow.local.topic import LocalTopic, Publication, Subscription

if TYPE_CHECKING:
    from megaflow.local.account import Account
    from megaflow.local.hosted_queue import HostedQueue

Row = tuple[Any, ...]
Facts = dict[str, Any]

_QUEUE_SHIFT: Final = 40
"""A queue's number stands above the numbers of its messages in a key of SQLite's 63 bits."""

_POST: Final = tuple(field.name for field in fields(Post) if field.name not in ("content", "has_turn"))
_SUBSCRIPTION: Final = tuple(field.name for field in fields(Subscription) if field.init)


def key_of(queue: int, number: int) -> int:
    """Return the key of a message: its queue, then its number there."""
    return queue << _QUEUE_SHIFT | number


def keys_of(queue: int) -> tuple[int, int]:
    """Return the lowest and the highest key that messages of a queue can have."""
    return key_of(queue, 0), key_of(queue + 1, 0) - 1


def split_key(key: int) -> tuple[int, int]:
    """Return the numbers of the queue and the message of a key."""
    return key >> _QUEUE_SHIFT, key & (1 << _QUEUE_SHIFT) - 1


def message_row(key: int, record: MessageRecord) -> Row:
    """Return what never changes of a message."""
    stored, message = record.stored, record.stored.message
    content = message.content
    return (
        key,
        message.id,
        content.body,
        _write_attributes(content.attributes) if content.attributes else None,
        _write_attributes(content.system_attributes) if content.system_attributes else None,
        message.sent_at,
        message.group_id,
        message.deduplication_id,
        message.sequence_number,
        stored.source_arn,
        record.aged_from,
        record.delayed_to,
    )


def delivery_row(key: int, record: MessageRecord) -> Row:
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


def read_record(row: Row) -> MessageRecord:
    """Make a record of a row of messages with its row of deliveries behind it."""
    key, message_id, body, attributes, system, sent_at, group, deduplication, sequence, source, aged, delayed = row[:12]
    received, received_here, received_at, first_received_at, visible_at = row[12:]
    content = Content(body, _read_attributes(attributes), _read_system_attributes(system))
    message = SentMessage(message_id, content, sent_at, group, deduplication, sequence)
    stored = Stored(
        split_key(key)[1], message, received or 0, received_here or 0, received_at or 0.0, first_received_at, source
    )
    # What was ever received, or has waited, is delayed no more.
    return MessageRecord(stored, aged, delayed if received is None else None, visible_at)


def account_facts(account: Account) -> Facts:
    """Return what is known of an account besides its queues and topics."""
    return {
        "account_id": account.account_id,
        "region": account.region,
        "deleted_at": account.deleted_at,
        "moves": account.moves.facts(),
    }


def queue_facts(hosted: HostedQueue) -> Facts:
    """Return what is known of a queue besides its messages."""
    return {
        "name": hosted.name,
        "id": hosted.queue.id,
        "attributes": dict(hosted.queue.settings.shown),
        "tags": hosted.tags,
        "created_at": hosted.created_at,
        "modified_at": hosted.modified_at,
        "purged_at": hosted.purged_at,
    }


def restore_queue(hosted: HostedQueue, facts: Facts) -> None:
    """Let a queue be what ``queue_facts`` said of it, as far as its settings do not say it."""
    hosted.queue.id = facts["id"]
    hosted.tags = facts["tags"]
    hosted.created_at, hosted.modified_at = facts["created_at"], facts["modified_at"]
    hosted.purged_at = facts["purged_at"]


def topic_facts(topic: LocalTopic) -> Facts:
    """Return what is known of a topic."""
    return {
        "attributes": topic.attributes,
        "tags": topic.tags,
        "subscriptions": [{name: getattr(one, name) for name in _SUBSCRIPTION} for one in topic.subscriptions.values()],
        "next_number": topic.next_number,
    }


def restore_topic(topic: LocalTopic, facts: Facts) -> None:
    """Let a topic be what ``topic_facts`` said of it, as far as its attributes do not say it."""
    topic.tags = facts["tags"]
    topic.subscriptions = {one["arn"]: Subscription(**one) for one in facts["subscriptions"]}
    topic.next_number = facts["next_number"]


def post_facts(post: Post) -> str:
    """Write down what is to be delivered over HTTP."""
    content = post.content
    facts = {name: getattr(post, name) for name in _POST}
    attributes = [_write_attributes(each) for each in (content.attributes, content.system_attributes)]
    return json.dumps({**facts, "content": [content.body, *attributes]})


def read_post(text: str) -> Post:
    """Read what ``post_facts`` wrote."""
    facts = json.loads(text)
    body, attributes, system = facts["content"]
    return Post(**{**facts, "content": Content(body, _read_attributes(attributes), _read_attributes(system))})


def sent_facts(remembered: Remembered[SentMessage]) -> str:
    """Write down what a FIFO queue was sent of late."""
    message = remembered.answer
    return json.dumps(
        (
            remembered.key,
            message.id,
            message.sent_at,
            message.group_id,
            message.deduplication_id,
            message.sequence_number,
        )
    )


def read_sent(text: str, ends_at: float) -> Remembered[SentMessage]:
    """Read what ``sent_facts`` wrote."""
    key, message_id, sent_at, *others = json.loads(text)
    return Remembered(tuple(key), SentMessage(message_id, Content(""), sent_at, *others), ends_at)


def attempt_facts(remembered: Remembered[tuple[Attempt, ...]]) -> str:
    """Write down an attempt to receive."""
    return json.dumps((remembered.key, [(one.number, one.serial, one.visible_at) for one in remembered.answer]))


def read_attempt(text: str, ends_at: float) -> Remembered[tuple[Attempt, ...]]:
    """Read what ``attempt_facts`` wrote."""
    key, answer = json.loads(text)
    return Remembered(key, tuple(Attempt(*one) for one in answer), ends_at)


def publication_facts(remembered: Remembered[Publication]) -> str:
    """Write down what a FIFO topic was sent of late."""
    publication = remembered.answer
    return json.dumps(
        (
            remembered.key,
            publication.subject,
            publication.group_id,
            publication.deduplication_id,
            publication.id,
            publication.published_at,
            publication.sequence_number,
        )
    )


def read_publication(text: str, ends_at: float) -> Remembered[Publication]:
    """Read what ``publication_facts`` wrote."""
    key, subject, group_id, deduplication_id, message_id, published_at, sequence_number = json.loads(text)
    publication = Publication(
        "",
        subject,
        group_id=group_id,
        deduplication_id=deduplication_id,
        id=message_id,
        published_at=published_at,
        sequence_number=sequence_number,
    )
    return Remembered(tuple(key), publication, ends_at)


def _write_attributes(attributes: Mapping[str, MessageAttribute]) -> str:
    return json.dumps({name: [one.data_type, *_write_value(one.value)] for name, one in attributes.items()})


def _write_value(value: str | bytes) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ("", b64encode(value).decode())


def _read_attributes(text: str | None) -> Mapping[str, MessageAttribute]:
    if text is None:
        return NO_ATTRIBUTES
    return {name: MessageAttribute(kind, _read_value(*value)) for name, (kind, *value) in json.loads(text).items()}


@lru_cache(64)
def _read_system_attributes(text: str | None) -> Mapping[str, MessageAttribute]:
    # One for all that have the same: of a million envelopes, each has the mark that it is yet to be signed.
    return MappingProxyType(dict(_read_attributes(text))) if text else NO_ATTRIBUTES


def _read_value(text: str, binary: str | None = None) -> str | bytes:
    return text if binary is None else b64decode(binary)
