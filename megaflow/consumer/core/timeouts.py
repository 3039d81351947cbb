"""Timeouts of handlers: the calls under way that have one, and those that have not returned in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from megaflow.consumer.core.held_messages import Held
from megaflow.consumer.core.protocol import Called


@dataclass(frozen=True, slots=True)
class Timeout:
    """The call of a handler of a message, and when to wait no longer for it."""

    held: Held
    call: Called
    ends_at: float


class Timeouts:
    """The calls with a timeout that have not returned; of one message, one at a time."""

    def __init__(self) -> None:
        self._timeouts: dict[str, Timeout] = {}
        self.stuck = 0
        """Calls that have not returned in their time, since the start."""

    def note(self, held: Held, call: Called, now: float) -> None:
        """Take note that a handler of a message was called, or has returned."""
        if call.seconds is None:
            self.forget(held.id)
        else:
            self._timeouts[held.id] = Timeout(held, call, now + call.seconds)

    def forget(self, message_id: str) -> None:
        """Wait for nothing of this message any more."""
        self._timeouts.pop(message_id, None)

    def clear(self) -> None:
        """Wait for nothing any more."""
        self._timeouts.clear()

    def take_overdue(self, now: float) -> list[Timeout]:
        """Take out the calls that have not returned in their time."""
        if not self._timeouts:
            return []
        overdue = [timeout for timeout in self._timeouts.values() if timeout.ends_at <= now]
        for timeout in overdue:
            self.forget(timeout.held.id)
        self.stuck += len(overdue)
        return overdue

    @property
    def next_at(self) -> float:
        """When the next one's time is over; infinity where there is none."""
        return min([timeout.ends_at for timeout in self._timeouts.values()], default=math.inf)
