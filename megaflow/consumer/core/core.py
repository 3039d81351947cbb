"""The consumer's core: a state machine that is told what happened, and answers what to do.

No I/O, no threads, no clock of its own: every input comes with the time, in seconds, and a driver carries out the
actions and decides nothing.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.arrivals import Arrivals
from megaflow.consumer.core.circuits import Circuits
from megaflow.consumer.core.diagnosis import Diagnosis
from megaflow.consumer.core.endings import Endings
from megaflow.consumer.core.health import Health
from megaflow.consumer.core.held_messages import Held, HeldMessages, lease_of
from megaflow.consumer.core.leases import Leases
from megaflow.consumer.core.measuring import Measuring
from megaflow.consumer.core.polling import Polling
from megaflow.consumer.core.protocol import (
    Action,
    AskFailed,
    Called,
    Crashed,
    DeadLetter,
    Delete,
    Extend,
    Finished,
    Flush,
    Hide,
    Input,
    Inspected,
    Interrupted,
    LinedUp,
    Pause,
    Received,
    Settled,
    Start,
    Stop,
    StoreFailed,
    StoresChecked,
)
from megaflow.consumer.core.queue_facts import Inspection
from megaflow.consumer.core.settling import Settling
from megaflow.consumer.core.stopping import Stopping
from megaflow.consumer.core.store_outages import StoreOutages
from megaflow.consumer.core.timeouts import Timeouts
from megaflow.consumer.core.turns import Turns
from megaflow.errors import text_of
from megaflow.loops import is_cancellation
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import why_not_kept
from megaflow.processing.pauses import Ask, Pauses, ask_backoff
from megaflow.processing.steps import Turn
from megaflow.processing.verdict import Fate, Verdict
from megaflow.settings import ConsumerSettings

_DELETE: Final = Fate.DELETE
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
"""Between polls that fail, and between tries to settle a message."""


class Core:
    """One consumer's state. Not thread-safe: a single driver tells it everything; `health` may be asked by others.

    *has_stores* is whether what handlers do is remembered in stores, *has_batches* whether some get batches.
    *is_observed* is asked at each poll whether anybody wants to know what is measured, *wall_clock* for the seconds
    since 1970 by which messages are so old.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        fifo: bool,
        has_stores: bool = False,
        has_batches: bool = False,
        randomness: Callable[[], float] = random.random,
        ask_backoff: Ask = ask_backoff,
        is_observed: Callable[[], bool] = lambda: False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._fifo = fifo
        self._randomness = randomness
        self._now = math.inf
        """When it was last told something: as long as it never was, nobody misses it."""

        self._actions = actions = Actions()
        self._measuring = Measuring(actions, is_observed, wall_clock)
        self._held_messages = held_messages = HeldMessages(fifo=fifo)
        self._leases = Leases(settings, held_messages, actions)
        self._settling = Settling(actions, self._pause, self._leases.patience_ends_at)
        self._circuits = Circuits(settings.breaker, actions)
        self._turns = Turns(held_messages, self._circuits, actions, settings.concurrency, has_batches=has_batches)
        self._polling = Polling(settings, held_messages, self._turns, actions, self._pause, fifo=fifo)
        self._inspection = Inspection(settings, self._polling, actions)
        self._timeouts = Timeouts()
        self._outages = StoreOutages(held_messages, actions, self._pause, has_stores=has_stores)
        self._endings = Endings(
            settings,
            held_messages,
            self._leases,
            self._timeouts,
            self._settling,
            self._inspection,
            actions,
            Pauses(settings.backoff, partial(actions.report_message, logging.ERROR), ask_backoff),
            self._pause,
        )
        self._arrivals = Arrivals(held_messages, self._leases, self._settling, self._endings, actions)
        self._stopping = Stopping(
            settings,
            held_messages,
            self._turns,
            self._polling,
            self._outages,
            self._endings,
            self._settling,
            actions,
        )

    def handle(self, input: Input, now: float) -> list[Action]:
        """Take note of *input* and return what to do about it, in this order. A `Tick` is only about the time."""
        return self.handle_all((input,), now)

    def handle_all(self, inputs: Iterable[Input], now: float) -> list[Action]:
        """Take note of several *inputs*, one after another, and return what to do about them all."""
        self._now = now
        for input in inputs:
            self._note(input)
        for held, timed_out in self._endings.abandon_timed_out(now):
            self._turns.note_outcome(held.id, timed_out, now)
        self._stopping.abandon_overdue(now)
        if now >= self._leases.due_at:
            self._turns.release(self._endings.drop_expired(now))
        if now >= self._settling.overdue_at:
            self._endings.pass_over_undeleted(now)
        if doomed := self._turns.take_doomed():
            self._endings.give_back_doomed(doomed, now)
        if now >= self._outages.due_at:
            self._outages.tend(now)
        if not self._outages.problem:
            self._start_handlers()
        self._settling.flush(now, lingers=bool(self._held_messages.running) and not self._stopping.is_on)
        if self._stopping.is_on:
            self._stopping.exit_when_done(now)
        else:
            self._poll(now)
        return self._actions.take()

    @property
    def wake_at(self) -> float:
        """When to come back with a `Tick`, if nothing happens before; infinity where there is no such time."""
        due_at = self._leases.due_at, self._outages.due_at, self._turns.due_at
        times = [self._settling.wake_at, self._timeouts.next_at, *due_at]
        if self._stopping.is_on:
            times += self._stopping.times
        else:
            times.append(self._polling.wake_at(self._now))
        return min([time for time in times if time > self._now], default=math.inf)

    @property
    def is_collecting(self) -> bool:
        """Whether messages wait for others to share their batch."""
        return self._turns.are_collecting

    @property
    def waiting(self) -> tuple[Message, ...]:
        """The messages in hand for which no handler is at work."""
        held_messages = self._held_messages
        return tuple(held.message for held in (*held_messages.waiting.values(), *held_messages.in_line.values()))

    def is_free(self, turn: Turn) -> bool:
        """Tell whether a message may go on at a turn without being in line. May be called from any thread."""
        return self._turns.is_free(turn)

    def health(self, now: float) -> Health:
        """Return how the consumer is. May be called from any thread: what it reads is at worst a moment old."""
        diagnosis = Diagnosis(
            now=now,
            stopping=self._stopping.is_on,
            told_at=self._now,
            polling=self._polling,
            held_messages=self._held_messages,
            leases=self._leases,
            timeouts=self._timeouts,
            outages=self._outages,
            circuits=self._circuits,
            settings=self._settings,
        )
        return diagnosis.describe()

    def _note(self, input: Input) -> None:
        match input:
            case Received():
                self._note_received(input)
            case Finished(verdicts):
                self._note_finished(verdicts)
            case Settled():
                self._note_settled(input)
            case Called() | LinedUp() | Flush():
                self._note_at_work(input)
            case Inspected(facts):
                self._inspection.note(facts, self._now)
            case AskFailed():
                self._note_failed_question(input)
            case Crashed(message, error):
                self._note_crash(message, error)
            case StoreFailed() | StoresChecked():
                self._note_store(input)
            case Interrupted() | Pause() | Stop():
                self._note_order(input)

    # Asking the queue

    def _poll(self, now: float) -> None:
        if self._outages.problem or self._polling.is_paused:
            self._polling.rest(now)
        elif not self._circuits.is_all_open:
            self._polling.ask(now)
        elif now >= self._circuits.due_at and not self._held_messages.running:
            # No message in hand can try whether it may be closed: what can be started was started.
            self._polling.ask_for_one(now)
        else:
            self._polling.rest(now)

    def _note_received(self, received: Received) -> None:
        messages = received.messages
        self._polling.note_received(received.poll, len(messages), received.seconds, self._now)
        if self._fifo:
            self._turns.note_polled(len(messages))
        self._actions.count(("received",), len(messages))
        self._measuring.look()
        if self._measuring.is_on:
            self._measuring.note_received(received)
        self._arrivals.take(messages, self._now, only_known=self._stopping.is_on or self._polling.is_paused)

    def _note_failed_question(self, failed: AskFailed) -> None:
        if self._stopping.is_on:
            return
        if self._measuring.is_on:
            self._measuring.note_failed(failed)
        pause = self._polling.note_failed(failed.poll, self._now, over_limit=failed.over_limit)
        if failed.refused and not self._polling.has_received:
            self._stopping.interrupt(failed.error, self._now)
            return
        self._actions.count(("polls", "failed"))
        text = "the queue does not answer, trying again in %.1f s: %s"
        self._actions.report(logging.WARNING, text, pause, text_of(failed.error))

    # Handlers

    def _start_handlers(self) -> None:
        held_messages, concurrency = self._held_messages, self._settings.concurrency
        if self._turns.are_used:
            self._turns.give(self._now)
        while ready := held_messages.take_ready(concurrency - len(held_messages.running)):
            if self._settings.max_receives is not None:
                ready = self._endings.dead_letter_exhausted(ready, self._now)
            held_messages.start(ready, self._now)
            if ready:
                messages = tuple([held.message for held in ready])
                self._actions.add(Start(messages))
                if self._measuring.is_on:
                    self._measuring.note_started(messages)

    def _note_finished(self, verdicts: Sequence[Verdict]) -> None:
        unmatched = handled = 0
        done = []
        had_turns = self._turns.are_used
        for verdict in verdicts:
            if had_turns and self._held_messages.is_at_work(verdict.message.id):
                self._turns.note_verdict(verdict, self._now)
            held = self._held_messages.end(verdict.message.id)
            if held is None:
                continue
            self._timeouts.forget(held.id)
            if verdict.outcomes:
                handled += 1
            else:
                unmatched += verdict.unmatched
            if held.lease.is_over(self._now) and not self._leases.is_lost(held):
                self._leases.lose(held, "while it was handled")
            if verdict.fate is _DELETE:
                done.append(held)
                if verdict.message.discards_payload:
                    self._settling.discard_with(verdict.message)
            else:
                self._end_undeleted(held, verdict)
        self._endings.delete(done, self._now)
        if handled or unmatched:
            self._polling.note_finished(handled + unmatched, self._now)
            self._actions.count(("handled",), handled)
            self._actions.count(("unmatched",), unmatched)
            self._actions.count(("ended", "deleted"), len(done))
            if self._measuring.is_on:
                self._measuring.note_finished(verdicts)

    def _end_undeleted(self, held: Held, verdict: Verdict) -> None:
        if verdict.interruption is not None:
            self._stopping.interrupt(verdict.interruption, self._now)
        if self._leases.is_lost(held):
            self._endings.release(held, self._now)
        elif verdict.dead_letters:
            self._endings.dead_letter(held, verdict, self._now)
        elif problem := why_not_kept(verdict, self._settings.max_receives):
            self._endings.dead_letter(held, verdict, self._now, problem)
        else:
            self._endings.keep(held, self._now, verdict.outcomes)

    def _note_crash(self, message: Message, error: BaseException) -> None:
        several = self._held_messages.end_all(message.id)
        is_cancelled = is_cancellation(error)
        if is_cancelled:
            # By whoever ends the event loop that they run in.
            self._actions.report_message(logging.WARNING, "message %s: its handlers were cancelled", message)
        else:
            text = "message %s: its handlers could not be run"
            self._actions.report_message(logging.ERROR, text, message, error=error)
        if not (isinstance(error, Exception) or is_cancelled):
            self._stopping.interrupt(error, self._now)
        self._timeouts.forget(message.id)
        for held in several:
            self._endings.keep(held, self._now)

    def _note_store(self, told: StoreFailed | StoresChecked) -> None:
        self._outages.note(told, self._now)
        if self._outages.refusal is not None:
            self._stopping.interrupt(self._outages.refusal, self._now)

    def _note_at_work(self, told: Called | LinedUp | Flush) -> None:
        if isinstance(told, Flush):
            self._turns.flush()
            return
        if isinstance(told, LinedUp):
            self._turns.line_up(told, self._now, stopping=self._stopping.is_on)
            if told.handler is not None and told.handler.options.takes_batches:
                self._polling.note_collected(len(told.messages), self._now)
            if self._stopping.is_on:
                self._stopping.abandon_late(self._now)
            return
        message = told.message
        if lease_of(message).is_given_up:
            # It may be at work once more, as it came again.
            return
        if told.seconds is None:
            self._turns.note_returned(message.id, self._now)
        held = self._held_messages.running.get(message.id)
        if held is not None:
            self._timeouts.note(held, told, self._now)

    # Settling

    def _note_settled(self, settled: Settled) -> None:
        asked, problems, refusal = settled.asked, settled.problems, settled.refusal
        if self._measuring.is_on:
            self._measuring.note_settled(settled)
        match asked:
            case Extend():
                self._leases.note(asked, problems, refusal, self._now)
            case DeadLetter(message):
                self._endings.end_dead_lettering(asked, problems.get(message.id), self._now)
            case Delete() | Hide():
                last = self._stopping.is_on and not self._held_messages.are_begun
                self._settling.note(asked, problems, self._now, stopping=self._stopping.is_on, last=last)
        if refusal is not None and isinstance(asked, Delete) and not self._settling.has_deleted:
            # To go on would be to handle the same messages for ever.
            self._stopping.interrupt(refusal, self._now)

    def _note_order(self, told: Interrupted | Pause | Stop) -> None:
        if isinstance(told, Pause):
            self._polling.pause(is_over=told.is_over)
        elif isinstance(told, Interrupted):
            self._stopping.interrupt(told.error, self._now)
        else:
            self._stopping.stop(self._now, at_once=told.now)

    def _pause(self, tries: int) -> float:
        return self._randomness() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries, 20))
