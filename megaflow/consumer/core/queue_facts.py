"""Queue facts: the redrive policy and the messages in flight, as the queue says, and what follows from them."""

from __future__ import annotations

import logging
from typing import Final

from megaflow import limits
from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.polling import Polling
from megaflow.settings import ConsumerSettings
from megaflow.transport.queue import QueueFacts

_LOW_RECEIVE_COUNT: Final = 3


class Inspection:
    """Where messages go that fail for good, and whether the queue is at its limit, which *polling* is told."""

    def __init__(self, settings: ConsumerSettings, polling: Polling, actions: Actions) -> None:
        self._polling = polling
        self._actions = actions
        self._is_known = False
        self.dead_letter_queue_url = settings.dead_letter_queue_url or ""
        """Of the queue that takes them; ``""`` where there is none."""

        self.dead_letter_size_limit = 0
        """What a message may have there in bytes; 0 is not known."""

        self.has_redrive_policy = False

    def note(self, facts: QueueFacts, now: float) -> None:
        """Take note of what the queue says: its redrive policy the first time, then how much it holds."""
        self._polling.note_inspected(now)
        if self._is_known:
            self._note_depth(facts)
        else:
            self._is_known = True
            self._note_redrive_policy(facts)

    def _note_redrive_policy(self, facts: QueueFacts) -> None:
        report = self._actions.report
        self.dead_letter_queue_url = self.dead_letter_queue_url or facts.dead_letter_queue_url
        self.dead_letter_size_limit = facts.dead_letter_size_limit
        self.has_redrive_policy = facts.max_receive_count > 0
        if facts.problem:
            report(logging.WARNING, "the redrive policy is not known: %s", facts.problem)
        if self.dead_letter_queue_url:
            report(logging.INFO, "messages that fail for good go to %s", self.dead_letter_queue_url)
        else:
            report(logging.WARNING, "no dead-letter queue: messages that fail for good are deleted")
        if 0 < facts.max_receive_count < _LOW_RECEIVE_COUNT:
            report(
                logging.WARNING,
                "maxReceiveCount is %d, and a message that is given back unhandled counts as received: "
                "SQS itself will dead-letter messages that never failed; use %d or more",
                facts.max_receive_count,
                _LOW_RECEIVE_COUNT,
            )

    def _note_depth(self, facts: QueueFacts) -> None:
        # A FIFO queue does not say that it has reached the limit: it gives nothing.
        is_over = facts.visible > 0 and facts.in_flight >= limits.IN_FLIGHT
        self._polling.note_depth(over_limit=is_over)
        if is_over:
            self._actions.report(
                logging.WARNING,
                "the queue gives nothing, although it holds %d messages: %d are in flight, and SQS allows %d",
                *(facts.visible, facts.in_flight, limits.IN_FLIGHT),
            )
