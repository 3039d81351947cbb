"""Works: the messages of an event that wait, are at work in a thread, or are in line for their turn at a handler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaflow.consumer.core.held_messages import Held, HeldMessages, lease_of
from megaflow.handlers.handler import Handler
from megaflow.messages.message import Message
from megaflow.processing.steps import Steps, Turn
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.settings import CircuitBreaker
from megaflow.transport.addresses import is_fifo

if TYPE_CHECKING:
    from megaflow.awslambda.lines import Lines


@dataclass(slots=True, eq=False)
class Work:
    """A message on its way through its handlers, or what stands for a batch of them."""

    message: Message
    context: Context | None = None
    steps: Steps | None = None
    """What it takes, and where, once it is begun."""

    is_resumed: bool = False
    """Whether the turn that it waited for has come."""

    handler: Handler | None = None
    parts: Sequence[Work] = ()
    """The messages of a batch, where this is one, and for which handler."""

    @property
    def messages(self) -> list[Message]:
        """The messages of a batch, or the one."""
        return [part.message for part in self.parts] or [self.message]

    @property
    def turn(self) -> Turn | None:
        """What it waits for, if it has come to its turn at a handler."""
        step = None if self.steps is None else self.steps.step
        return step if isinstance(step, Turn) else None


class Works:
    """What is in hand. It outlives invocations, as limits and breakers do. One thread at a time uses it."""

    def __init__(self, concurrency: int, breaker: CircuitBreaker | None) -> None:
        self._concurrency = concurrency
        self._breaker = breaker
        self._held_messages = HeldMessages(fifo=True)
        self._lines: Lines | None = None
        self._begun: dict[str, Work] = {}
        """By the ids of the messages, and of what stands for batches."""

    @property
    def at_work(self) -> list[Work]:
        """Those that have a thread."""
        return [self._begun[each] for each in self._held_messages.running]

    @property
    def in_line(self) -> list[Work]:
        """Those that wait for a turn."""
        return [self._begun[each] for each in self._held_messages.in_line]

    @property
    def waiting(self) -> list[Message]:
        """Those that are not begun."""
        return [held.message for held in self._held_messages.waiting.values()]

    @property
    def begun(self) -> list[Message]:
        """The messages of which handlers have perhaps been called."""
        return [message for work in self._begun.values() if not work.parts for message in work.messages]

    @property
    def due_at(self) -> float:
        """When the next turn comes, if no call ends before; infinity where nobody waits."""
        return math.inf if self._lines is None or not self._held_messages.in_line else self._lines.due_at

    def wait(self, messages: Iterable[Message]) -> None:
        """Take *messages* in hand."""
        self._held_messages.wait([_hold(message) for message in messages])

    def have(self, work: Work) -> bool:
        """Tell whether a message is at work, and was not given up."""
        message_id = work.message.id
        return self._begun.get(message_id) is work and self._held_messages.is_at_work(message_id)

    def begin_next(self, now: float) -> list[Work]:
        """Return what goes on now: those whose turn has come, and then others, as far as there are places."""
        begun = [] if self._lines is None else self._give_turns(self._lines, now)
        ready = self._held_messages.take_ready(self._concurrency - len(self._held_messages.running))
        self._held_messages.start(ready, now)
        works = [Work(held.message) for held in ready]
        self._begun |= {work.message.id: work for work in works}
        return begun + works

    def _give_turns(self, lines: Lines, now: float) -> list[Work]:
        resumed, batches = lines.give(now)
        works = [self._begun[each] for each in resumed]
        for work in works:
            work.is_resumed = True
        for call in batches:
            parts = [self._begun[message.id] for message in call.messages]
            work = self._begun[call.batch.id] = Work(call.batch, handler=call.handler, parts=parts)
            works.append(work)
        return works

    def are_free(self, turn: Turn) -> bool:
        """Tell whether a message may go on at a turn without being in line. May be asked from any thread."""
        return self._lines is not None and self._lines.is_free(turn)

    def line_up(self, work: Work, turn: Turn, now: float) -> None:
        """Let a message wait for its turn, without a thread."""
        if self._lines is None:
            # A function whose handlers have no turns starts the sooner.
            from megaflow.awslambda.lines import Lines

            self._lines = Lines(self._held_messages, self._breaker, self._concurrency)
        self._lines.line_up(work.message, turn, now)
        self.forget_batches()

    def take_untried(self) -> list[tuple[Work, str]]:
        """Take out those that wait for what is away; return them, and whose circuit breaker is open for each."""
        untried = [] if self._lines is None else self._lines.take_untried()
        return [(self._drop(held), owner) for held, owner in untried]

    def take_doomed(self) -> list[Work]:
        """Take out those in line that come again, as one before them in their group does."""
        return [] if self._lines is None else [self._begun.pop(held.id) for held in self._lines.take_doomed()]

    def _drop(self, held: Held) -> Work:
        self._hold_back_followers(held)
        return self._begun.pop(held.id)

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

    def end(self, work: Work, *, done: bool) -> None:
        """Take out a message that was at work. Where it is not *done* with, what follows in its group is held back."""
        held = self._held_messages.end(work.message.id)
        self._begun.pop(work.message.id, None)
        if held is not None and done:
            self._held_messages.free((held,))
        elif held is not None:
            self._hold_back_followers(held)
        self.forget_batches()

    def forget_batches(self) -> None:
        """Forget the batches all of whose messages have gone on."""
        running = self._held_messages.running
        for each in [each for each, work in self._begun.items() if work.parts and each not in running]:
            del self._begun[each]

    def _hold_back_followers(self, held: Held) -> None:
        for follower in self._held_messages.followers(held):
            self._held_messages.drop(follower)
        self._held_messages.doom_followers(held)

    def clear(self) -> None:
        """Take out all of them."""
        if self._lines is not None:
            self._lines.take_all()
        self._held_messages.clear()
        self._begun.clear()


def _hold(message: Message) -> Held:
    # Where order does not matter, each is a group of its own.
    group = f"{message.group_id} of {message.queue_url}" if is_fifo(message.queue_url) else message.id
    return Held(message, message.id, lease_of(message), group)
