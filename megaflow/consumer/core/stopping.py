"""The stop of a consumer: it receives nothing more, what is at work has its time, and what waits is given back."""

from __future__ import annotations

import logging
import math
from typing import Final

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.endings import Endings
from megaflow.consumer.core.held_messages import HeldMessages
from megaflow.consumer.core.polling import Polling
from megaflow.consumer.core.protocol import Exit
from megaflow.consumer.core.settling import Settling
from megaflow.consumer.core.store_outages import StoreOutages
from megaflow.consumer.core.turns import Turns
from megaflow.settings import ConsumerSettings

FLUSH_GRACE: Final = 3.0
"""Seconds left to what is being settled when the handlers' time to finish is over."""


class Stopping:
    """When a consumer stops, and by which error, if by one."""

    def __init__(
        self,
        settings: ConsumerSettings,
        held_messages: HeldMessages,
        turns: Turns,
        polling: Polling,
        outages: StoreOutages,
        endings: Endings,
        settling: Settling,
        actions: Actions,
    ) -> None:
        self._settings = settings
        self._held_messages = held_messages
        self._turns = turns
        self._polling = polling
        self._outages = outages
        self._endings = endings
        self._settling = settling
        self._actions = actions
        self._abandon_at = math.inf
        """When it waits no longer for handlers; infinity is that it is not stopping."""

        self._at_once = False
        self._exited = False
        self._error: BaseException | None = None

    @property
    def is_on(self) -> bool:
        """Whether the consumer stops."""
        return self._abandon_at < math.inf

    @property
    def times(self) -> tuple[float, float]:
        """When there is something to do about it, though nothing happens."""
        return self._abandon_at, self._abandon_at + FLUSH_GRACE

    def interrupt(self, error: BaseException, now: float) -> None:
        """Stop because of an *error*, which the consumer ends with; the first is the one."""
        self._error = self._error or error
        self.stop(now, at_once=False)

    def stop(self, now: float, *, at_once: bool) -> None:
        """Stop, or wait no longer for what is at work."""
        if not self.is_on:
            self._begin(now, waits=not at_once)
        if at_once:
            self._at_once = True
            self._abandon_at = min(now, self._abandon_at)

    def abandon_late(self, now: float) -> None:
        """Give back those in line whose turn comes when there is no time left."""
        late = self._turns.take_late(self._abandon_at, now)
        self._endings.abandon_in_line(late, now)

    def abandon_overdue(self, now: float) -> None:
        """Give up what has not ended in time, if it is over."""
        if now >= self._abandon_at:
            self._endings.abandon_parked(self._outages.take_parked(), now)
            self._endings.abandon_in_line(self._turns.take_all(), now)
            self._endings.abandon_running(now, give_back=self._at_once)

    def exit_when_done(self, now: float) -> None:
        """Exit, once nothing is at work and all is settled, or there is no time left for that."""
        if self._exited or self._held_messages.are_begun:
            return
        settled = self._settling.is_empty and not self._held_messages.dead_lettering
        if settled or now >= self._abandon_at + FLUSH_GRACE:
            self._exited = True
            self._actions.add(Exit(self._error))

    def _begin(self, now: float, *, waits: bool) -> None:
        self._abandon_at = now + self._settings.shutdown_timeout
        self.abandon_late(now)
        self._turns.hurry()
        if self._held_messages.are_begun and waits:
            count = self._held_messages.begun
            self._actions.report(
                logging.INFO,
                "stopping: waiting up to %s s for %d %s; "
                "stop(now=True) does not wait, nor a second signal that is heard",
                self._settings.shutdown_timeout,
                count,
                "message" if count == 1 else "messages",
            )
        self._polling.abandon()
        self._endings.give_back_waiting(tuple(self._held_messages.waiting.values()), now)
        self._settling.hurry(now)
