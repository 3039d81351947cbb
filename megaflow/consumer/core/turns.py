"""Turns: the messages in line for a call of a handler that not all may have at once or now, and whose turn it is.

A message in line is in hand, and holds no place of ``concurrency``. It goes on when its turn has come, and such a place
is free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from megaflow.consumer.core.circuits import Circuit, Circuits
from megaflow.consumer.core.gates import Gate, make_gates
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.protocol import Actions, LinedUp, Resume
from megaflow.handlers.handler import Handler
from megaflow.processing.steps import Turn
from megaflow.processing.verdict import Outcome, Verdict


class _Line:
    """The messages in line at the gates of *handler*, and at its *circuit*, where it has one."""

    def __init__(self, handler: Handler, circuit: Circuit | None) -> None:
        self.handler: Final = handler
        self.gates: Final[Sequence[Gate]] = make_gates(handler.options)
        self.circuit: Final = circuit
        self.waiting: dict[str, int] = {}
        """The messages in the order they came, by their ids, each with its number among those of all lines."""

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
        is_needed = self.circuit is not None and self.circuit.is_opened_by(self.handler)
        return not is_needed, next(iter(self.waiting.values()))

    def take(self, now: float) -> str:
        """Let the next one go."""
        message_id = next(iter(self.waiting))
        for gate in self.gates:
            gate.enter(now)
        if self.circuit is not None:
            self.circuit.begin(message_id)
        del self.waiting[message_id]
        return message_id

    def leave(self, message_id: str, outcome: Outcome | None, now: float) -> None:
        """Take note that the call of one has ended, and with what."""
        for gate in self.gates:
            gate.leave()
        if self.circuit is not None:
            self.circuit.end(message_id, self.handler, outcome, now)

    def too_late(self, end: float, now: float) -> list[str]:
        """Return the messages whose turn does not come until *end*; nobody waits until then for what is away."""
        most = 0 if self.is_shut else len(self.waiting)
        room = min([gate.room_until(end, now, most) for gate in self.gates], default=most)
        return list(self.waiting)[room:]


class Turns:
    """Puts messages in line, and lets them go on when their turn has come, up to *concurrency* at once."""

    def __init__(self, held_messages: HeldMessages, circuits: Circuits, actions: Actions, concurrency: int) -> None:
        self._held_messages = held_messages
        self._circuits = circuits
        self._actions = actions
        self._concurrency = concurrency
        self._lines: dict[Handler, _Line] = {}
        self._count = 0
        self._refused: list[str] = []
        """The messages that go on without a turn."""

        self._calls: dict[str, _Line] = {}
        """The lines of those that have had their turn, by their ids, as long as the call lasts."""

        self.due_at = math.inf
        """When `give` has something to do again, if nothing happens before."""

    @property
    def are_used(self) -> bool:
        """Whether a message was ever in line."""
        return self._count > 0

    def is_free(self, turn: Turn) -> bool:
        """Tell whether nothing makes a call wait at the moment, and nothing is to be told of the one before.

        May be asked from any thread. What goes on without being in line is not counted as a call.
        """
        if turn.last is not None:
            before = self._circuits.find(turn.last.handler)
            if self._makes_wait(turn.last.handler) or (before is not None and before.counts_any(turn.last.handler)):
                return False
        return not (turn.is_again or self._makes_wait(turn.handler))

    def line_up(self, turn: LinedUp, now: float, *, stopping: bool) -> None:
        """Put a message that is at work in line for a handler.

        One that is there for another try goes on without, unless the circuit is open, and there is time.
        """
        message_id, handler, last = turn.message.id, turn.handler, turn.last
        is_again = last is not None and last.handler is handler
        if last is not None and (is_again or last.error is None):
            # Any other failure was told when it was for another try.
            self.note_outcome(message_id, last, now)
        self.leave(message_id, None, now)
        held = self._held_messages.end(message_id)
        if held is None:
            return
        self._held_messages.line_up(held)
        if handler not in self._lines:
            self._lines[handler] = _Line(handler, self._circuits.find(handler))
        line = self._lines[handler]
        self._count += 1
        may_wait = line.is_shut and not (stopping or held.lease.is_over(now))
        if is_again and not may_wait:
            self._refused.append(message_id)
        else:
            line.waiting[message_id] = self._count

    def note_returned(self, message_id: str, now: float) -> None:
        """Take note that the handler of a message has returned; with a circuit, what that means is still to come."""
        line = self._calls.get(message_id)
        if line is not None and line.circuit is None:
            self.leave(message_id, None, now)

    def note_outcome(self, message_id: str, outcome: Outcome, now: float) -> None:
        """Take note of what a handler made of a message, whether it was in line before or not."""
        line, circuit = self._calls.get(message_id), self._circuits.find(outcome.handler)
        if line is not None and line.handler is outcome.handler:
            self.leave(message_id, outcome, now)
        elif circuit is not None:
            circuit.end(message_id, outcome.handler, outcome, now)

    def note_verdict(self, verdict: Verdict, now: float) -> None:
        """Take note that all handlers of a message have ended."""
        if (success := self._circuits.last_success(verdict)) is not None:
            self.note_outcome(verdict.message.id, success, now)
        self.leave(verdict.message.id, None, now)

    def leave(self, message_id: str, outcome: Outcome | None, now: float) -> None:
        """Take note that the call of a handler has ended for which a message had its turn, if it had one."""
        line = self._calls.pop(message_id, None)
        if line is not None:
            line.leave(message_id, outcome, now)

    def release(self, lost: Iterable[Held]) -> None:
        """Let messages in line go on whose leases are lost: their handlers are not called any more."""
        for held in lost:
            for line in self._lines.values():
                line.waiting.pop(held.id, None)
            if held.id not in self._refused:
                self._refused.append(held.id)

    def give(self, now: float) -> None:
        """Let go on whose turn has come, those that came first before others, as far as there are places."""
        self._end_calls(now)
        refused, on = [], []
        while self._refused and self._has_place:
            refused.append(self._held_messages.go_on(self._refused.pop(), now).message)
        while self._has_place and (line := self._next_line(now)) is not None:
            message_id = line.take(now)
            self._calls[message_id] = line
            on.append(self._held_messages.go_on(message_id, now).message)
        for failed, messages in ((True, refused), (False, on)):
            if messages:
                self._actions.add(Resume(tuple(messages), failed))
        self.due_at = min([self._circuits.due_at, *(line.opens_at(now) for line in self._lines.values())])

    def take_late(self, end: float, now: float) -> list[Held]:
        """Take out the messages whose turn does not come until *end*."""
        return self._take_out([each for line in self._lines.values() for each in line.too_late(end, now)])

    def take_untried(self) -> list[tuple[Held, Circuit]]:
        """Take out the messages that wait for what is away, with what they wait at."""
        shut = [(line.circuit, tuple(line.waiting)) for line in self._lines.values() if line.is_shut]
        return [(held, circuit) for circuit, ids in shut if circuit for held in self._take_out(ids)]

    def take_all(self) -> list[Held]:
        """Take out all messages in line."""
        self._refused.clear()
        return self._take_out(tuple(self._held_messages.in_line))

    def _makes_wait(self, handler: Handler) -> bool:
        circuit = self._circuits.find(handler)
        return handler.options.has_limits or circuit is None or circuit.is_open

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
        return min(ready, key=lambda line: line.rank, default=None)

    def _end_calls(self, now: float) -> None:
        """End the calls of messages that are not at work any more, however that came about."""
        for message_id in self._calls.keys() - self._held_messages.running.keys():
            self.leave(message_id, None, now)
