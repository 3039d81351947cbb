"""Batches: one call of a handler with several messages, and what it came to for each of them.

What is wrong with one message spoils no other. Where order matters, one that is kept keeps those after it in its group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from megaflow.errors import HandlingError, RegistrationError
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.batch import BatchMessage, stand_for
from megaflow.messages.message import Message
from megaflow.processing.groups import group_of
from megaflow.processing.idempotency import Idempotency, find_key
from megaflow.processing.keys import claim_key, end_key
from megaflow.processing.middleware import Call
from megaflow.processing.outcomes import OutcomeReader
from megaflow.processing.spans import Given, end_handle
from megaflow.processing.steps import (
    Asking,
    BatchTurn,
    HandlerCall,
    Parting,
    Result,
    Step,
    Steps,
    StoreCall,
    Turn,
    is_lost,
    refuse_lost,
)
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.telemetry.current import NOTHING_GIVEN, current
from megaflow.telemetry.propagation import Propagation
from megaflow.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from megaflow.telemetry.otel_messages import MessageTrace

NEXT_BATCH: Final = object()
"""What a batch came to for a message that waits for the next one: another one in it has the same idempotency key."""

_Returned = TypeVar("_Returned")
_Asking: TypeAlias = Generator[Step, Result, _Returned]


@dataclass(slots=True, eq=False)
class _Item:
    """A message of a batch."""

    message: Message
    group: tuple[str, str] | None = None
    """Its message group, where order matters."""

    is_kept_anyway: bool = False
    """Whether it comes again whatever this handler makes of it, as another one keeps it."""

    key: str | None = None
    """The idempotency key that is claimed for it."""

    arguments: Mapping[str, object] | None = None
    """What the handler gets of it."""

    outcome: Outcome | None = None
    waits: bool = False
    """Whether it waits for the next batch."""

    @property
    def is_open(self) -> bool:
        """Whether the handler is still to get it."""
        return self.outcome is None and not self.waits

    @property
    def is_kept(self) -> bool:
        """Whether it comes again."""
        return self.is_kept_anyway or (self.outcome is not None and self.outcome.status.keeps)


class Batches:
    """Calls handlers with batches. May be used from any thread."""

    def __init__(
        self,
        pipelines: Mapping[Handler, Call],
        reader: OutcomeReader,
        idempotency: Idempotency | None,
        propagation: Propagation,
        log_outcome: Callable[[Message, Outcome], None],
        tracing: Tracing,
    ) -> None:
        self._pipelines = pipelines
        self._reader = reader
        self._idempotency = idempotency
        self._propagation = propagation
        self._log_outcome = log_outcome
        self._tracing = tracing

    def steps(self, batch: BatchMessage, handler: Handler, several: Sequence[Steps]) -> Steps:
        """Give the steps of a *batch*; *several* are those of its messages, which go on once it has ended."""
        return Steps(self._give_steps(batch, handler, several))

    def call_alone(self, handler: Handler, message: Message) -> Asking:
        """Call a handler with a batch of one message, and return what came of it."""
        item = _Item(message)
        yield from self._call(stand_for([message]), handler, [item])
        return item.outcome or refuse_lost(handler)

    def _give_steps(self, batch: BatchMessage, handler: Handler, several: Sequence[Steps]) -> Given:
        yield Turn(handler)
        turns = [each.step for each in several if isinstance(each.step, BatchTurn)]
        items = [_Item(turn.message, group_of(turn.message), turn.is_kept) for turn in turns]
        yield from self._call(batch, handler, items)
        kept, last = _keep_order(handler, items), Result(NEXT_BATCH)
        for item, steps in zip(items, several, strict=True):
            if kept is not None:
                kept.hold_back(item)
            came_to = NEXT_BATCH if item.waits else item.outcome
            if came_to is not last.returned:
                last = Result(came_to)
            step = steps.take(last)
            while isinstance(step, StoreCall):
                step = steps.take((yield step))
            if kept is not None:
                item.is_kept_anyway |= isinstance(step, Verdict) and step.keeps
                kept.note(item)
        yield Parting()

    def _call(self, batch: BatchMessage, handler: Handler, items: Sequence[_Item]) -> _Asking[None]:
        yield from self._claim_keys(handler, items)
        self._take(handler, items)
        called = [item for item in items if item.is_open]
        if called:
            yield from self._call_with(batch, handler, called)
        if self._idempotency is None:
            return
        kept = _keep_order(handler, items)
        for item in items:
            if kept is not None:
                kept.hold_back(item)
            if item.key is not None and item.outcome is not None:
                item.outcome = yield from end_key(self._idempotency, item.message, item.key, item.outcome)
            if kept is not None:
                kept.note(item)

    def _claim_keys(self, handler: Handler, items: Sequence[_Item]) -> _Asking[None]:
        find = handler.options.idempotency_key
        if find is None or self._idempotency is None:
            return
        claimed: set[str] = set()
        for item in _in_order(handler, items):
            self._speak_of(item.message, handler)
            try:
                key = find_key(handler, find, item.message)
            except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
                item.outcome = self._reader.read(handler, None, error, 0.0)
                continue
            if key in claimed:
                item.waits = True
            elif is_lost(item.message):
                item.outcome = refuse_lost(handler)
            elif key is not None:
                item.outcome = yield from claim_key(self._idempotency, handler, item.message, key)
                if item.outcome is None:
                    item.key = key
                    claimed.add(key)

    def _take(self, handler: Handler, items: Sequence[_Item]) -> None:
        """Take what the handler gets of each message, in its own turn: one may not be what the annotations say."""
        take, name, propagation = handler.take, handler.name, self._propagation
        for item in _in_order(handler, items):
            message = item.message
            if message.lease is not None and message.lease.lost:
                item.outcome = refuse_lost(handler)
                continue
            current.set((message, name, propagation, NOTHING_GIVEN))
            try:
                item.arguments = take(message)
            except Exception as error:  # noqa: BLE001 - a user's model raises whatever it likes
                item.outcome = self._reader.read(handler, None, error, 0.0)

    def _call_with(self, batch: BatchMessage, handler: Handler, called: Sequence[_Item]) -> _Asking[None]:
        taken = [item.arguments or {} for item in called]
        arguments = {name: [each[name] for each in taken] for name in taken[0]}
        batch = replace(batch, payload=next(iter(arguments.values())), arguments=arguments)
        self._speak_of(batch, handler)
        trace = self._begin_trace(batch, handler, called)
        began = time.perf_counter()
        result = yield HandlerCall(handler, batch, self._pipelines[handler])
        seconds = time.perf_counter() - began
        outcome = self._reader.read(handler, result.returned, result.error, seconds, was_awaited=result.was_awaited)
        if trace is not None:
            end_handle(trace, outcome)
        outcomes = self._reader.read_each(outcome, len(called))
        if len(outcomes) > 1 and outcomes[0] is outcomes[1]:
            outcomes = [self._log_once(batch, outcomes[0])] * len(outcomes)
        for item, each in zip(called, outcomes, strict=True):
            item.outcome = each

    def _begin_trace(self, batch: BatchMessage, handler: Handler, called: Sequence[_Item]) -> MessageTrace | None:
        spans = self._tracing.spans
        return None if spans is None else spans.begin_batch(batch, handler.name, [item.message for item in called])

    def _log_once(self, batch: BatchMessage, outcome: Outcome) -> Outcome:
        """Say once what all messages have in common, and return it as said."""
        if outcome.is_logged or (outcome.error is None and outcome.status is ProcessStatus.DONE):
            return outcome
        self._log_outcome(batch, outcome)
        return replace(outcome, is_logged=True)

    def _speak_of(self, message: Message, handler: Handler) -> None:
        current.set((message, handler.name, self._propagation, NOTHING_GIVEN))


class _Kept:
    """The groups of which a message is kept, or waits for the next batch, and so holds back those after it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._kept: set[tuple[str, str]] = set()
        self._waiting: set[tuple[str, str]] = set()

    def hold_back(self, item: _Item) -> None:
        """Let a message come again, or wait, too, where one before it in its group does."""
        if item.group in self._kept:
            if not item.is_kept:
                error = HandlingError("a message before it in its group is kept, and comes again first")
                item.outcome, item.waits = Outcome(self._handler, ProcessStatus.RETRY_LATER, error, after=0.0), False
        elif item.group in self._waiting and item.is_open:
            item.waits = True

    def give_open(self, items: Sequence[_Item]) -> Iterator[_Item]:
        """Give the messages that the handler is still to get, each once it is known what became of those before it."""
        for item in items:
            self.hold_back(item)
            if item.is_open:
                yield item
            self.note(item)

    def note(self, item: _Item) -> None:
        """Take note of what has become of a message."""
        if item.group is not None:
            if item.is_kept:
                self._kept.add(item.group)
            elif item.waits:
                self._waiting.add(item.group)


def _in_order(handler: Handler, items: Sequence[_Item]) -> Iterable[_Item]:
    """Give the messages that the handler is still to get, and hold back what would overtake one of its group."""
    kept = _keep_order(handler, items)
    return (item for item in items if item.is_open) if kept is None else kept.give_open(items)


def _keep_order(handler: Handler, items: Sequence[_Item]) -> _Kept | None:
    """Return what keeps the order within groups; None where no message has one."""
    return _Kept(handler) if any(item.group for item in items) else None


def check_batches(handlers: Iterable[Handler], max_processing_time: float) -> None:
    """Refuse a handler whose messages would have to be given back before their batch is called."""
    for handler in handlers:
        seconds = handler.options.batch_seconds
        if handler.options.takes_batches and seconds >= max_processing_time:
            raise RegistrationError(
                f"{handler.name} has batch_seconds={seconds:g}, and a message is in hand for max_processing_time="
                f"{max_processing_time:g} seconds at most, so it would never be called: give it fewer"
            )
