"""The core's actions that are calls to the queue, carried out. Whatever they raise becomes an event."""

from __future__ import annotations

import logging
from collections.abc import Callable

from megaflow.consumer.words import (
    AskFailed,
    DeadLetter,
    Delete,
    Extend,
    Hide,
    Inspect,
    Inspected,
    Problem,
    Receive,
    Received,
    Settled,
    Settlement,
)
from megaflow.errors import StoreError
from megaflow.message import Message
from megaflow.settings import ConsumerSettings
from megaflow.sqs import Queue, is_over_limit, is_refusal

log = logging.getLogger(__name__)


def ask(queue: Queue, action: Inspect | Receive, settings: ConsumerSettings) -> Inspected | Received | AskFailed:
    """Ask the queue what it is, or for messages."""
    try:
        if isinstance(action, Inspect):
            return Inspected(queue.inspect())
        messages = queue.receive(
            action.count,
            wait_time_seconds=settings.wait_time_seconds,
            visibility_timeout=settings.visibility_timeout,
        )
        return Received(messages, action.poll)
    except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
        return AskFailed(error, is_refusal(error), is_over_limit(error), poll_of(action))


def settle(queue: Queue, action: Settlement, renew: Callable[[Message], None]) -> Settled:
    """Extend, delete, hide or dead-letter; *renew* is told of each message whose lease was extended."""
    handles = _handles(action)
    ids = dict(zip(handles, (message.id for message in action.messages), strict=True))
    try:
        match action:
            case Delete():
                failed = queue.delete(handles)
            case Hide(seconds=seconds) | Extend(seconds=seconds):
                failed = queue.hide(list(zip(handles, seconds, strict=True)))
            case DeadLetter(message, queue_url, origin):
                queue.send_dead_letter(queue_url, message, origin)
                failed = []
    except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
        refusal = error if is_refusal(error) else None
        problem = Problem(f"{type(error).__name__}: {error}", final=refusal is not None)
        return Settled(action, dict.fromkeys(ids.values(), problem), refusal)
    problems = {ids[each.receipt_handle]: Problem(f"{each.code}: {each.reason}", each.final) for each in failed}
    if isinstance(action, Extend):
        _renew([message for message in action.messages if message.id not in problems], renew)
    return Settled(action, problems)


def poll_of(action: Inspect | Receive) -> int:
    """Return by which number the question is known."""
    return action.poll if isinstance(action, Receive) else 0


def _handles(action: Settlement) -> list[str]:
    if isinstance(action, Extend):
        return list(action.receipt_handles)
    return [message.lease.receipt_handle for message in action.messages if message.lease is not None]


def _renew(messages: list[Message], renew: Callable[[Message], None]) -> None:
    for message in messages:
        try:
            renew(message)
        except StoreError as error:
            log.warning("message %s: its idempotency keys may be taken for free: %s", message.id, error)
