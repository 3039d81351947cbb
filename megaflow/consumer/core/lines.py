"""Lines before handlers: messages that wait for a call, one by one, or many for one call together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from megaflow.consumer.core.circuits import Circuit
from megaflow.consumer.core.gates import Gate, make_gates
from megaflow.handlers.handler import Handler
from megaflow.processing.verdict import Outcome


class Line:
    """The messages in line at the gates of *handler*, and at its *circuit*, where it has one.

    Without a handler they wait for others of their group alone.
    """

    def __init__(self, handler: Handler | None, circuit: Circuit | None = None) -> None:
        self.handler: Final = handler
        self.gates: Final[Sequence[Gate]] = () if handler is None else make_gates(handler.options)
        self.circuit: Final = circuit
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
        if not self.waiting:
            return math.inf
        closed_until = -math.inf if self.circuit is None else self.circuit.opens_at
        return max([closed_until, *(gate.opens_at(now) for gate in self.gates)])

    @property
    def is_shut(self) -> bool:
        """Whether it waits for what is away."""
        return self.circuit is not None and self.circuit.is_open

    @property
    def rank(self) -> tuple[bool, int]:
        """Where its next one stands among those of other lines: one that can close its circuit is first."""
        is_needed = self.circuit is not None and self.handler is not None and self.circuit.is_opened_by(self.handler)
        return not is_needed, next(iter(self.waiting.values()))

    def take(self, now: float) -> list[str]:
        """Let the next call begin, and return whom it is for. `begin` is to be called."""
        for gate in self.gates:
            gate.enter(now)
        taken = list(islice(self.waiting, self.call_size))
        for message_id in taken:
            del self.waiting[message_id]
        return taken

    call_size = 1
    """How many messages one call is for at most."""

    def begin(self, call_id: str) -> None:
        """Take note of what the call that begins is known by: a message, or what stands for a batch."""
        if self.circuit is not None:
            self.circuit.begin(call_id)

    def leave(self, call_id: str, outcome: Outcome | None, now: float) -> None:
        """Take note that a call has ended, and with what."""
        for gate in self.gates:
            gate.leave()
        if self.circuit is not None and self.handler is not None:
            self.circuit.end(call_id, self.handler, outcome, now)

    def too_late(self, end: float, now: float) -> list[str]:
        """Return the messages whose turn does not come until *end*; nobody waits until then for what is away."""
        most = 0 if self.is_shut else len(self.waiting)
        room = min([gate.room_until(end, now, most) for gate in self.gates], default=most)
        return list(self.waiting)[room:]


class BatchLine(Line):
    """The messages that wait for others to share a call: until there are enough, or one has waited long enough."""

    def __init__(self, handler: Handler, circuit: Circuit | None) -> None:
        super().__init__(handler, circuit)
        self.batch_handler: Final = handler
        self.call_size = handler.options.batch_size or 1
        self._seconds = handler.options.batch_seconds
        self._came_at: dict[str, float] = {}
        self.is_flushed = False
        """Whether nothing more is waited for."""

    def waits_for_all(self) -> None:
        """Let no message have waited long enough: somebody says when nothing more comes."""
        self._seconds = math.inf

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
        (self.waiting if is_next else self.behind)[message_id] = number
        self._came_at[message_id] = now
        self.is_flushed = False

    def remove(self, message_id: str) -> None:
        """Let a message wait no longer, if it does."""
        super().remove(message_id)
        self._came_at.pop(message_id, None)

    def take(self, now: float) -> list[str]:
        """Let the next call begin, with as many as there are for it."""
        taken = super().take(now)
        for message_id in taken:
            del self._came_at[message_id]
        return taken

    def opens_at(self, now: float) -> float:
        """Return when the next batch is called: it has to be due, and all gates open."""
        if not self.waiting:
            return math.inf
        is_due = self.is_flushed or len(self.waiting) >= self.call_size
        due_at = -math.inf if is_due else self._came_at[next(iter(self.waiting))] + self._seconds
        return max(due_at, super().opens_at(now))

    def too_late(self, end: float, now: float) -> list[str]:
        """Return all that waits for what is away, else nothing: nobody knows how many calls it takes."""
        return [*self.waiting, *self.behind] if self.is_shut else []


def make_line(handler: Handler | None, circuit: Circuit | None) -> Line:
    """Return the line at a handler; without one, that of what waits for others of its group alone."""
    if handler is None or not handler.options.takes_batches:
        return Line(handler, circuit)
    return BatchLine(handler, circuit)
