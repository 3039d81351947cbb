"""Leases: for how long a message is ours, when its visibility timeout is extended, and when it is lost.

A lease is extended about halfway, together with others that are due soon:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from megaflow import limits
from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.protocol import Extend, Problem
from megaflow.errors import text_of
from megaflow.messages.message import Lease
from megaflow.settings import ConsumerSettings

_CALL_TIME: Final = 1.0
"""Seconds that a call may take: a lease ends at the latest 12 hours after the message was received."""

_PATIENCE: Final = 5.0
"""Seconds that a settlement waits for an extension under way, which could undo it; after them another one is tried."""


class Leases:
    """Watches the leases of the *held_messages*, and alone changes them."""

    def __init__(self, settings: ConsumerSettings, held_messages: HeldMessages, actions: Actions) -> None:
        self._timeout = float(settings.visibility_timeout)
        self._longest = min(settings.max_processing_time, limits.VISIBILITY_TIMEOUT - _CALL_TIME)
        self._held_messages = held_messages
        self._actions = actions
        self._asked_at: dict[str, float] = {}
        """Since when an extension is under way, by message id, as is what follows."""

        self._put_off: dict[str, float] = {}
        """When to extend next, where that is not halfway: the last try failed, or there is to be none any more."""

        self._lost: set[str] = set()
        self.due_at = math.inf
        """When `tend` has something to do again."""

        self.failures = 0
        """Extensions that failed in a row."""

        self.losses = 0
        """Leases that were lost, since the start."""

    def watch(self, several: Iterable[Held]) -> None:
        """Begin to extend the leases of messages that have come into hand, or have come again."""
        for held in several:
            self._put_off.pop(held.id, None)
            self._lost.discard(held.id)
            halfway = held.lease.expires_at - self._timeout / 2
            if halfway < self.due_at:
                self.due_at = halfway

    def renew(self, held: Held, lease: Lease) -> None:
        """Go on with the *lease* of a later delivery."""
        held.lease.renew(lease)
        self.watch((held,))

    def give_up(self, held: Held) -> None:
        """Let handlers know that their message comes again without them being waited for."""
        held.lease.is_given_up = True

    def is_lost(self, held: Held) -> bool:
        """Tell whether it was found that the lease is lost. May be asked from any thread."""
        return held.id in self._lost

    def lose(self, held: Held, when: str) -> None:
        """Note that a lease is lost; *when* says where its message stood."""
        self._lost.add(held.id)
        self.losses += 1
        self._actions.count(("lost_leases",))
        text = "message %s: its lease was lost %s; it comes again"
        self._actions.report_message(logging.WARNING, text, held.message, when)

    def tend(self, now: float) -> list[Held]:
        """Extend what is due, and return what has expired and was not known to be lost."""
        expired = [held for held in self._held_messages.leased() if held.lease.is_over(now) and not self.is_lost(held)]
        self._forget_absent()
        self._extend(now)
        watched = [held for held in self._held_messages.leased() if not held.lease.is_over(now)]
        self.due_at = min(map(self._due_at, watched), default=math.inf)
        return expired

    def note(self, asked: Extend, problems: Mapping[str, Problem], refusal: BaseException | None, now: float) -> None:
        """Take note of what came of extending leases."""
        for message, handle, seconds in zip(asked.messages, asked.receipt_handles, asked.seconds, strict=True):
            if self._asked_at.get(message.id) == asked.asked_at:
                del self._asked_at[message.id]
            held = self._held_messages.find(message.id)
            if held is not None:
                # One that came again meanwhile has another receipt handle.
                if held.lease.receipt_handle == handle:
                    self._note_one(held, problems.get(message.id), refusal, asked.asked_at + seconds, now)
                # Mostly not now: of thousands of messages, each ten would have all others looked at.
                self.due_at = min(self.due_at, self._due_at(held))
        self.failures = self.failures + 1 if problems else 0
        if refusal is not None:
            self._actions.report(logging.ERROR, "visibility timeouts cannot be extended: %s", text_of(refusal))

    def patience_ends_at(self, message_id: str) -> float:
        """Return until when a settlement waits for an extension of this message; long past where none is under way."""
        return self._asked_at.get(message_id, -math.inf) + _PATIENCE

    def _note_one(
        self, held: Held, problem: Problem | None, refusal: BaseException | None, expires_at: float, now: float
    ) -> None:
        if problem is None:
            self._actions.count(("extended",))
            held.lease.expires_at = max(held.lease.expires_at, expires_at)
            self._put_off.pop(held.id, None)
        elif problem.final and refusal is None:
            # Somebody else has it, or it is gone.
            held.lease.is_refused, self.due_at = True, now
            text = "message %s: its lease is lost: %s"
            self._actions.report_message(logging.WARNING, text, held.message, problem.reason)
        else:
            self._actions.count(("not_extended",))
            self._put_off[held.id] = now + max(0.1, (held.lease.expires_at - now) / 4)
            text = "message %s: its visibility was not extended: %s"
            self._actions.report_message(logging.WARNING, text, held.message, problem.reason)

    def _extend(self, now: float) -> None:
        leased = self._held_messages.leased()
        free = [held for held in leased if not held.lease.is_over(now) and self.patience_ends_at(held.id) <= now]
        if not any(self._extend_at(held) <= now for held in free):
            return
        due = [held for held in free if self._extend_at(held) <= now + self._timeout / 10]
        pairs = iter([(held, seconds) for held in due if (seconds := self._seconds_for(held, now)) > 0])
        while batch := list(islice(pairs, limits.BATCH_ENTRIES)):
            self._asked_at |= dict.fromkeys((held.id for held, _ in batch), now)
            messages, handles = [held.message for held, _ in batch], [held.lease.receipt_handle for held, _ in batch]
            self._actions.add(Extend(tuple(messages), tuple(handles), tuple(seconds for _, seconds in batch), now))

    def _seconds_for(self, held: Held, now: float) -> float:
        """Return for how long to extend; 0 where that is over, which is said."""
        seconds = math.floor(min(self._timeout, held.lease.received_at + self._longest - now))
        if now + seconds > held.lease.expires_at:
            return seconds
        self._put_off[held.id] = math.inf
        text = "message %s: its handlers have had max_processing_time, %s s, so its lease is not extended any more"
        self._actions.report_message(logging.WARNING, text, held.message, self._longest)
        return 0

    def _extend_at(self, held: Held) -> float:
        put_off = self._put_off.get(held.id)
        return held.lease.expires_at - self._timeout / 2 if put_off is None else put_off

    def _due_at(self, held: Held) -> float:
        return min(held.lease.expires_at, self._free_at(held))

    def _free_at(self, held: Held) -> float:
        return max(self._extend_at(held), self.patience_ends_at(held.id))

    def _forget_absent(self) -> None:
        """Forget what is not in hand any more; what comes again is watched anew."""
        find = self._held_messages.find
        self._lost = {each for each in self._lost if find(each)}
        self._put_off = {each: at for each, at in self._put_off.items() if find(each)}
