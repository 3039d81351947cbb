"""What a consumer does next: a state machine, told what happened, answering what to do.

No I/O, no threads, no clock of its own: every call brings the time, in seconds, and a driver carries out the answers
and decides nothing.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from megaflow import limits
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    Count,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Finished,
    Hide,
    Problem,
    Receive,
    Received,
    ReceiveFailed,
    Report,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.errors import UsageError
from megaflow.message import ORIGIN_ATTRIBUTE, Lease, Message
from megaflow.process import Verdict
from megaflow.settings import ConsumerSettings
from megaflow.status import ProcessStatus

LINGER: Final = 0.05
"""Seconds that a delete waits for others to share its call, while there is other work."""

FLUSH_GRACE: Final = 3.0
"""Seconds left to deletes that are under way when the handlers' time to finish is over."""

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
        has_dead_letter_queue: bool,
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._fifo = fifo
        self._has_dead_letter_queue = has_dead_letter_queue
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
        self._polling = False
        self._next_poll = 0.0
        self._failed_polls = 0
        self._heard_from_queue = False
        self._give_up_at: float | None = None
        self._exited = False
        self._error: BaseException | None = None

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take note of *event* and return what to do about it, in this order."""
        self._now = now
        self._actions = []
        match event:
            case Received(messages):
                self._take(messages)
            case ReceiveFailed(error, refused):
                self._note_failed_poll(error, refused)
            case Finished(verdict):
                self._finish(verdict)
            case Crashed(message, error):
                self._report(logging.ERROR, "message %s: its handlers could not be run", message.id, error=error)
                self._keep(self._running.pop(_lease(message).receipt_handle))
            case Settled(DeadLetter() as asked, problems):
                self._note_dead_letter(asked, problems.get(_lease(asked.message).receipt_handle))
            case Settled(Delete() | Hide() as asked, problems):
                for message in asked.messages:
                    held = self._settling.pop(_lease(message).receipt_handle)
                    self._note_settled(held, problems.get(held.handle))
            case Stop(now=at_once):
                self._stop(at_once)
            case Tick():
                pass
        self._start_handlers()
        self._settle()
        self._poll()
        self._exit_when_done()
        return self._actions

    @property
    def wake_at(self) -> float:
        """When to come back with a `Tick`, if nothing happens before; infinity where there is no such time."""
        times = [held.not_after for held in self._unsettled.values()]
        if self._give_up_at is not None:
            times += [self._give_up_at, self._give_up_at + FLUSH_GRACE]
        elif not self._polling and self._free_slots():
            times.append(self._next_poll)
        return min((time for time in times if time > self._now), default=math.inf)

    @property
    def _stopping(self) -> bool:
        return self._give_up_at is not None

    # What was received

    def _take(self, messages: Iterable[Message]) -> None:
        self._polling = False
        self._heard_from_queue = True
        self._failed_polls = 0
        for message in messages:
            held = _Held(message, _lease(message))
            self._count("received")
            if self._stopping:
                self._give_back(held)
            else:
                self._waiting[held.handle] = held

    def _note_failed_poll(self, error: Exception, refused: bool) -> None:
        self._polling = False
        if self._stopping:
            return
        if refused and not self._heard_from_queue:
            self._error = error
            self._stop(at_once=True)
            return
        self._failed_polls += 1
        pause = self._pause(self._failed_polls)
        self._next_poll = self._now + pause
        self._count("failed_polls")
        self._report(logging.WARNING, "receiving failed, trying again in %.1f s: %s", pause, error)

    def _poll(self) -> None:
        count = min(self._settings.max_number_of_messages, self._free_slots())
        if count > 0 and not self._polling and not self._stopping and self._now >= self._next_poll:
            self._polling = True
            self._do(Receive(count))

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
                self._report(logging.WARNING, "message %s: its visibility ended before it was started", held.message.id)
            elif not self._group(held) & self._busy_groups:
                del self._waiting[held.handle]
                self._running[held.handle] = held
                self._busy_groups |= self._group(held)
                self._do(Start(held.message))

    def _finish(self, verdict: Verdict) -> None:
        held = self._running.pop(_lease(verdict.message).receipt_handle)
        self._count("unmatched" if verdict.unmatched else "handled")
        if verdict.interruption is not None:
            self._error = self._error or verdict.interruption
            self._stop(at_once=False)
        if verdict.keeps:
            self._keep(held, verdict.after)
        elif verdict.dead_letters and self._has_dead_letter_queue:
            # Its group goes on only when it is certain that the message does not come again.
            self._dead_lettering[held.handle] = held
            self._do(DeadLetter(held.message, describe_origin(verdict)))
        else:
            if verdict.dead_letters:
                self._count("dropped")
                self._report(
                    logging.ERROR, "message %s: no dead-letter queue, so it is deleted: %s", held.message.id, verdict
                )
            self._delete(held)

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
        # A visibility timeout ends at the latest 12 hours after the message was received.
        longest = limits.VISIBILITY_TIMEOUT - (self._now - held.lease.received_at) - 1
        held.pause = max(0.0, min(seconds, longest))
        self._settle_later(held)

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
        pauses = tuple(held.pause for held in batch if held.pause is not None)
        self._do(Hide(messages, pauses) if pauses else Delete(messages))

    def _note_settled(self, held: _Held, problem: Problem | None) -> None:
        verb = "deleted" if held.pause is None else "hidden"
        if problem is None:
            self._count(verb)
            return
        held.tries += 1
        pause = self._pause(held.tries)
        if problem.final or self._now + pause >= held.lease.expires_at:
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
            if self._polling:
                self._polling = False
                self._do(AbandonPoll())
            for held in tuple(self._waiting.values()):
                self._give_back(self._waiting.pop(held.handle))
        if at_once:
            self._give_up_at = self._now

    def _exit_when_done(self) -> None:
        if self._give_up_at is None or self._exited:
            return
        late = self._now - self._give_up_at
        settled = not (self._unsettled or self._settling or self._dead_lettering)
        if (self._running and late < 0) or not (settled or late >= FLUSH_GRACE):
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


def describe_origin(verdict: Verdict) -> str:
    """Return what a dead-lettered message says of its past, as JSON.

    One that was redriven and failed again keeps the id that it had first.
    """
    message = verdict.message
    origin: dict[str, Any] = {"message_id": message.id, "queue": message.queue_url}
    origin |= _read_origin(message)
    origin["failed"] = {
        outcome.handler.name: _describe_error(outcome.error)
        for outcome in verdict.outcomes
        if outcome.status is ProcessStatus.FATAL_ERROR
    }
    origin["finished"] = [outcome.handler.name for outcome in verdict.outcomes if outcome.status is ProcessStatus.DONE]
    if verdict.unmatched:
        origin["problem"] = message.problem or "no handler matched"
    return json.dumps(origin)


def _read_origin(message: Message) -> dict[str, str]:
    carried = message.sqs_attributes.get(ORIGIN_ATTRIBUTE)
    try:
        origin = json.loads(carried.value) if carried else {}
    except ValueError:
        return {}
    if not isinstance(origin, dict):
        return {}
    return {key: origin[key] for key in ("message_id", "queue") if isinstance(origin.get(key), str)}


def _describe_error(error: BaseException | None) -> str:
    return "FATAL_ERROR" if error is None else f"{type(error).__name__}: {error}"[:300]


def _lease(message: Message) -> Lease:
    if message.lease is None:
        raise UsageError(f"message {message.id} was not received from a queue")
    return message.lease
