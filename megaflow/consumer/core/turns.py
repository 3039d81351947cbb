"""Turns: the messages in line for a call of a handler that not all may have at once, and whose turn it is.

A message in line is in hand, and holds no place of ``concurrency``. It goes on when its turn has come, and such a place
is free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from megaflow.consumer.core.gates import Gate, make_gates
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.protocol import Actions, Resume
from megaflow.handlers.handler import Handler


class _Line:
    """The messages in line at one handler's *gates*."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self.gates: Final = gates
        self.waiting: dict[str, int] = {}
        """The messages in the order they came, by their ids, each with its number among those of all lines."""

    def opens_at(self, now: float) -> float:
        """Return since when all gates are open for the next one, or when they will be."""
        return max([gate.opens_at(now) for gate in self.gates], default=-math.inf) if self.waiting else math.inf

    @property
    def first(self) -> int:
        """The number of the next one."""
        return next(iter(self.waiting.values()))

    def take(self, now: float) -> str:
        """Let the next one go."""
        for gate in self.gates:
            gate.enter(now)
        message_id = next(iter(self.waiting))
        del self.waiting[message_id]
        return message_id

    def leave(self) -> None:
        """Take note that the call of one has ended."""
        for gate in self.gates:
            gate.leave()

    def too_late(self, end: float, now: float) -> list[str]:
        """Return the messages whose turn does not come until *end*."""
        most = len(self.waiting)
        room = min([gate.room_until(end, now, most) for gate in self.gates], default=most)
        return list(self.waiting)[room:]


class Turns:
    """Puts messages in line, and lets them go on when their turn has come, up to *concurrency* at once."""

    def __init__(self, held_messages: HeldMessages, actions: Actions, concurrency: int) -> None:
        self._held_messages = held_messages
        self._actions = actions
        self._concurrency = concurrency
        self._lines: dict[Handler, _Line] = {}
        self._count = 0
        self._lost: dict[str, Held] = {}
        """The messages that go on without a turn, by their ids, as what follows."""

        self._calls: dict[str, _Line] = {}
        """The lines of those that have had their turn, as long as the call lasts."""

        self.due_at = math.inf
        """When `give` has something to do again, if nothing happens before."""

    @property
    def are_used(self) -> bool:
        """Whether a message was ever in line."""
        return self._count > 0

    def line_up(self, message_id: str, handler: Handler) -> None:
        """Put a message that is at work in line for a handler."""
        self.leave(message_id)
        held = self._held_messages.end(message_id)
        if held is None:
            return
        self._held_messages.line_up(held)
        if handler not in self._lines:
            self._lines[handler] = _Line(make_gates(handler.options))
        self._count += 1
        self._lines[handler].waiting[message_id] = self._count

    def leave(self, message_id: str) -> None:
        """Take note that the call of a handler has ended for which a message had its turn, if it had one."""
        line = self._calls.pop(message_id, None)
        if line is not None:
            line.leave()

    def release(self, lost: Iterable[Held]) -> None:
        """Let messages in line go on whose leases are lost: their handlers are not called any more."""
        for held in lost:
            self._lost[held.id] = held
            for line in self._lines.values():
                line.waiting.pop(held.id, None)

    def give(self, now: float) -> None:
        """Let go on whose turn has come, those that came first before others, as far as there are places."""
        self._end_calls()
        lost, on = [], []
        while self._lost and self._has_place:
            lost.append(self._held_messages.go_on(self._lost.popitem()[0], now).message)
        while self._has_place and (line := self._next_line(now)) is not None:
            message_id = line.take(now)
            self._calls[message_id] = line
            on.append(self._held_messages.go_on(message_id, now).message)
        for failed, messages in ((True, lost), (False, on)):
            if messages:
                self._actions.add(Resume(tuple(messages), failed))
        self.due_at = min([line.opens_at(now) for line in self._lines.values()], default=math.inf)

    def take_late(self, end: float, now: float) -> list[Held]:
        """Take out the messages whose turn does not come until *end*."""
        return self._take_out([each for line in self._lines.values() for each in line.too_late(end, now)])

    def take_all(self) -> list[Held]:
        """Take out all messages in line."""
        self._lost.clear()
        return self._take_out(tuple(self._held_messages.in_line))

    def _take_out(self, message_ids: Sequence[str]) -> list[Held]:
        for line in self._lines.values():
            for message_id in message_ids:
                line.waiting.pop(message_id, None)
        return [self._held_messages.leave_line(message_id) for message_id in message_ids]

    @property
    def _has_place(self) -> bool:
        return len(self._held_messages.running) < self._concurrency

    def _next_line(self, now: float) -> _Line | None:
        """Return the line whose next message came first, of those whose gates are open."""
        ready = [line for line in self._lines.values() if line.opens_at(now) <= now]
        return min(ready, key=lambda line: line.first, default=None)

    def _end_calls(self) -> None:
        """End the calls of messages that are not at work any more, however that came about."""
        for message_id in self._calls.keys() - self._held_messages.running.keys():
            self.leave(message_id)
