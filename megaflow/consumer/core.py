"""What a consumer does next: a state machine, told what happened, answering what to do.

No I/O, no threads, no clock of its own: every call brings the time, in seconds, and a driver carries out the answers
and decides nothing.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from megaflow import limits
from megaflow.consumer.origin import describe_origin
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    AskFailed,
    Count,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Finished,
    Hide,
    Inspect,
    Inspected,
    Interrupted,
    Problem,
    Receive,
    Received,
    Report,
    Settled,
    Start,
    Stop,
)
from megaflow.errors import UsageError
from megaflow.message import Lease, Message
from megaflow.process import Verdict
from megaflow.settings import ConsumerSettings
from megaflow.sqs import QueueFacts

LINGER: Final = 0.05
"""Seconds that a delete waits for others to share its call, while there is other work."""

FLUSH_GRACE: Final = 3.0
"""Seconds left to deletes that are under way when the handlers' time to finish is over."""

_LOW_RECEIVE_COUNT: Final = 3
_CALL_TIME: Final = 1.0
_LAST_TRIES: Final = 3
_LAST_PAUSE: Final = 0.25
"""To settle a message, once the consumer is stopping and no handler is waited for."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
"""Between polls that fail, and between tries to settle a message."""


@dataclass(slots=True, eq=False)
class _Held:
    """A message in hand: received and not settled. How it is to be settled is said once its handlers have finished."""

    message: Message
    lease: Lease
    pause: float | None = None
    """Seconds to hide it for; None is to delete it."""

    not_before: float = 0.0
    not_after: float = 0.0
    tries: int = 0

    @property
    def handle(self) -> str:
        return self.lease.receipt_handle


class Core:
    """One consumer's state. Not thread-safe: a single driver tells it everything."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        fifo: bool,
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._fifo = fifo
        self._randomness = randomness
        self._now = 0.0
        self._actions: list[Action] = []
        # Where a message in hand can be, one after another; keys are receipt handles.
        self._waiting: dict[str, _Held] = {}
        self._running: dict[str, _Held] = {}
        self._dead_lettering: dict[str, _Held] = {}
        self._unsettled: dict[str, _Held] = {}
        self._settling: dict[str, _Held] = {}
        self._busy_groups: set[str] = set()
        # What is asked of the queue: first what it is, then for messages, one question at a time.
        self._dead_letter_queue_url = settings.dead_letter_queue_url or ""
        self._inspected = False
        self._asking = False
        self._ask_at = 0.0
        self._failures = 0
        self._has_received = False
        self._has_deleted = False
        self._give_up_at: float | None = None
        self._exited = False
        self._error: BaseException | None = None

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take note of *event* and return what to do about it, in this order. A `Tick` is only about the time."""
        self._now = now
        self._actions = []
        match event:
            case Inspected(facts):
                self._note_facts(facts)
            case Received(messages):
                self._take(messages)
            case AskFailed(error, refused):
                self._note_failed_question(error, refused)
            case Finished(verdict):
                self._finish(verdict)
            case Crashed(message, error):
                self._note_crash(message, error)
            case Settled(DeadLetter() as asked, problems):
                self._note_dead_letter(asked, problems.get(_lease(asked.message).receipt_handle))
            case Settled(Delete() | Hide() as asked, problems, refusal):
                self._note_settled(asked, problems, refusal)
            case Interrupted(error):
                self._interrupt(error)
            case Stop(now=at_once):
                self._stop(at_once)
        self._start_handlers()
        self._settle()
        self._ask()
        self._exit_when_done()
        return self._actions

    @property
    def wake_at(self) -> float:
        """When to come back with a `Tick`, if nothing happens before; infinity where there is no such time."""
        times = [held.not_after for held in self._unsettled.values()]
        if self._give_up_at is not None:
            times += [self._give_up_at, self._give_up_at + FLUSH_GRACE]
        elif not self._asking and self._free_slots():
            times.append(self._ask_at)
        return min((time for time in times if time > self._now), default=math.inf)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """The messages in hand whose handlers were not started."""
        return tuple(held.message for held in self._waiting.values())

    @property
    def _stopping(self) -> bool:
        return self._give_up_at is not None

    @property
    def _waits_for_nothing(self) -> bool:
        return self._stopping and not self._running

    # Asking the queue

    def _ask(self) -> None:
        if self._asking or self._stopping or self._now < self._ask_at:
            return
        count = min(self._settings.max_number_of_messages, self._free_slots())
        if count > 0:
            self._asking = True
            self._do(Receive(count) if self._inspected else Inspect())

    def _note_facts(self, facts: QueueFacts) -> None:
        self._asking, self._inspected, self._failures = False, True, 0
        self._dead_letter_queue_url = self._dead_letter_queue_url or facts.dead_letter_queue_url
        if facts.problem:
            self._report(logging.WARNING, "the redrive policy is not known: %s", facts.problem)
        if self._dead_letter_queue_url:
            self._report(logging.INFO, "messages that fail for good go to %s", self._dead_letter_queue_url)
        else:
            self._report(logging.WARNING, "no dead-letter queue: messages that fail for good are deleted")
        if 0 < facts.max_receive_count < _LOW_RECEIVE_COUNT:
            self._report(
                logging.WARNING,
                "maxReceiveCount is %d, and a message that is given back unhandled counts as received: "
                "SQS itself will dead-letter messages that never failed; use %d or more",
                facts.max_receive_count,
                _LOW_RECEIVE_COUNT,
            )

    def _take(self, messages: Iterable[Message]) -> None:
        self._asking, self._has_received, self._failures = False, True, 0
        for message in messages:
            held = _Held(message, _lease(message))
            self._count("received")
            if self._stopping:
                self._give_back(held)
            else:
                self._waiting[held.handle] = held

    def _note_failed_question(self, error: BaseException, refused: bool) -> None:
        self._asking = False
        if self._stopping:
            return
        if refused and not self._has_received:
            self._interrupt(error)
            return
        self._failures += 1
        pause = self._pause(self._failures)
        self._ask_at = self._now + pause
        self._count("failed_polls")
        self._report(logging.WARNING, "the queue does not answer, trying again in %.1f s: %s", pause, error)

    def _free_slots(self) -> int:
        # No more is received than can be started at once: what waits in hand, waits while its lease runs out.
        in_hand = len(self._waiting) + len(self._running) + len(self._dead_lettering)
        return max(0, self._settings.concurrency - in_hand)

    # Handlers

    def _start_handlers(self) -> None:
        for held in tuple(self._waiting.values()):
            if len(self._running) >= self._settings.concurrency:
                return
            if held.lease.expires_at <= self._now:
                del self._waiting[held.handle]
                self._count("expired")
                self._report(logging.WARNING, "message %s: its visibility ended before it was started", held.message.id)
            elif not self._group(held) & self._busy_groups:
                del self._waiting[held.handle]
                self._running[held.handle] = held
                self._busy_groups |= self._group(held)
                self._do(Start(held.message))

    def _finish(self, verdict: Verdict) -> None:
        held = self._running.pop(_lease(verdict.message).receipt_handle)
        self._count("unmatched" if verdict.unmatched else "handled")
        if held.lease.expires_at <= self._now:
            self._count("outlived")
            self._report(
                logging.WARNING,
                "message %s: its handlers took longer than its visibility timeout of %d s, so it may come again; raise "
                "visibility_timeout above what your slowest handlers take",
                held.message.id,
                self._settings.visibility_timeout,
            )
        if verdict.interruption is not None:
            self._interrupt(verdict.interruption)
        if verdict.keeps:
            self._keep(held, verdict.after)
        elif verdict.dead_letters and self._dead_letter_queue_url:
            # Its group goes on only when it is certain that the message does not come again.
            self._dead_lettering[held.handle] = held
            self._do(DeadLetter(held.message, self._dead_letter_queue_url, describe_origin(verdict)))
        else:
            if verdict.dead_letters:
                self._count("dropped")
                self._report(
                    logging.ERROR, "message %s: no dead-letter queue, so it is deleted: %s", held.message.id, verdict
                )
            self._delete(held)

    def _note_crash(self, message: Message, error: BaseException) -> None:
        self._report(logging.ERROR, "message %s: its handlers could not be run", message.id, error=error)
        if not isinstance(error, Exception):
            self._interrupt(error)
        self._keep(self._running.pop(_lease(message).receipt_handle))

    def _note_dead_letter(self, asked: DeadLetter, problem: Problem | None) -> None:
        held = self._dead_lettering.pop(_lease(asked.message).receipt_handle)
        if problem is None:
            self._count("dead_lettered")
            self._delete(held)
        else:
            self._report(
                logging.ERROR, "message %s: kept, as it could not be dead-lettered: %s", held.message.id, problem.reason
            )
            self._keep(held)

    def _keep(self, held: _Held, after: float | None = None) -> None:
        self._count("kept")
        self._hide(held, self._ask_backoff(held.message.receive_count) if after is None else after)
        group = self._group(held)
        for follower in tuple(self._waiting.values()):
            # Handled now, they would overtake the message that comes again.
            if self._group(follower) & group:
                self._give_back(self._waiting.pop(follower.handle))

    def _ask_backoff(self, receive_count: int) -> float:
        try:
            seconds = float(self._settings.backoff(receive_count))
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            self._report(logging.ERROR, "the backoff failed for receive count %d", receive_count, error=error)
            return self._pause(receive_count)
        return seconds if math.isfinite(seconds) else self._pause(receive_count)

    def _delete(self, held: _Held) -> None:
        held.pause = None
        self._settle_later(held)

    def _give_back(self, held: _Held) -> None:
        self._count("given_back")
        self._hide(held, 0.0)

    def _hide(self, held: _Held, seconds: float) -> None:
        held.pause = max(0.0, seconds)
        self._settle_later(held)

    def _clamp_pause(self, held: _Held, pause: float) -> float:
        # A visibility timeout ends at the latest 12 hours after the message was received; the call takes its time too.
        longest = limits.VISIBILITY_TIMEOUT - (self._now - held.lease.received_at) - _CALL_TIME
        return max(0.0, min(pause, longest))

    def _group(self, held: _Held) -> set[str]:
        return {held.message.group_id} if self._fifo else set()

    # Settling

    def _settle_later(self, held: _Held) -> None:
        self._busy_groups -= self._group(held)
        held.not_before, held.not_after = self._now, self._now + LINGER
        self._unsettled[held.handle] = held

    def _settle(self) -> None:
        for deletes in (True, False):
            due = [held for held in self._unsettled.values() if (held.pause is None) is deletes]
            ready = [held for held in due if held.not_before <= self._now]
            if not self._can_linger(due, ready):
                for start in range(0, len(ready), limits.BATCH_ENTRIES):
                    self._settle_batch(ready[start : start + limits.BATCH_ENTRIES])

    def _can_linger(self, due: list[_Held], ready: list[_Held]) -> bool:
        busy = bool(self._running) and not self._stopping
        return busy and len(ready) < limits.BATCH_ENTRIES and all(held.not_after > self._now for held in due)

    def _settle_batch(self, batch: list[_Held]) -> None:
        for held in batch:
            self._settling[held.handle] = self._unsettled.pop(held.handle)
        messages = tuple(held.message for held in batch)
        pauses = tuple(self._clamp_pause(held, held.pause) for held in batch if held.pause is not None)
        self._do(Hide(messages, pauses) if pauses else Delete(messages))

    def _note_settled(
        self, asked: Delete | Hide, problems: Mapping[str, Problem], refusal: BaseException | None
    ) -> None:
        for message in asked.messages:
            held = self._settling.pop(_lease(message).receipt_handle)
            if held.handle in problems:
                self._try_again(held, problems[held.handle])
            else:
                self._count("deleted" if held.pause is None else "hidden")
                self._has_deleted = self._has_deleted or held.pause is None
        if refusal is not None and isinstance(asked, Delete) and not self._has_deleted:
            # To go on would be to handle the same messages for ever.
            self._interrupt(refusal)

    def _try_again(self, held: _Held, problem: Problem) -> None:
        held.tries += 1
        pause = min(self._pause(held.tries), _LAST_PAUSE) if self._stopping else self._pause(held.tries)
        too_late = self._now + pause >= held.lease.expires_at or (self._waits_for_nothing and held.tries > _LAST_TRIES)
        if problem.final or too_late:
            verb = "deleted" if held.pause is None else "hidden"
            self._count(f"not_{verb}")
            self._report(
                logging.WARNING, "message %s could not be %s and comes again: %s", held.message.id, verb, problem.reason
            )
            return
        held.not_before = held.not_after = self._now + pause
        self._unsettled[held.handle] = held

    # Stopping

    def _stop(self, at_once: bool) -> None:
        if not self._stopping:
            self._give_up_at = self._now + self._settings.shutdown_timeout
            if self._running and not at_once:
                self._report(
                    logging.INFO,
                    "stopping: waiting up to %s s for %d handlers; a second signal does not wait",
                    self._settings.shutdown_timeout,
                    len(self._running),
                )
            if self._asking:
                self._asking = False
                self._do(AbandonPoll())
            for held in tuple(self._waiting.values()):
                self._give_back(self._waiting.pop(held.handle))
            for held in self._unsettled.values():
                held.not_before = held.not_after = self._now
        if at_once:
            self._give_up_at = min(self._now, self._give_up_at or math.inf)

    def _interrupt(self, error: BaseException) -> None:
        self._error = self._error or error
        self._stop(at_once=False)

    def _exit_when_done(self) -> None:
        if self._give_up_at is None or self._exited:
            return
        settled = not (self._unsettled or self._settling or self._dead_lettering)
        if self._running and self._now < self._give_up_at:
            return
        if not settled and self._now < self._give_up_at + FLUSH_GRACE:
            return
        for held in self._running.values():
            self._report(logging.WARNING, "message %s: its handler is still running; it comes again", held.message.id)
        self._exited = True
        self._do(Exit(self._error))

    # Words

    def _pause(self, tries: int) -> float:
        return self._randomness() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries, 20))

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def _count(self, name: str) -> None:
        self._do(Count(name))

    def _report(self, level: int, text: str, *values: object, error: BaseException | None = None) -> None:
        self._do(Report(level, text, values, error))


def _lease(message: Message) -> Lease:
    if message.lease is None:
        raise UsageError(f"message {message.id} was not received from a queue")
    return message.lease
