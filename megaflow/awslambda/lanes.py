"""Lanes: messages that are handled one after another, each lane at work in a thread, or in line for its turn."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaflow.consumer.core.held_messages import HeldMessages
from megaflow.messages.message import Message
from megaflow.processing.steps import Steps, Turn
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.settings import CircuitBreaker
from megaflow.transport.addresses import is_fifo

if TYPE_CHECKING:
    from megaflow.awslambda.lines import Lines


@dataclass(slots=True, eq=False)
class Lane:
    """Messages that are handled one after another: those of one group of a FIFO queue, or a single one."""

    messages: deque[Message]
    """Those that are not done with. The first one is being handled."""

    context: Context | None = None
    steps: Steps | None = None
    """What the first one takes, and where, once it is begun."""

    @property
    def turn(self) -> Turn | None:
        """What the first one waits for, if it has come to its turn at a handler."""
        step = None if self.steps is None else self.steps.step
        return step if isinstance(step, Turn) else None


class Lanes:
    """The lanes that are begun. They outlive invocations, as limits and breakers do. One thread at a time uses it."""

    def __init__(self, concurrency: int, breaker: CircuitBreaker | None) -> None:
        self._concurrency = concurrency
        self._breaker = breaker
        self._held_messages = HeldMessages(fifo=False)
        self._lines: Lines | None = None
        self._begun: dict[str, Lane] = {}
        """By the ids of their first messages."""

    @property
    def have_place(self) -> bool:
        """Whether one more may be at work."""
        return len(self._held_messages.running) < self._concurrency

    @property
    def at_work(self) -> list[Lane]:
        """Those that have a thread."""
        return [self._begun[message_id] for message_id in self._held_messages.running]

    @property
    def begun(self) -> list[Lane]:
        """All of them."""
        return list(self._begun.values())

    @property
    def due_at(self) -> float:
        """When the next turn comes, if no call ends before; infinity where nobody waits."""
        return math.inf if self._lines is None or not self._held_messages.in_line else self._lines.due_at

    def have(self, lane: Lane) -> bool:
        """Tell whether *lane* is one of them: it is neither done with nor given up."""
        return bool(lane.messages) and self._begun.get(lane.messages[0].id) is lane

    def begin(self, lane: Lane, now: float) -> None:
        """Note that a thread is at work on the first message of a lane."""
        message = lane.messages[0]
        self._begun[message.id] = lane
        self._held_messages.start(self._held_messages.describe((message,)), now)

    def go_on(self, lane: Lane, now: float) -> bool:
        """Take out the first message of a lane, which is done with; tell whether another one has its place now."""
        self.end(lane)
        lane.messages.popleft()
        lane.context = lane.steps = None
        if lane.messages:
            self.begin(lane, now)
        return bool(lane.messages)

    def are_free(self, turn: Turn) -> bool:
        """Tell whether a message may go on at a turn without being in line. May be asked from any thread."""
        return self._lines is not None and self._lines.is_free(turn)

    def line_up(self, lane: Lane, turn: Turn, now: float) -> None:
        """Let a lane wait for its turn, without a thread."""
        if self._lines is None:
            # A function whose handlers have no turns starts the sooner.
            from megaflow.awslambda.lines import Lines

            self._lines = Lines(self._held_messages, self._breaker, self._concurrency)
        self._lines.line_up(lane.messages[0], turn, now)

    def resume(self, now: float) -> list[Lane]:
        """Return those whose turn has come. They are at work from now on."""
        return [] if self._lines is None else [self._begun[message_id] for message_id in self._lines.give(now)]

    def take_untried(self) -> list[tuple[Lane, str]]:
        """Take out those that wait for what is away; return them, and whose circuit breaker is open for each."""
        untried = [] if self._lines is None else self._lines.take_untried()
        return [(self._begun.pop(message_id), owner) for message_id, owner in untried]

    def note_returned(self, message: Message, now: float) -> None:
        """Note that the handler of a message has returned that not all may be in at once."""
        if self._lines is not None:
            self._lines.note_returned(message, now)

    def note_outcome(self, message: Message, outcome: Outcome, now: float) -> None:
        """Note what a handler has made of a message, for its circuit breaker."""
        if self._lines is not None:
            self._lines.note_outcome(message, outcome, now)

    def note_verdict(self, verdict: Verdict, now: float) -> None:
        """Note that all handlers of a message have ended, for their circuit breakers."""
        if self._lines is not None:
            self._lines.note_verdict(verdict, now)

    def end(self, lane: Lane) -> None:
        """Take out a lane that is at work."""
        message_id = lane.messages[0].id
        del self._begun[message_id]
        self._held_messages.end(message_id)

    def clear(self) -> None:
        """Take out all of them."""
        if self._lines is not None:
            self._lines.take_all()
        for lane in self.begun:
            self.end(lane)


def sort_into_lanes(messages: Iterable[Message]) -> deque[Lane]:
    """Return the lanes that *messages* make, in the order of what comes first in each."""
    lanes: dict[object, Lane] = {}
    for message in messages:
        ordered = is_fifo(message.queue_url)
        key = (message.queue_url, message.group_id) if ordered else message.id
        lanes.setdefault(key, Lane(deque())).messages.append(message)
    return deque(lanes.values())
