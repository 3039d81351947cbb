"""Aids for tests: everything forgotten at once, and all messages of a queue seen without receiving them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from megaflow.errors import UsageError
from megaflow.local.content import show_attributes
from megaflow.local.faults import Faults
from megaflow.local.refused import Refused
from megaflow.local.stored_message import MessageRecord

if TYPE_CHECKING:
    from megaflow.local.account import Account
    from megaflow.local.hosted_queue import HostedQueue


@dataclass(frozen=True, slots=True)
class PeekedMessage:
    """A message in a queue, as it is without being received."""

    id: str
    """What SQS gave it."""

    body: str
    """Its text. What a topic wrote is signed only once somebody receives it."""

    attributes: dict[str, dict[str, Any]]
    """As boto3 gives them."""

    state: Literal["visible", "in flight", "delayed"]
    """Whether it can be received, was received and is hidden, or is yet to come."""

    until: float | None
    """When it can be received, in seconds since the epoch; None where that is now."""

    sent_at: float
    """In seconds since the epoch."""

    receive_count: int
    """How often it was received, in all queues it was in."""

    group_id: str | None = None
    """Its message group."""

    deduplication_id: str | None = None
    """What tells it from a duplicate, on a FIFO queue."""

    sequence_number: str | None = None
    """Its place, on a FIFO queue."""


def reset(account: Account, queue: str | None = None) -> None:
    """Forget all of an account, and make what was declared; or the messages of one *queue*, with what it knows."""
    with account.turn():
        if queue is None:
            _forget_all(account)
        else:
            _forget_messages(account, _find(account, queue))


def _forget_all(account: Account) -> None:
    """Forget queues, topics, tasks, faults, warnings, and what was deleted of late; make what was declared."""
    for hosted in list(account.queues.values()):
        del account.queues[hosted.name]
        account.moves.forget(hosted.queue.arn)
        account.touch(hosted)
    for arn in list(account.topics):
        account.delete_topic(arn)
    account.posts.forget(lambda post: True)
    account.deleted_at.clear()
    account.touched.account = True
    account.faults = Faults()
    account.warnings.forget()
    account.declared()


def _forget_messages(account: Account, hosted: HostedQueue) -> None:
    """Forget what a queue was sent, that it was purged, and warnings about it."""
    hosted.queue.purge()
    hosted.purged_at = None
    account.warnings.forget(hosted.queue.arn)
    account.touch(hosted)


def peek(account: Account, queue: str) -> list[PeekedMessage]:
    """Return all messages of a queue in the order of sending."""
    with account.turn():
        return _peek(_find(account, queue))


def _find(account: Account, queue: str) -> HostedQueue:
    try:
        return account.queue(queue)
    except Refused as refused:
        raise UsageError(f"there is no queue {queue!r} in account {account.account_id}, {account.region}") from refused


def _peek(hosted: HostedQueue) -> list[PeekedMessage]:
    messages = hosted.queue.messages
    return [_picture(record, messages.delay_from_sending()) for record in messages.records()]


def _picture(record: MessageRecord, delay: int) -> PeekedMessage:
    stored, message = record.stored, record.stored.message
    delayed_to = None if record.delayed_to is None else record.delayed_to + delay
    return PeekedMessage(
        id=message.id,
        body=message.content.body,
        attributes=show_attributes(message.content.attributes),
        state="visible" if record.is_waiting else "delayed" if record.visible_at is None else "in flight",
        until=delayed_to if record.visible_at is None else record.visible_at,
        sent_at=message.sent_at,
        receive_count=stored.receive_count,
        group_id=message.group_id,
        deduplication_id=message.deduplication_id,
        sequence_number=message.sequence_number,
    )
