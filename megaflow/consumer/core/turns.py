"""Turns: the messages in line for a call of a handler that not all may have at once or now, or several have together.

A message in line is in hand, and holds no place of ``concurrency``. It goes on when its turn has come, and such a place
is free. A batch takes one place, however many messages it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.circuits import Circuit, Circuits
from megaflow.consumer.core.held_messages import Held, HeldMessages, lease_of
from megaflow.consumer.core.lines import BatchLine, Line, make_line
from megaflow.consumer.core.protocol import CallBatch, LinedUp, Resume
from megaflow.handlers.handler import Handler
from megaflow.messages.batch import stand_for
from megaflow.processing.steps import Turn
from megaflow.processing.verdict import Outcome, Verdict


class Turns:
    """Puts messages in line, and lets them go on when their turn has come, up to *concurrency* at once.

    Where *all_is_there* that can come to batches, they are called once nothing else is on the way.
    """

    def __init__(
        self,
        held_messages: HeldMessages,
        circuits: Circuits,
        actions: Actions,
        concurrency: int,
        *,
        has_batches: bool = False,
        all_is_there: bool = False,
    ) -> None:
        self._held_messages = held_messages
        self._circuits = circuits
        self._actions = actions
        self._concurrency = concurrency
        self._lines: dict[Handler | None, Line] = {}
        self._batch_lines: list[BatchLine] = []
        self.batch_room = 0
        """How many messages the next batches have room for."""

        self._has_batches = has_batches
        self._all_is_there = all_is_there
        self._is_dry = all_is_there
        self._count = 0
        self._is_hurried = False
        self._refused: list[str] = []
        """The messages that go on without a turn."""

        self._calls: dict[str, Line] = {}
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
        return not (turn.is_again or turn.handler is None or self._makes_wait(turn.handler))

    @property
    def has_batches(self) -> bool:
        """Whether there are handlers that get batches, as far as that is known."""
        return self._has_batches or bool(self._batch_lines)

    @property
    def is_dry(self) -> bool:
        """Whether the last poll has brought nothing."""
        return self._is_dry

    @property
    def are_collecting(self) -> bool:
        """Whether messages wait for others to share their batch."""
        return any(line.is_collecting for line in self._batch_lines)

    @property
    def collected(self) -> int:
        """How many messages wait for a batch, and for nothing else."""
        return sum([line.collected for line in self._batch_lines])

    def line_up(self, told: LinedUp, now: float, *, stopping: bool) -> None:
        """Put messages that are at work in line for a handler; without one, behind those before them in their groups.

        One that is there for another try goes on without, unless the circuit is open, and there is time.
        """
        last, is_again = told.last, told.last is not None and told.last.handler is told.handler
        line, held_messages = self._find_line(told.handler), self._held_messages
        batch_handler = line.batch_handler if isinstance(line, BatchLine) else None
        for message in told.messages:
            message_id = message.id
            if lease_of(message).is_given_up:
                # It may be at work once more, as it came again.
                continue
            if last is not None and (is_again or last.error is None):
                # Any other failure was told when it was for another try.
                self.note_outcome(message_id, last, now)
            if message_id in self._calls:
                self.leave(message_id, None, now)
            held = held_messages.end(message_id)
            if held is None:
                continue
            self._count += 1
            if is_again and (stopping or not line.is_shut or held.lease.is_over(now)):
                held_messages.line_up(held)
                self._refused.append(message_id)
                continue
            held_messages.line_up(held, batch_handler)
            line.add(message_id, self._count, now, is_next=not held.group or held_messages.is_next(held))
            if held.group:
                self._promote()

    def note_polled(self, count: int) -> None:
        """Take note of how many messages a poll of a FIFO queue has brought."""
        self._is_dry = not count

    def flush(self) -> None:
        """Let batches be called with what waits now."""
        for line in self._batch_lines:
            line.is_flushed = True

    def hurry(self) -> None:
        """Let no batch wait for others any more."""
        self._is_hurried = True
        self.flush()

    def note_returned(self, message_id: str, now: float) -> None:
        """Take note that the handler of a message has returned; with a circuit, what that means is still to come."""
        line = self._calls.get(message_id)
        if line is not None and line.circuit is None:
            self.leave(message_id, None, now)

    def note_outcome(self, message_id: str, outcome: Outcome, now: float) -> None:
        """Take note of what a handler made of a message, whether it was in line before or not.

        A batch is one call, which the first outcome ends that says something of what is needed.
        """
        call_id, circuit = self._held_messages.call_of(message_id), self._circuits.find(outcome.handler)
        line = self._calls.get(call_id)
        is_alone = call_id == message_id
        if line is not None and line.handler is outcome.handler:
            if is_alone or (circuit is not None and circuit.is_told_by(outcome)):
                self.leave(call_id, outcome, now)
        elif circuit is not None and is_alone:
            circuit.end(message_id, outcome.handler, outcome, now)

    def note_verdict(self, verdict: Verdict, now: float) -> None:
        """Take note that all handlers of a message have ended."""
        message_id = verdict.message.id
        if self._circuits.are_used:
            self._note_outcomes(message_id, verdict, now)
        self.leave(message_id, None, now)

    def _note_outcomes(self, message_id: str, verdict: Verdict, now: float) -> None:
        success, line = self._circuits.last_success(verdict), self._calls.get(self._held_messages.call_of(message_id))
        for each in verdict.outcomes:
            # The one that had its turn need not be the last: others may not have been called, as the lease was lost.
            had_turn = line is not None and each.handler is line.handler and each.error is None and not each.skipped
            if had_turn or each is success:
                self.note_outcome(message_id, each, now)

    def leave(self, message_id: str, outcome: Outcome | None, now: float) -> None:
        """Take note that the call of a handler has ended for which a message had its turn, if it had one."""
        line = self._calls.pop(message_id, None)
        if line is not None:
            line.leave(message_id, outcome, now)

    def release(self, lost: Iterable[Held]) -> None:
        """Let messages in line go on whose leases are lost: their handlers are not called any more."""
        for held in lost:
            self._held_messages.hold_up(held)
            self._remove((held.id,))
            if held.id not in self._refused:
                self._refused.append(held.id)

    def give(self, now: float) -> None:
        """Let go on whose turn has come, those that came first before others, as far as there are places."""
        self._end_calls(now)
        self._promote()
        # SQS gives no more of a group while some of it is in hand: nothing else can come to a batch then.
        if self._is_hurried or (self._is_dry and self.are_collecting and not self._held_messages.on_the_way):
            self.flush()
        refused, on = [], []
        while self._refused and self._has_place:
            refused.append(self._held_messages.go_on(self._refused.pop(), now).message)
        while self._has_place and (line := self._next_line(now)) is not None:
            if isinstance(line, BatchLine):
                self._call(line, now)
                continue
            (message_id,) = line.take(now)
            line.begin(message_id)
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
        shut = [(line.circuit, (*line.waiting, *line.behind)) for line in self._lines.values() if line.is_shut]
        return [(held, circuit) for circuit, ids in shut if circuit for held in self._take_out(ids)]

    def take_all(self) -> list[Held]:
        """Take out all messages in line."""
        self._refused.clear()
        return self._take_out(tuple(self._held_messages.in_line))

    def _makes_wait(self, handler: Handler) -> bool:
        circuit = self._circuits.find(handler)
        return handler.options.has_limits or circuit is None or circuit.is_open

    def take_doomed(self) -> list[Held]:
        """Take out the messages in line that are to be given back."""
        doomed = self._held_messages.doomed
        self._refused = [each for each in self._refused if each not in doomed] if doomed else self._refused
        return self._take_out(doomed) if doomed else []

    def _call(self, line: BatchLine, now: float) -> None:
        """Let a batch be called, with as many as there are for it."""
        taken = line.take(now)
        messages = tuple([self._held_messages.in_line[each].message for each in taken])
        batch = stand_for(messages)
        self._held_messages.begin_batch(batch, taken, now)
        self._calls[batch.id] = line
        line.begin(batch.id)
        self._demote(line)
        self._actions.add(CallBatch(batch, line.batch_handler, messages))

    def _find_line(self, handler: Handler | None) -> Line:
        if handler in self._lines:
            return self._lines[handler]
        line = self._lines[handler] = make_line(handler, None if handler is None else self._circuits.find(handler))
        if isinstance(line, BatchLine):
            if self._all_is_there:
                line.waits_for_all()
            self._batch_lines.append(line)
            self.batch_room += line.call_size
        return line

    def _take_out(self, message_ids: Sequence[str]) -> list[Held]:
        taken = [self._held_messages.leave_line(message_id) for message_id in message_ids]
        self._remove(message_ids)
        return taken

    def _remove(self, message_ids: Iterable[str]) -> None:
        for line in self._lines.values():
            for message_id in message_ids:
                line.remove(message_id)
            self._demote(line)

    def _promote(self) -> None:
        """Let those wait for their turn that have become next in their group, before any comes behind them."""
        for held in self._held_messages.take_promoted():
            for each in self._lines.values():
                each.promote(held.id)

    def _demote(self, line: Line) -> None:
        """Let those wait behind others of their group that are not next in it any more."""
        in_line = self._held_messages.in_line
        line.demote(lambda message_id: self._held_messages.is_next(in_line[message_id]))

    @property
    def _has_place(self) -> bool:
        return len(self._held_messages.running) < self._concurrency

    def _next_line(self, now: float) -> Line | None:
        """Return the line whose next message came first, of those whose gates are open."""
        ready = [line for line in self._lines.values() if line.opens_at(now) <= now]
        return min(ready, key=lambda line: line.rank, default=None)

    def _end_calls(self, now: float) -> None:
        """End the calls of messages that are not at work any more, however that came about."""
        for message_id in self._calls.keys() - self._held_messages.running.keys():
            self.leave(message_id, None, now)
