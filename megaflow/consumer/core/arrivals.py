"""Arrivals: what is received is taken into hand, or goes on as one with what is there, or is given back."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.endings import Endings
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.leases import Leases
from megaflow.consumer.core.settling import Settling
from megaflow.messages.message import Message


class Arrivals:
    """Takes messages that were received."""

    def __init__(
        self, held_messages: HeldMessages, leases: Leases, settling: Settling, endings: Endings, actions: Actions
    ) -> None:
        self._held_messages = held_messages
        self._leases = leases
        self._settling = settling
        self._endings = endings
        self._actions = actions

    def take(self, messages: Sequence[Message], now: float, *, only_known: bool) -> None:
        """Take *messages*; with *only_known* give back what is in hand for the first time."""
        several = self._held_messages.describe(messages)
        if not only_known and self._are_new(several):
            self._take_new(several)
        else:
            for held in several:
                self._take(held, now, only_known=only_known)

    def _are_new(self, several: Sequence[Held]) -> bool:
        ids = [held.id for held in several]
        is_unique = len(set(ids)) == len(ids)
        return is_unique and self._held_messages.has_none_of(ids) and self._settling.has_none_of(ids)

    def _take_new(self, several: Sequence[Held]) -> None:
        self._held_messages.wait(several)
        self._leases.watch(several)

    def _take(self, held: Held, now: float, *, only_known: bool) -> None:
        """Take a message that perhaps came before, or that comes too late."""
        known = self._held_messages.find(held.id)
        if known is not None:
            # It came twice, or its lease was lost and it is still at work: the newer receipt handle is the good one.
            self._actions.count(("duplicates",))
            text = "message %s came again while it is in hand, and goes on as one"
            self._actions.report_message(logging.INFO, text, held.message)
            self._leases.renew(known, held.lease)
        elif self._settling.is_done(held.id):
            self._actions.count(("duplicates",))
            self._settling.delete(held, now)
        elif only_known:
            self._endings.give_back(held, now)
        else:
            self._settling.forget_hiding(held.id)
            self._take_new((held,))
