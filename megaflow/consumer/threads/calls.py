"""The core's actions that are calls to the queue: begun, and waited for. Whatever they raise becomes an event."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

from megaflow.consumer.core.protocol import (
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
from megaflow.messages.message import Message
from megaflow.settings import ConsumerSettings
from megaflow.transport.errors import is_over_limit, is_refusal
from megaflow.transport.queue import Failed, Pending, Queue

log = logging.getLogger(__name__)

Answered: TypeAlias = Inspected | Received | AskFailed
Ended = TypeVar("Ended", covariant=True)


class Begun(Generic[Ended]):
    """A call to the queue that is under way, as far as the client can do that. For one thread at a time."""

    def __init__(self, finish: Callable[[], Ended], pending: Pending[Any] | None = None, *, poll: int = 0) -> None:
        self.poll: Final = poll
        """By which number a question is known."""

        self._pending = pending
        self._finish = finish

    @property
    def is_under_way(self) -> bool:
        """Whether something was sent, and only the answer is missing."""
        return self._pending is not None and self._pending.is_under_way

    @property
    def is_answered(self) -> bool:
        """Whether to wait for its end takes no time, unless it is an error."""
        return self._pending is not None and self._pending.is_answered

    def wait(self) -> Ended:
        """Wait for its end, and return what came of it."""
        return self._finish()


def begin_asking(queue: Queue, action: Inspect | Receive, settings: ConsumerSettings) -> Begun[Answered]:
    """Begin to ask the queue what it is, or for messages."""
    if isinstance(action, Inspect):
        return Begun(lambda: _answer(lambda: Inspected(queue.inspect()), 0))
    try:
        pending = queue.begin_receive(
            action.count,
            wait_time_seconds=settings.wait_time_seconds,
            visibility_timeout=settings.visibility_timeout,
        )
    except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
        failed = _describe_failure(error, action.poll)
        return Begun(lambda: failed, poll=action.poll)

    return Begun(
        lambda: _answer(lambda: Received(pending.result(), action.poll), action.poll), pending, poll=action.poll
    )


def begin_settling(queue: Queue, action: Settlement, renew: Callable[[Message], None]) -> Begun[Settled]:
    """Begin to extend, delete, hide or dead-letter; *renew* is told of each message whose lease was extended."""
    handles = _handles(action)
    try:
        pending = _begin(queue, action, handles)
    except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
        refused = _describe_refusal(action, error)
        return Begun(lambda: refused)

    def settle() -> Settled:
        try:
            failed = _carry_out(queue, action, pending)
        except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
            return _describe_refusal(action, error)
        problems = _describe_problems(action, handles, failed) if failed else {}
        if isinstance(action, Extend):
            _renew([message for message in action.messages if message.id not in problems], renew)
        return Settled(action, problems)

    return Begun(settle, pending)


def ask(queue: Queue, action: Inspect | Receive, settings: ConsumerSettings) -> Answered:
    """Ask the queue what it is, or for messages."""
    return begin_asking(queue, action, settings).wait()


def settle(queue: Queue, action: Settlement, renew: Callable[[Message], None]) -> Settled:
    """Do what `begin_settling` begins."""
    return begin_settling(queue, action, renew).wait()


def _answer(ask: Callable[[], Inspected | Received], poll: int) -> Answered:
    try:
        return ask()
    except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
        return _describe_failure(error, poll)


def _describe_failure(error: BaseException, poll: int) -> AskFailed:
    return AskFailed(error, is_refusal(error), is_over_limit(error), poll)


def _begin(queue: Queue, action: Settlement, handles: Sequence[str]) -> Pending[list[Failed]] | None:
    match action:
        case Delete():
            return queue.begin_delete(handles)
        case Hide(seconds=seconds) | Extend(seconds=seconds):
            return queue.begin_hide(list(zip(handles, seconds, strict=True)))
    return None


def _carry_out(queue: Queue, action: Settlement, pending: Pending[list[Failed]] | None) -> list[Failed]:
    if isinstance(action, DeadLetter):
        queue.send_dead_letter(action.queue_url, action.message, action.origin)
    return pending.result() if pending is not None else []


def _describe_problems(action: Settlement, handles: Sequence[str], failed: Sequence[Failed]) -> dict[str, Problem]:
    ids = dict(zip(handles, [message.id for message in action.messages], strict=True))
    return {ids[each.receipt_handle]: Problem(f"{each.code}: {each.reason}", each.final) for each in failed}


def _describe_refusal(action: Settlement, error: BaseException) -> Settled:
    refusal = error if is_refusal(error) else None
    problem = Problem(f"{type(error).__name__}: {error}", final=refusal is not None)
    return Settled(action, dict.fromkeys([message.id for message in action.messages], problem), refusal)


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
