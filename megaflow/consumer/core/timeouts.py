"""Until when the consumer waits for the handlers that have a time limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from megaflow.consumer.core.held_messages import Held
from megaflow.consumer.core.protocol import Called


@dataclass(frozen=True, slots=True)
class Limit:
    """The call of a handler of a message, and when to wait no longer for it."""

    held: Held
    call: Called
    ends_at: float


class TimeLimits:
    """The calls with a time limit that have not returned; of one message, one at a time."""

    def __init__(self) -> None:
        self._limits: dict[str, Limit] = {}

    def note(self, held: Held, event: Called, now: float) -> None:
        """Take note that a handler of a message was called, or has returned."""
        if event.seconds is None:
            self.forget(held)
        else:
            self._limits[held.id] = Limit(held, event, now + event.seconds)

    def forget(self, held: Held) -> None:
        """Wait for nothing of this message any more."""
        self._limits.pop(held.id, None)

    def clear(self) -> None:
        """Wait for nothing any more."""
        self._limits.clear()

    def take_overdue(self, now: float) -> list[Limit]:
        """Take out the calls that have not returned in their time."""
        if not self._limits:
            return []
        overdue = [limit for limit in self._limits.values() if limit.ends_at <= now]
        for limit in overdue:
            self.forget(limit.held)
        return overdue

    @property
    def next_at(self) -> float:
        """When the next one's time is over; infinity where there is none."""
        return min([limit.ends_at for limit in self._limits.values()], default=math.inf)
