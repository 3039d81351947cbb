"""Calls to the queue that the core asks for: begun now, answered later; what they raise becomes an input."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

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
from megaflow.consumer.threads.renewals import renew_or_warn
from megaflow.messages.message import Message
from megaflow.messages.pointers import Pointer
from megaflow.settings import ConsumerSettings
from megaflow.telemetry.conventions import name_error
from megaflow.transport.errors import is_over_limit, is_refusal, is_refused_message
from megaflow.transport.queue import Failed, OpenQueue
from megaflow.wire.pending import Pending, failing

Answered: TypeAlias = Inspected | Received | AskFailed
_Answer = TypeVar("_Answer")

Discard: TypeAlias = Callable[[Pointer], None]
"""Deletes what lay outside of a message, sooner or later; raises nothing."""


def discard_nothing(pointer: Pointer) -> None:
    """Let it lie."""


def begin_asking(queue: OpenQueue, action: Inspect | Receive, settings: ConsumerSettings) -> Pending[Answered]:
    """Begin to ask the queue what it is, or for messages."""
    if isinstance(action, Inspect):
        whole = partial(queue.inspect, settings.dead_letter_queue_url or "")
        inspect = queue.inspect_depth if action.depth_alone else whole
        return Pending(inspect).map(Inspected, _describe_failure)
    began = time.perf_counter()
    pending = _begin(
        lambda: queue.begin_receive(
            action.count,
            wait_time_seconds=action.wait,
            visibility_timeout=settings.visibility_timeout,
        )
    )
    return pending.map(
        lambda messages: Received(messages, action.poll, took=time.perf_counter() - began),
        lambda error: _describe_failure(error, action.poll, time.perf_counter() - began),
    )


def begin_settling(
    queue: OpenQueue, action: Settlement, renew: Callable[[Message], None], discard: Discard = discard_nothing
) -> Pending[Settled]:
    """Begin to extend, delete, hide or dead-letter.

    *renew* is told of each message whose lease was extended, *discard* of what lay outside of one that was deleted.
    """
    began, handles = time.perf_counter(), _handles(action)

    def read(failed: Sequence[Failed]) -> Settled:
        problems = _describe_problems(action, handles, failed) if failed else {}
        if isinstance(action, Extend):
            for message in action.messages:
                if message.id not in problems:
                    renew_or_warn(message, renew)
        elif isinstance(action, Delete) and action.discards:
            for message_id, pointer in action.discards.items():
                if message_id not in problems:
                    discard(pointer)
        return Settled(action, problems, took=time.perf_counter() - began)

    pending = _begin(lambda: _begin_settling(queue, action, handles))
    return pending.map(read, lambda error: _describe_refusal(action, error, time.perf_counter() - began))


def ask(queue: OpenQueue, action: Inspect | Receive, settings: ConsumerSettings) -> Answered:
    """Ask the queue what it is, or for messages."""
    return begin_asking(queue, action, settings).result()


def settle(
    queue: OpenQueue, action: Settlement, renew: Callable[[Message], None], discard: Discard = discard_nothing
) -> Settled:
    """Do what `begin_settling` begins."""
    return begin_settling(queue, action, renew, discard).result()


def _begin(begin: Callable[[], Pending[_Answer]]) -> Pending[_Answer]:
    try:
        return begin()
    except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
        return failing(error)


def _begin_settling(queue: OpenQueue, action: Settlement, handles: Sequence[str]) -> Pending[Sequence[Failed]]:
    match action:
        case Delete():
            return queue.begin_delete(handles, action.messages)
        case Hide(seconds=seconds):
            return queue.begin_hide(list(zip(handles, seconds, strict=True)), action.messages)
        case Extend(seconds=seconds):
            return queue.begin_hide(list(zip(handles, seconds, strict=True)))
        case DeadLetter(message, queue_url, origin, with_origin):
            said = origin if with_origin else ""
            return Pending(lambda: queue.send_dead_letter(queue_url, message, said)).map(lambda _: ())


def _describe_failure(error: BaseException, poll: int = 0, took: float | None = None) -> AskFailed:
    return AskFailed(error, is_refusal(error), is_over_limit(error), poll, took)


def _describe_problems(action: Settlement, handles: Sequence[str], failed: Sequence[Failed]) -> dict[str, Problem]:
    ids = dict(zip(handles, [message.id for message in action.messages], strict=True))
    return {ids[each.receipt_handle]: Problem(f"{each.code}: {each.reason}", each.final) for each in failed}


def _describe_refusal(action: Settlement, error: BaseException, took: float) -> Settled:
    refusal = error if is_refusal(error) else None
    of_message = isinstance(action, DeadLetter) and is_refused_message(error)
    problem = Problem(f"{type(error).__name__}: {error}", final=refusal is not None, of_message=of_message)
    problems = dict.fromkeys([message.id for message in action.messages], problem)
    return Settled(action, problems, refusal, took, name_error(error))


def _handles(action: Settlement) -> list[str]:
    if isinstance(action, Extend):
        return list(action.receipt_handles)
    return [message.lease.receipt_handle for message in action.messages if message.lease is not None]
