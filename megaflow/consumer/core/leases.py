"""When to extend the leases of the messages in hand, and which of them are lost.

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
from megaflow.consumer.core.held_messages import Hand, Held
from megaflow.consumer.core.protocol import Answer, Extend, Problem
from megaflow.settings import ConsumerSettings

_CALL_TIME: Final = 1.0
"""Seconds that a call may take: a lease ends at the latest 12 hours after the message was received."""

_PATIENCE: Final = 5.0
"""Seconds that a settlement waits for an extension under way, which could undo it; after them another one is tried."""


class Leases:
    """Watches the leases of the messages in *hand*."""

    def __init__(self, settings: ConsumerSettings, hand: Hand, answer: Answer) -> None:
        self._timeout = float(settings.visibility_timeout)
        self._longest = min(settings.max_processing_time, limits.VISIBILITY_TIMEOUT - _CALL_TIME)
        self._hand = hand
        self._answer = answer
        self._asked: dict[str, float] = {}
        self.due_at = math.inf
        """When `tend` has something to do again."""

        self.failures = 0
        """Extensions that failed in a row."""

    def watch(self, several: Iterable[Held]) -> None:
        """Begin to extend the leases of messages that have come into hand, or have come again."""
        for held in several:
            held.is_lost = False
            held.extend_at = held.lease.expires_at - self._timeout / 2
            if held.extend_at < self.due_at:
                self.due_at = held.extend_at

    def tend(self, now: float) -> list[Held]:
        """Extend what is due, and return what is lost and was not before."""
        if now < self.due_at:
            return []
        lost = [held for held in self._hand.leased() if not held.is_lost and held.lease.is_over(now)]
        self._extend(now)
        watched = [held for held in self._hand.leased() if not held.lease.is_over(now)]
        self.due_at = min((min(held.lease.expires_at, self._extends_at(held)) for held in watched), default=math.inf)
        return lost

    def note(self, asked: Extend, problems: Mapping[str, Problem], refusal: BaseException | None, now: float) -> None:
        """Take note of what came of extending leases."""
        for message, handle, seconds in zip(asked.messages, asked.receipt_handles, asked.seconds, strict=True):
            if self._asked.get(message.id) == asked.asked_at:
                del self._asked[message.id]
            held = self._hand.find(message.id)
            # One that came again meanwhile has another receipt handle.
            if held is not None and held.lease.receipt_handle == handle:
                self._note_one(held, problems.get(message.id), refusal, asked.asked_at + seconds, now)
        self.failures = self.failures + 1 if problems else 0
        if refusal is not None:
            self._answer.report(logging.ERROR, "visibility timeouts cannot be extended: %s", refusal)

    def patience_ends_at(self, held: Held) -> float:
        """Return until when a settlement waits for an extension of this message that is under way, else 0."""
        asked_at = self._asked.get(held.id)
        return 0.0 if asked_at is None else asked_at + _PATIENCE

    def _note_one(
        self, held: Held, problem: Problem | None, refusal: BaseException | None, expires_at: float, now: float
    ) -> None:
        if problem is None:
            self._answer.count("extended")
            held.lease.expires_at = max(held.lease.expires_at, expires_at)
            held.extend_at = held.lease.expires_at - self._timeout / 2
        elif problem.final and refusal is None:
            # Somebody else has it, or it is gone.
            held.lease.is_refused = True
            self._answer.report(logging.WARNING, "message %s: its lease is lost: %s", held.id, problem.reason)
        else:
            self._answer.count("not_extended")
            held.extend_at = now + max(0.1, (held.lease.expires_at - now) / 4)
            self._answer.report(
                logging.WARNING, "message %s: its visibility was not extended: %s", held.id, problem.reason
            )
        self.due_at = min(self.due_at, held.extend_at, now if held.lease.is_refused else held.lease.expires_at)

    def _extend(self, now: float) -> None:
        free = [
            held for held in self._hand.leased() if not held.lease.is_over(now) and self.patience_ends_at(held) <= now
        ]
        if not any(held.extend_at <= now for held in free):
            return
        due = [held for held in free if held.extend_at <= now + self._timeout / 10]
        pairs = iter([(held, seconds) for held in due if (seconds := self._seconds_for(held, now)) > 0])
        while batch := list(islice(pairs, limits.BATCH_ENTRIES)):
            self._asked |= dict.fromkeys((held.id for held, _ in batch), now)
            messages, handles = [held.message for held, _ in batch], [held.lease.receipt_handle for held, _ in batch]
            self._answer.do(Extend(tuple(messages), tuple(handles), tuple(seconds for _, seconds in batch), now))

    def _seconds_for(self, held: Held, now: float) -> float:
        """Return for how long to extend; 0 where that is over, which is said."""
        seconds = math.floor(min(self._timeout, held.lease.received_at + self._longest - now))
        if seconds > 0 and now + seconds > held.lease.expires_at:
            return seconds
        held.extend_at = math.inf
        self._answer.report(
            logging.WARNING,
            "message %s: its handlers have had max_processing_time, %s s, so its lease is not extended any more",
            held.id,
            self._longest,
        )
        return 0

    def _extends_at(self, held: Held) -> float:
        return max(held.extend_at, self.patience_ends_at(held))
