"""Lanes: what is handled one after another in an event, and the batches of what lanes have in line for a handler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field

from megaflow.handlers.handler import Handler
from megaflow.messages.batch import BatchMessage, stand_for
from megaflow.messages.message import Message
from megaflow.processing.steps import BatchTurn, Steps
from megaflow.transport.addresses import is_fifo


@dataclass(slots=True, eq=False)
class Work:
    """A message on its way through its handlers."""

    message: Message
    context: Context
    steps: Steps | None = None

    @property
    def batch_handler(self) -> Handler | None:
        """The handler for whose batch it waits; None where it waits until those before it have ended."""
        turn = None if self.steps is None else self.steps.step
        return turn.handler if isinstance(turn, BatchTurn) else None


@dataclass(slots=True, eq=False)
class Lane:
    """The messages of one group of a FIFO queue, or a single one."""

    messages: list[Message] = field(default_factory=list)
    begun: int = 0
    in_line: list[Work] = field(default_factory=list)
    is_broken: bool = False
    """Whether one comes again: what follows must not overtake it."""

    @property
    def watched(self) -> Sequence[Message]:
        """What time limits are told of."""
        return self.messages

    def next(self, context: Context) -> Work | None:
        """Take what goes on now, where anything does: the next one joins those in line for the same batch alone."""
        waits_for = {work.batch_handler for work in self.in_line}
        if self.is_broken or len(waits_for) > 1:
            return None
        if waits_for == {None}:
            return self.in_line.pop(0)
        if self.begun == len(self.messages):
            return None
        self.begun += 1
        return Work(self.messages[self.begun - 1], context.copy())


@dataclass(slots=True, eq=False)
class BatchJob:
    """Messages that one call of a handler gets, and the lanes that they come from."""

    handler: Handler
    parts: Sequence[tuple[Lane, Work]]
    batch: BatchMessage = field(init=False)
    messages: list[Message] = field(init=False)

    def __post_init__(self) -> None:
        """Note which messages it is for."""
        self.messages = [work.message for _, work in self.parts]
        self.batch = stand_for(self.messages)

    @property
    def watched(self) -> Sequence[Message]:
        """What time limits are told of."""
        return (self.batch,)

    @property
    def lanes(self) -> list[Lane]:
        """The lanes, each once."""
        return list(dict.fromkeys(lane for lane, _ in self.parts))


def sort_into_lanes(messages: Iterable[Message]) -> list[Lane]:
    """Return a lane for each message, or for each group of a FIFO queue."""
    lanes: dict[object, Lane] = {}
    for message in messages:
        key = (message.queue_url, message.group_id) if is_fifo(message.queue_url) else message.id
        lanes.setdefault(key, Lane()).messages.append(message)
    return list(lanes.values())


def make_batches(lanes: Sequence[Lane]) -> Iterator[BatchJob]:
    """Give the batches of what lanes have in line, and is next in each: up to the size of the handler's batch."""
    for handler in dict.fromkeys(lane.in_line[0].batch_handler for lane in lanes):
        parts: list[tuple[Lane, Work]] = []
        size = (handler and handler.options.batch_size) or 1
        for lane in lanes:
            for work in _first_of(lane, handler):
                if len(parts) < size:
                    parts.append((lane, work))
            if handler is not None and len(parts) >= size:
                yield BatchJob(handler, parts)
                parts = []
        if handler is not None and parts:
            yield BatchJob(handler, parts)


def _first_of(lane: Lane, handler: Handler | None) -> list[Work]:
    """Return what a lane has in line for a handler, up to what is in line for another one."""
    others = [place for place, work in enumerate(lane.in_line) if work.batch_handler is not handler]
    return lane.in_line[: others[0]] if others else list(lane.in_line)
