"""What a consumer does next: a state machine, told what happened, answering what to do.

No I/O, no threads, no clock of its own: every call brings the time, in seconds, and a driver carries out the answers
and decides nothing.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from megaflow.consumer.core.diagnosis import Diagnosis
from megaflow.consumer.core.health import Health
from megaflow.consumer.core.held_messages import Hand, Held
from megaflow.consumer.core.leases import Leases
from megaflow.consumer.core.polling import Polling
from megaflow.consumer.core.protocol import (
    Action,
    Answer,
    AskFailed,
    Called,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Extend,
    Finished,
    GiveUp,
    Hide,
    Inspected,
    Interrupted,
    Problem,
    Received,
    Settled,
    Start,
    Stop,
)
from megaflow.consumer.core.queue_facts import Inspection
from megaflow.consumer.core.settling import Settling
from megaflow.consumer.core.timeouts import TimeLimits
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import describe_origin, why_not_kept, why_unhandled
from megaflow.processing.verdict import Fate, Verdict
from megaflow.settings import ConsumerSettings

FLUSH_GRACE: Final = 3.0
"""Seconds left to what is being settled when the handlers' time to finish is over."""

_DELETE: Final = Fate.DELETE
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
"""Between polls that fail, and between tries to settle a message."""


class Core:
    """One consumer's state. Not thread-safe: a single driver tells it everything; `health` may be asked by others."""

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
        self._answer = Answer()
        self._hand = Hand(fifo=fifo)
        self._leases = Leases(settings, self._hand, self._answer)
        self._settling = Settling(self._answer, self._pause, self._leases.patience_ends_at)
        self._polling = Polling(settings, self._hand, self._answer, self._pause, fifo=fifo)
        self._inspection = Inspection(settings, self._polling, self._answer)
        self._time_limits = TimeLimits()
        self._stuck = 0
        self._finished_at: float | None = None
        self._lost = 0
        self._give_up_at: float | None = None
        self._at_once = False
        self._exited = False
        self._error: BaseException | None = None
        self._notes: Mapping[type[Event], Callable[[Any], None]] = {
            Inspected: lambda event: self._inspection.note(event.facts, self._now),
            Received: self._note_received,
            AskFailed: self._note_failed_question,
            Called: self._note_call,
            Finished: self._note_finished,
            Crashed: self._note_crash,
            Settled: self._note_settled,
            Interrupted: lambda event: self._interrupt(event.error),
            Stop: self._note_stop,
        }

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take note of *event* and return what to do about it, in this order. A `Tick` is only about the time."""
        return self.handle_all((event,), now)

    def handle_all(self, events: Iterable[Event], now: float) -> list[Action]:
        """Take note of several *events*, one after another, and return what to do about them all."""
        self._now = now
        for event in events:
            note = self._notes.get(type(event))
            if note is not None:
                note(event)
        self._give_up_overdue()
        if self._give_up_at is not None and now >= self._give_up_at:
            self._give_up_running()
        if now >= self._leases.due_at:
            self._drop_lost()
        self._start_handlers()
        self._settling.flush(now, lingers=bool(self._hand.running) and not self._stopping)
        if self._stopping:
            self._exit_when_done()
        else:
            self._polling.ask(now)
        return self._answer.take()

    @property
    def wake_at(self) -> float:
        """When to come back with a `Tick`, if nothing happens before; infinity where there is no such time."""
        times = [self._leases.due_at, self._settling.wake_at, self._time_limits.next_at]
        if self._give_up_at is None:
            times.append(self._polling.wake_at(self._now))
        else:
            times += [self._give_up_at, self._give_up_at + FLUSH_GRACE]
        return min([time for time in times if time > self._now], default=math.inf)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """The messages in hand whose handlers were not started."""
        return tuple(held.message for held in self._hand.waiting.values())

    def health(self, now: float) -> Health:
        """Return how the consumer is. May be called from any thread: what it reads is at worst a moment old."""
        diagnosis = Diagnosis(
            now=now,
            stopping=self._stopping,
            told_at=self._now,
            polling=self._polling,
            hand=self._hand,
            leases=self._leases,
            settings=self._settings,
            finished_at=self._finished_at,
            lost_leases=self._lost,
            stuck_threads=self._stuck,
        )
        return diagnosis.describe()

    @property
    def _stopping(self) -> bool:
        return self._give_up_at is not None

    # Asking the queue

    def _note_received(self, event: Received) -> None:
        self._polling.note_received(event.poll, len(event.messages), event.seconds, self._now)
        self._count("received", len(event.messages))
        several = self._hand.take(event.messages)
        if self._are_new(several):
            self._take_new(several)
            return
        for held in several:
            if self._are_new((held,)):
                self._take_new((held,))
            else:
                self._take_known(held)

    def _are_new(self, several: Sequence[Held]) -> bool:
        if self._stopping:
            return False
        ids = [held.id for held in several]
        return len(set(ids)) == len(ids) and self._hand.has_none_of(ids) and self._settling.has_none_of(ids)

    def _take_new(self, several: Sequence[Held]) -> None:
        self._hand.wait(several)
        self._leases.watch(several)

    def _take_known(self, held: Held) -> None:
        """Take a message that came before, or that comes too late."""
        known = self._hand.find(held.id)
        if known is not None:
            # It came twice, or its lease was lost and it is still at work: the newer receipt handle is the good one.
            self._count("duplicates")
            self._report(logging.INFO, "message %s came again while it is in hand, and goes on as one", held.id)
            known.lease.renew(held.lease)
            self._leases.watch((known,))
        elif self._settling.is_done(held.id):
            self._count("duplicates")
            self._settling.delete(held, self._now)
        elif self._stopping:
            self._give_back(held)
        else:
            self._settling.forget_hiding(held.id)
            self._take_new((held,))

    def _note_failed_question(self, failed: AskFailed) -> None:
        if self._stopping:
            return
        pause = self._polling.note_failed(failed.poll, self._now, over_limit=failed.over_limit)
        if failed.refused and not self._polling.has_received:
            self._interrupt(failed.error)
            return
        self._count("failed_polls")
        self._report(logging.WARNING, "the queue does not answer, trying again in %.1f s: %s", pause, failed.error)

    # Leases

    def _drop_lost(self) -> None:
        for held in self._leases.tend(self._now):
            if held.id in self._hand.waiting:
                followers = self._hand.followers(held)
                self._hand.drop(held)
                self._give_back_followers(followers)
                self._note_loss(held, "before it was started")
            else:
                self._note_loss(held, "while it is handled, so it may be handled twice")

    def _note_loss(self, held: Held, when: str) -> None:
        held.is_lost = True
        self._lost += 1
        self._count("lost_leases")
        self._report(logging.WARNING, "message %s: its lease was lost %s; it comes again", held.id, when)

    def _note_call(self, event: Called) -> None:
        held = self._hand.running.get(event.message.id)
        if held is not None:
            self._time_limits.note(held, event, self._now)

    def _give_up_overdue(self) -> None:
        for limit in self._time_limits.take_overdue(self._now):
            held, handler = self._hand.running.pop(limit.held.id), limit.call.handler
            self._stuck += 1
            self._count("timed_out")
            self._report(
                logging.ERROR,
                "message %s: %s has not returned in its time, and cannot be stopped; its thread is replaced",
                *(held.id, handler.name),
            )
            self._do(GiveUp(held.message, handler))
            held.lease.is_given_up = True
            self._keep(held)

    # Handlers

    def _start_handlers(self) -> None:
        hand, concurrency = self._hand, self._settings.concurrency
        while ready := hand.take_ready(concurrency - len(hand.running)):
            if self._settings.max_receives is not None:
                ready = self._drop_overdue(ready)
            for held in ready:
                held.started_at = self._now
                hand.running[held.id] = held
            if ready:
                self._do(Start(tuple([held.message for held in ready])))

    def _drop_overdue(self, ready: Sequence[Held]) -> list[Held]:
        """Dead-letter what was received too often, and return the rest."""
        left = []
        for held in ready:
            if problem := why_unhandled(held.message, self._settings.max_receives):
                self._dead_letter(held, Verdict(held.message, (), Fate.DEAD_LETTER), problem)
            else:
                left.append(held)
        return left

    def _note_finished(self, event: Finished) -> None:
        unmatched = handled = 0
        finished = []
        for verdict in event.verdicts:
            held = self._hand.running.pop(verdict.message.id, None)
            if held is None:
                continue
            self._time_limits.forget(held)
            if verdict.outcomes:
                handled += 1
            else:
                unmatched += 1
            if held.lease.is_over(self._now) and not held.is_lost:
                self._note_loss(held, "while it was handled")
            if verdict.fate is _DELETE:
                finished.append(held)
            else:
                self._decide(held, verdict)
        self._finish(finished)
        if handled or unmatched:
            self._finished_at = self._now
            self._polling.note_finished(handled + unmatched, self._now)
            self._count("handled", handled)
            self._count("unmatched", unmatched)

    def _decide(self, held: Held, verdict: Verdict) -> None:
        """Decide about a message that is not deleted."""
        if verdict.interruption is not None:
            self._interrupt(verdict.interruption)
        if held.is_lost:
            self._let_go(held)
        elif verdict.dead_letters:
            self._dead_letter(held, verdict)
        elif problem := why_not_kept(verdict, self._settings.max_receives):
            self._dead_letter(held, verdict, problem)
        else:
            self._keep(held, verdict.after)

    def _dead_letter(self, held: Held, verdict: Verdict, problem: str = "") -> None:
        if queue_url := self._inspection.dead_letter_queue_url:
            # Its group goes on only when it is certain that the message does not come again.
            self._hand.dead_lettering[held.id] = held
            origin = describe_origin(verdict, problem)
            self._do(DeadLetter(held.message, queue_url, origin))
            return
        self._count("dropped")
        said = problem or verdict
        self._report(logging.ERROR, "message %s: no dead-letter queue, so it is deleted: %s", held.id, said)
        self._finish((held,))

    def _note_crash(self, event: Crashed) -> None:
        held, error = self._hand.running.pop(event.message.id, None), event.error
        self._report(logging.ERROR, "message %s: its handlers could not be run", event.message.id, error=error)
        if not isinstance(error, Exception):
            self._interrupt(error)
        if held is not None:
            self._time_limits.forget(held)
            self._keep(held)

    def _note_dead_letter(self, asked: DeadLetter, problem: Problem | None) -> None:
        held = self._hand.dead_lettering.pop(asked.message.id)
        if problem is None:
            self._count("dead_lettered")
            self._finish((held,))
        else:
            self._report(
                logging.ERROR, "message %s: kept, as it could not be dead-lettered: %s", held.id, problem.reason
            )
            self._keep(held)

    def _finish(self, several: Sequence[Held]) -> None:
        self._settling.finish(several, self._now)
        if self._fifo:
            for held in several:
                self._hand.free(held)

    def _keep(self, held: Held, after: float | None = None) -> None:
        self._count("kept")
        self._settling.hide(held, self._ask_backoff(held.message.receive_count) if after is None else after, self._now)
        # Handled now, they would overtake the message that comes again.
        self._give_back_followers(self._hand.followers(held))
        self._hand.free(held)

    def _let_go(self, held: Held) -> None:
        """Do nothing about a message that is somebody else's by now."""
        self._count("kept")
        self._give_back_followers(self._hand.followers(held))
        self._hand.free(held)

    def _give_back_followers(self, followers: Iterable[Held]) -> None:
        for follower in followers:
            self._hand.drop(follower)
            self._give_back(follower)

    def _give_back(self, held: Held) -> None:
        self._count("given_back")
        self._settling.hide(held, 0.0, self._now)

    def _ask_backoff(self, receive_count: int) -> float:
        try:
            seconds = float(self._settings.backoff(receive_count))
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            self._report(logging.ERROR, "the backoff failed for receive count %d", receive_count, error=error)
            return self._pause(receive_count)
        return seconds if math.isfinite(seconds) else self._pause(receive_count)

    # Settling

    def _note_settled(self, event: Settled) -> None:
        asked, problems, refusal = event.asked, event.problems, event.refusal
        match asked:
            case Extend():
                self._leases.note(asked, problems, refusal, self._now)
            case DeadLetter():
                self._note_dead_letter(asked, problems.get(asked.message.id))
            case Delete() | Hide():
                last = self._stopping and not self._hand.running
                self._settling.note(asked, problems, self._now, stopping=self._stopping, last=last)
        if refusal is not None and isinstance(asked, Delete) and not self._settling.has_deleted:
            # To go on would be to handle the same messages for ever.
            self._interrupt(refusal)

    # Stopping

    def _note_stop(self, event: Stop) -> None:
        self._stop(at_once=event.now)

    def _stop(self, *, at_once: bool) -> None:
        if self._give_up_at is None:
            self._give_up_at = self._now + self._settings.shutdown_timeout
            if self._hand.running and not at_once:
                self._report(
                    logging.INFO,
                    "stopping: waiting up to %s s for %d handlers; a second signal does not wait",
                    self._settings.shutdown_timeout,
                    len(self._hand.running),
                )
            self._polling.abandon()
            for held in tuple(self._hand.waiting.values()):
                self._hand.drop(held)
                self._give_back(held)
            self._settling.hurry(self._now)
        if at_once:
            self._at_once = True
            self._give_up_at = min(self._now, self._give_up_at)

    def _interrupt(self, error: BaseException) -> None:
        self._error = self._error or error
        self._stop(at_once=False)

    def _give_up_running(self) -> None:
        # What was not given back at once comes again when its lease ends: until then its handler may still be at work.
        for held in tuple(self._hand.running.values()):
            del self._hand.running[held.id]
            self._report(logging.WARNING, "message %s: its handler is still running; it comes again", held.id)
            held.lease.is_given_up = True
            if self._at_once:
                self._give_back(held)
        self._time_limits.clear()

    def _exit_when_done(self) -> None:
        if self._give_up_at is None or self._exited or self._hand.running:
            return
        settled = self._settling.is_empty and not self._hand.dead_lettering
        if settled or self._now >= self._give_up_at + FLUSH_GRACE:
            self._exited = True
            self._do(Exit(self._error))

    # Words

    def _pause(self, tries: int) -> float:
        return self._randomness() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries, 20))

    def _do(self, action: Action) -> None:
        self._answer.do(action)

    def _count(self, name: str, amount: int = 1) -> None:
        if amount:
            self._answer.count(name, amount)

    def _report(self, level: int, text: str, *values: object, error: BaseException | None = None) -> None:
        self._answer.report(level, text, *values, error=error)
