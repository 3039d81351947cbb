"""The endings of a message: it is deleted, kept for later, dead-lettered, given back at once, or left to others.

Its handlers have come to a verdict, or they are not started any more, or not waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.leases import Leases
from megaflow.consumer.core.protocol import DeadLetter, Drop, GiveUp, Problem
from megaflow.consumer.core.queue_facts import Inspection
from megaflow.consumer.core.settling import Settling
from megaflow.consumer.core.timeouts import Timeouts
from megaflow.errors import HandlerTimeoutError
from megaflow.handlers.status import ProcessStatus
from megaflow.processing.dead_letters import (
    describe_end,
    describe_origin,
    has_room_for_origin,
    why_too_large,
    why_unhandled,
)
from megaflow.processing.pauses import Pauses
from megaflow.processing.verdict import Fate, Outcome, Verdict
from megaflow.settings import ConsumerSettings


class Endings:
    """Ends messages. *pause* is the backoff where those of the user fail.

    What waits behind a message that comes again is given back: handled now, it would overtake that one.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        held_messages: HeldMessages,
        leases: Leases,
        timeouts: Timeouts,
        settling: Settling,
        inspection: Inspection,
        actions: Actions,
        pauses: Pauses,
        pause: Callable[[int], float],
    ) -> None:
        self._settings = settings
        self._held_messages = held_messages
        self._leases = leases
        self._timeouts = timeouts
        self._settling = settling
        self._inspection = inspection
        self._actions = actions
        self._pauses = pauses
        self._pause = pause

    def delete(self, several: Sequence[Held], now: float) -> None:
        """Delete messages that are done with."""
        self._settling.finish(several, now)
        self._held_messages.free(several)

    def keep(self, held: Held, now: float, outcomes: Iterable[Outcome] = ()) -> None:
        """Let a message come again when those of its handlers ask for it whose *outcomes* these are."""
        self._actions.count(("ended", "kept"))
        seconds = self._pauses.choose(held.message, outcomes)
        self._settling.hide(held, self._pause(held.message.receive_count) if seconds is None else seconds, now)
        self._pass_over(held, now)

    def keep_all(self, several: Iterable[Held], now: float, outcomes: Iterable[Outcome] = ()) -> None:
        """Let messages come again whose handlers, or whose batch, came to nothing."""
        for held in several:
            self._leases.give_up(held)
            self.keep(held, now, outcomes)

    def release(self, held: Held, now: float) -> None:
        """Leave a message to whoever has it by now."""
        self._actions.count(("ended", "kept"))
        self._pass_over(held, now)

    def dead_letter(self, held: Held, verdict: Verdict, now: float, problem: str = "") -> None:
        """Send a message to the dead-letter queue, and delete it once it is there; at once where there is none."""
        inspection = self._inspection
        if reason := why_too_large(held.message, inspection.dead_letter_size_limit):
            self._leave_to_redrive(held, reason, now)
            return
        if queue_url := inspection.dead_letter_queue_url:
            # Its group goes on only when it is certain that the message does not come again.
            self._held_messages.begin_dead_lettering(held)
            self._report_end(verdict, problem, is_dropped=False)
            origin = describe_origin(verdict, problem, with_texts=self._settings.records_error_texts)
            has_room = has_room_for_origin(held.message, origin, inspection.dead_letter_size_limit)
            self._actions.add(DeadLetter(held.message, queue_url, origin, has_room))
            return
        self._actions.count(("ended", "dropped"))
        self._report_end(verdict, problem, is_dropped=True)
        self.delete((held,), now)

    def end_dead_lettering(self, asked: DeadLetter, problem: Problem | None, now: float) -> None:
        """Delete a message that has come into the dead-letter queue, and keep one that has not.

        One that is refused with its origin is tried without.
        """
        if problem is not None and problem.of_message and asked.with_origin:
            self._actions.add(replace(asked, with_origin=False))
            return
        held = self._held_messages.end_dead_lettering(asked.message.id)
        if problem is None:
            self._actions.count(("ended", "dead-lettered"))
            self.delete((held,), now)
            return
        if problem.of_message:
            self._leave_to_redrive(held, problem.reason, now)
            return
        self._actions.count(("not_dead_lettered",))
        text = "message %s: kept, as it could not be dead-lettered: %s"
        self._actions.report_message(logging.ERROR, text, held.message, problem.reason)
        self.keep(held, now)

    def dead_letter_exhausted(self, ready: Sequence[Held], now: float) -> list[Held]:
        """Dead-letter what was received too often to be started, and return the rest."""
        left = []
        for held in ready:
            if problem := why_unhandled(held.message, self._settings.max_receives):
                self.dead_letter(held, Verdict(held.message, (), Fate.DEAD_LETTER), now, problem)
            else:
                left.append(held)
        return left

    def drop_expired(self, now: float) -> list[Held]:
        """Take out what waits and whose lease has expired; what is at work goes on, and is known to be lost.

        Return what is in line, and is lost.
        """
        behind: dict[str, Held] = {}
        in_line = []
        for held in self._leases.tend(now):
            if held.id in self._held_messages.waiting:
                behind |= {follower.id: follower for follower in self._held_messages.followers(held)}
                self._held_messages.drop(held)
                self._leases.lose(held, "before it was started")
            elif held.id in self._held_messages.in_line:
                self._leases.lose(held, "before its turn at a handler came")
                in_line.append(held)
            else:
                self._leases.lose(held, "while it is handled, so it may be handled twice")
        # Those whose own leases have ended, too, are not ours to give back.
        self.give_back_waiting([held for held in behind.values() if held.id in self._held_messages.waiting], now)
        return in_line

    def pass_over_undeleted(self, now: float) -> None:
        """Give back what waits behind messages that are done with and come again, as they could not be deleted."""
        for held in self._settling.take_undeleted(now):
            self._give_back_followers(held, now)

    def abandon_timed_out(self, now: float) -> list[tuple[Held, Outcome]]:
        """Wait no longer for handlers that have not returned in their time, and keep their messages; return both."""
        abandoned = []
        for timeout in self._timeouts.take_overdue(now):
            held, handler = timeout.held, timeout.call.handler
            error = HandlerTimeoutError(f"{handler.name} has not returned in its time")
            outcome = Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)
            abandoned.append((held, outcome))
            self._actions.count(("timed_out",))
            text = "message %s: %s has not returned in its time, and cannot be stopped; its thread is replaced"
            self._actions.report_message(logging.ERROR, text, held.message, handler.name, handler=handler.name)
            self._actions.add(GiveUp(held.message, handler))
            self._leases.give_up(held)
            self.keep_all(self._held_messages.end_all(held.id), now, (outcome,))
        return abandoned

    def abandon_running(self, now: float, *, give_back: bool) -> None:
        """Wait no longer for any handler, and *give_back* their messages, or let them come again when their leases end.

        Until then their handlers may still be at work.
        """
        for held in tuple(self._held_messages.running.values()):
            text = "message %s: its handler is still running; it comes again"
            self._actions.report_message(logging.WARNING, text, held.message)
            self._leases.give_up(held)
            for each in self._held_messages.end_all(held.id):
                self._leases.give_up(each)
                if give_back:
                    self.give_back(each, now)
        self._timeouts.clear()

    def abandon_parked(self, parked: Iterable[Held], now: float) -> None:
        """Give back messages that wait for a store: nobody is at work on them."""
        for held in parked:
            text = "message %s: what came of it could not be stored; it comes again"
            self._actions.report_message(logging.WARNING, text, held.message)
            self._leases.give_up(held)
            for each in self._held_messages.end_all(held.id):
                self._leases.give_up(each)
                self.give_back(each, now)

    def abandon_in_line(self, in_line: Sequence[Held], now: float) -> None:
        """Give back messages that were in line, and whose turn does not come any more."""
        for held in in_line:
            self._leases.give_up(held)
            self.give_back(held, now)
        if in_line:
            text = "%d %s given back before their turn at a handler came"
            self._actions.report(
                logging.INFO, text, len(in_line), "message is" if len(in_line) == 1 else "messages are"
            )

    def give_back_doomed(self, doomed: Sequence[Held], now: float) -> None:
        """Give back messages that were in line, and before which one of their group comes again."""
        self._actions.add(Drop(tuple([held.message for held in doomed])))
        for held in doomed:
            self._leases.give_up(held)
            self.give_back(held, now)
            self._pass_over(held, now)

    def give_back(self, held: Held, now: float) -> None:
        """Let a message be seen again at once."""
        self._actions.count(("ended", "given-back"))
        self._settling.hide(held, 0.0, now)

    def give_back_waiting(self, several: Iterable[Held], now: float) -> None:
        """Let messages that wait be seen again at once."""
        for held in several:
            self._held_messages.drop(held)
            self.give_back(held, now)

    def _report_end(self, verdict: Verdict, problem: str, *, is_dropped: bool) -> None:
        if end := describe_end(verdict, problem, is_dropped=is_dropped):
            self._actions.report_message(end.level, end.text, verdict.message, end.said, error=end.error, **end.keys)

    def _leave_to_redrive(self, held: Held, reason: str, now: float) -> None:
        """Keep a message that the dead-letter queue does not take from anybody but SQS itself."""
        self._actions.count(("not_dead_lettered",))
        text = "message %s: kept, as it cannot be dead-lettered: %s; %s"
        policy = "the queue's redrive policy moves it in the end"
        if not self._inspection.has_redrive_policy:
            policy = "no redrive policy of the queue is known, so that it comes again until it is too old: delete it"
        self._actions.report_message(logging.ERROR, text, held.message, reason, policy)
        self.keep(held, now)

    def _pass_over(self, held: Held, now: float) -> None:
        self._give_back_followers(held, now)
        self._held_messages.free((held,))

    def _give_back_followers(self, held: Held, now: float) -> None:
        self.give_back_waiting(self._held_messages.followers(held), now)
        self._held_messages.doom_followers(held)
