"""The held messages: received and not settled, where each of them stands, and the order within message groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from megaflow.errors import UsageError
from megaflow.messages.message import Lease, Message


@dataclass(slots=True, eq=False)
class Held:
    """A message in hand. Whoever else keeps something about it does so by its id."""

    message: Message
    id: str
    """The id that it is known by: there is one of it in hand, however often it is delivered."""

    lease: Lease
    group: str = ""
    """The message group, where its order matters."""

    started_at: float = 0.0


class HeldMessages:
    """The messages in hand whose handlers have not come to a verdict, or that are on their way to a dead-letter queue.

    They wait for a start, are at work, or in line: begun, and waiting for their turn at a handler.
    Of one message group, where *fifo* says that these matter, one is at work at a time, in the order received.
    """

    def __init__(self, *, fifo: bool) -> None:
        self._fifo = fifo
        self.waiting: dict[str, Held] = {}
        self.running: dict[str, Held] = {}
        self.in_line: dict[str, Held] = {}
        self.dead_lettering: dict[str, Held] = {}
        self._busy: set[str] = set()
        self._queues: dict[str, deque[Held]] = {}
        self._ready: deque[Held] = deque()

    def describe(self, messages: Sequence[Message]) -> list[Held]:
        """Return *messages* as they would be held."""
        if not self._fifo:
            return [Held(message, message.id, lease_of(message)) for message in messages]
        return [Held(message, message.id, lease_of(message), message.group_id) for message in messages]

    def has_none_of(self, message_ids: Sequence[str]) -> bool:
        """Tell whether none of these messages is in hand."""
        return all(place.keys().isdisjoint(message_ids) for place in self._places())

    def leased(self) -> Iterator[Held]:
        """Give every message in hand, in no particular order."""
        for place in self._places():
            yield from tuple(place.values())

    def find(self, message_id: str) -> Held | None:
        """Return the message of this id, where it is in hand."""
        return next((place[message_id] for place in self._places() if message_id in place), None)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.waiting) + len(self.running) + len(self.in_line) + len(self.dead_lettering)

    @property
    def are_begun(self) -> bool:
        """Whether handlers were started of which something is still to come."""
        return bool(self.running or self.in_line)

    @property
    def startable(self) -> int:
        """How many could be started now, if there were room."""
        if not self._fifo:
            return len(self.waiting)
        return sum(group not in self._busy for group in self._queues)

    def wait(self, several: Iterable[Held]) -> None:
        """Let messages wait for their turn."""
        for held in several:
            self.waiting[held.id] = held
            if not held.group:
                self._ready.append(held)
                continue
            queue = self._queues.setdefault(held.group, deque())
            queue.append(held)
            if len(queue) == 1 and held.group not in self._busy:
                self._ready.append(held)

    def take_ready(self, most: int) -> list[Held]:
        """Take out up to *most* messages whose turn has come; their groups are busy from now on."""
        taken: list[Held] = []
        while self._ready and len(taken) < most:
            held = self._ready.popleft()
            if self.waiting.get(held.id) is not held:
                continue
            self.drop(held)
            if held.group:
                self._busy.add(held.group)
            taken.append(held)
        return taken

    def start(self, ready: Iterable[Held], now: float) -> None:
        """Note that handlers are at work on messages that were taken out for it."""
        for held in ready:
            held.started_at = now
            self.running[held.id] = held

    def end(self, message_id: str) -> Held | None:
        """Take out a message whose handlers have ended, or are not waited for; None where they were not at work."""
        return self.running.pop(message_id, None)

    def line_up(self, held: Held) -> None:
        """Let a message that was at work wait for its turn at a handler."""
        self.in_line[held.id] = held

    def leave_line(self, message_id: str) -> Held:
        """Take out a message in line."""
        return self.in_line.pop(message_id)

    def go_on(self, message_id: str, now: float) -> Held:
        """Note that the handlers of a message in line are at work again."""
        held = self.leave_line(message_id)
        self.start((held,), now)
        return held

    def begin_dead_lettering(self, held: Held) -> None:
        """Note that a message is on its way to the dead-letter queue."""
        self.dead_lettering[held.id] = held

    def end_dead_lettering(self, message_id: str) -> Held:
        """Take out a message that was on its way to the dead-letter queue."""
        return self.dead_lettering.pop(message_id)

    def drop(self, held: Held) -> None:
        """Take out a message that waits: it is started, or is not to be, as all that waits behind it."""
        del self.waiting[held.id]
        if held.group:
            queue = self._queues[held.group]
            queue.remove(held)
            if not queue:
                del self._queues[held.group]

    def free(self, several: Iterable[Held]) -> None:
        """Let the next ones of these messages' groups have their turn."""
        if self._fifo:
            for held in several:
                self._busy.discard(held.group)
                if held.group in self._queues:
                    self._ready.append(self._queues[held.group][0])

    def _places(self) -> tuple[dict[str, Held], ...]:
        return self.running, self.waiting, self.in_line, self.dead_lettering

    def followers(self, held: Held) -> tuple[Held, ...]:
        """Return what waits behind this message, in its group."""
        queue = tuple(self._queues.get(held.group, ()))
        return queue[queue.index(held) + 1 :] if held in queue else queue


def lease_of(message: Message) -> Lease:
    """Return the lease of a message that was received from a queue."""
    if message.lease is None:
        raise UsageError(f"message {message.id} was not received from a queue")
    return message.lease
