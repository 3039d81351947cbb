"""The held messages: received and not settled, where each of them stands, and the order within message groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from megaflow.consumer.core.groups import Groups
from megaflow.errors import UsageError
from megaflow.handlers.handler import Handler
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


@dataclass(slots=True, eq=False)
class HeldBatch(Held):
    """What stands for the messages of a batch that is called: it is at work, and they are in the batch."""

    parts: dict[str, Held] = field(default_factory=dict)
    """Those that have not gone on yet, by their ids."""


class HeldMessages:
    """The messages in hand whose handlers have not come to a verdict, or that are on their way to a dead-letter queue.

    They wait for a start, are at work, in a batch that is called, or in line: begun, and waiting for their turn at a
    handler. Of one message group, where *fifo* says that these matter, one is at work at a time, in the order received.
    Where all that are begun are in line for the same batch handler, the next one is begun, to join them.
    """

    def __init__(self, *, fifo: bool) -> None:
        self._fifo = fifo
        self.waiting: dict[str, Held] = {}
        self.running: dict[str, Held] = {}
        self.in_line: dict[str, Held] = {}
        self.in_batch: dict[str, Held] = {}
        self.dead_lettering: dict[str, Held] = {}
        self._batches: dict[str, HeldBatch] = {}
        """The batch of each message that is in one."""

        self._busy: set[str] = set()
        self._groups = Groups()
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

    def parts_of(self, held: Held) -> Iterable[Held]:
        """Return the messages for which this one stands, which mostly is itself."""
        return tuple(held.parts.values()) if isinstance(held, HeldBatch) else (held,)

    def clear(self) -> None:
        """Let go of all of them."""
        for place in self._places():
            place.clear()
        for rest in (self._batches, self._busy, self._queues, self._ready):
            rest.clear()
        self._groups = Groups()

    def is_at_work(self, message_id: str) -> bool:
        """Tell whether a message is at work, or in a batch that is called."""
        return message_id in self.running or message_id in self.in_batch

    def call_of(self, message_id: str) -> str:
        """Return what the call is known by that a message is in: itself, or what stands for its batch."""
        batch = self._batches.get(message_id)
        return message_id if batch is None else batch.id

    def find(self, message_id: str) -> Held | None:
        """Return the message of this id, where it is in hand."""
        return next((place[message_id] for place in self._places() if message_id in place), None)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.waiting) + len(self.dead_lettering) + self.begun

    @property
    def begun(self) -> int:
        """Of how many handlers were started, and something is still to come."""
        begun = len(self.running) + len(self.in_line)
        if self.in_batch:
            begun += len(self.in_batch) - sum(isinstance(held, HeldBatch) for held in self.running.values())
        return begun

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

    @property
    def on_the_way(self) -> int:
        """How many messages are at work, or could be, each by itself."""
        return sum(not isinstance(held, HeldBatch) for held in self.running.values()) + self.startable

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
            if self.waiting.get(held.id) is not held or held.group in self._busy:
                continue
            self.drop(held)
            if held.group:
                self._busy.add(held.group)
                self._groups.begin(held)
            taken.append(held)
        return taken

    def start(self, ready: Iterable[Held], now: float) -> None:
        """Note that handlers are at work on messages that were taken out for it."""
        for held in ready:
            held.started_at = now
            self.running[held.id] = held

    def end(self, message_id: str) -> Held | None:
        """Take out a message whose handlers have ended, or are not waited for; None where they were not at work."""
        held = self.running.pop(message_id, None)
        return self._leave_batch(message_id) if held is None and self.in_batch else held

    def end_all(self, message_id: str) -> list[Held]:
        """Do what `end` does, and where that one stands for a batch, take out its messages instead."""
        held = self.end(message_id)
        if not isinstance(held, HeldBatch):
            return [] if held is None else [held]
        return [part for part in map(self._leave_batch, tuple(held.parts)) if part is not None]

    def line_up(self, held: Held, batch_handler: Handler | None = None) -> None:
        """Let a message that was at work wait for its turn at a handler, which may be one that gets batches."""
        self.in_line[held.id] = held
        if held.group and batch_handler is not None:
            self._groups.join(held, batch_handler)
            self._open(held.group)

    def leave_line(self, message_id: str) -> Held:
        """Take out a message in line."""
        held = self.in_line.pop(message_id)
        self.hold_up(held)
        return held

    def is_next(self, held: Held) -> bool:
        """Tell whether what is before this message in its group waits with it for the same batch, if there is any."""
        return not held.group or self._groups.is_next(held)

    def begin_batch(self, message: Message, message_ids: Iterable[str], now: float) -> HeldBatch:
        """Let messages in line be called together, for which *message* stands."""
        batch = HeldBatch(message, message.id, lease_of(message))
        for each in message_ids:
            held = self.in_batch[each] = batch.parts[each] = self.in_line.pop(each)
            self._batches[each] = batch
            if held.group:
                self.hold_up(held)
        self.start((batch,), now)
        return batch

    def _leave_batch(self, message_id: str) -> Held | None:
        held = self.in_batch.pop(message_id, None)
        if held is not None:
            batch = self._batches.pop(message_id)
            del batch.parts[message_id]
            if not batch.parts and self.running.get(batch.id) is batch:
                del self.running[batch.id]
        return held

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
                self._groups.end(held)
                self._open(held.group)

    def take_promoted(self) -> list[Held]:
        """Return what is in line, and has become next in its group since this was last asked."""
        changed = self._groups.take_changed()
        return [held for held in changed if held.id in self.in_line and self._groups.is_next(held)]

    def hold_up(self, held: Held) -> None:
        """Note that a message in line is called with no batch any more, so that nothing of its group may join it."""
        if held.group:
            self._groups.part(held)
            self._busy.add(held.group)

    def doom_followers(self, held: Held) -> None:
        """Let what is begun behind this message, in its group, be given back as soon as nobody is at work on it."""
        if held.group:
            self._groups.doom(self._groups.behind(held))

    @property
    def doomed(self) -> list[str]:
        """What is in line, and is to be given back."""
        doomed = self._groups.doomed
        return [each for each in doomed if each in self.in_line] if doomed else []

    def _open(self, group: str) -> None:
        """Let the next one of a group have its turn, where nothing of it is at work."""
        if self._groups.are_open(group):
            self._busy.discard(group)
            if group in self._queues:
                self._ready.append(self._queues[group][0])

    def _places(self) -> tuple[dict[str, Held], ...]:
        return self.running, self.waiting, self.in_line, self.in_batch, self.dead_lettering

    def followers(self, held: Held) -> tuple[Held, ...]:
        """Return what waits behind this message, in its group."""
        queue = tuple(self._queues.get(held.group, ()))
        return queue[queue.index(held) + 1 :] if held in queue else queue


def lease_of(message: Message) -> Lease:
    """Return the lease of a message that was received from a queue."""
    if message.lease is None:
        raise UsageError(f"message {message.id} was not received from a queue")
    return message.lease
