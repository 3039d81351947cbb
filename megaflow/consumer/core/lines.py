"""Lines before handlers: messages that wait for a call, one by one, or many for one call together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from megaflow.consumer.core.gates import Gate, make_gates
from megaflow.handlers.handler import Handler


class Line:
    """The messages in line at one handler's *gates*."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self.gates: Final = gates
        self.waiting: dict[str, int] = {}
        """The messages in the order they came, by their ids, each with its number among those of all lines."""

        self.behind: dict[str, int] = {}
        """Those that go on only after others of their group, in the same way."""

    def add(self, message_id: str, number: int, now: float, *, is_next: bool) -> None:
        """Let a message wait."""
        (self.waiting if is_next else self.behind)[message_id] = number

    def remove(self, message_id: str) -> None:
        """Let a message wait no longer, if it does."""
        self.waiting.pop(message_id, None)
        self.behind.pop(message_id, None)

    def promote(self, message_id: str) -> None:
        """Let a message go on that has waited for others of its group."""
        if message_id in self.behind:
            self.waiting[message_id] = self.behind.pop(message_id)

    def demote(self, is_next: Callable[[str], bool]) -> None:
        """Let those wait for others of their group that are not next in it any more."""
        for message_id in [each for each in self.waiting if not is_next(each)]:
            self.behind[message_id] = self.waiting.pop(message_id)

    def opens_at(self, now: float) -> float:
        """Return since when all gates are open for the next one, or when they will be."""
        return max([gate.opens_at(now) for gate in self.gates], default=-math.inf) if self.waiting else math.inf

    @property
    def first(self) -> int:
        """The number of the next one."""
        return next(iter(self.waiting.values()))

    def take(self, now: float) -> list[str]:
        """Let the next call begin, and return whom it is for."""
        for gate in self.gates:
            gate.enter(now)
        taken = list(islice(self.waiting, self.call_size))
        for message_id in taken:
            self.remove(message_id)
        return taken

    call_size = 1
    """How many messages one call is for at most."""

    def leave(self) -> None:
        """Take note that a call has ended."""
        for gate in self.gates:
            gate.leave()

    def too_late(self, end: float, now: float) -> list[str]:
        """Return the messages whose turn does not come until *end*."""
        most = len(self.waiting)
        room = min([gate.room_until(end, now, most) for gate in self.gates], default=most)
        return list(self.waiting)[room:]


class BatchLine(Line):
    """The messages that wait for others to share a call: until there are enough, or one has waited long enough."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(make_gates(handler.options))
        self.handler: Final = handler
        self.call_size = handler.options.batch_size or 1
        self._seconds = handler.options.batch_seconds
        self._came_at: dict[str, float] = {}
        self.is_flushed = False
        """Whether nothing more is waited for."""

    @property
    def collected(self) -> int:
        """How many wait for no more than others to come."""
        return min(self.call_size, len(self.waiting) + len(self.behind))

    @property
    def is_collecting(self) -> bool:
        """Whether some wait, and more may come."""
        return bool(self.waiting) and not self.is_flushed

    def add(self, message_id: str, number: int, now: float, *, is_next: bool) -> None:
        """Let a message wait; more may come after it."""
        super().add(message_id, number, now, is_next=is_next)
        self._came_at[message_id] = now
        self.is_flushed = False

    def remove(self, message_id: str) -> None:
        """Let a message wait no longer, if it does."""
        super().remove(message_id)
        self._came_at.pop(message_id, None)

    def opens_at(self, now: float) -> float:
        """Return when the next batch is called: it has to be due, and all gates open."""
        if not self.waiting:
            return math.inf
        is_due = self.is_flushed or len(self.waiting) >= self.call_size
        due_at = -math.inf if is_due else self._came_at[next(iter(self.waiting))] + self._seconds
        return max(due_at, super().opens_at(now))

    def too_late(self, end: float, now: float) -> list[str]:
        """Return nothing: nobody knows how many calls it takes."""
        return []


def make_line(handler: Handler | None) -> Line:
    """Return the line at a handler; without one, that of what waits for others of its group alone."""
    if handler is None:
        return Line(())
    return BatchLine(handler) if handler.options.takes_batches else Line(make_gates(handler.options))
