"""A driver of the consumer's core: tells it what happens, and keeps what it answers; and messages to tell it of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from megaflow import Kind, Lease, Message, Outcome, Verdict
from megaflow.consumer.core.core import Core
from megaflow.consumer.core.protocol import (
    Action,
    AskFailed,
    Extend,
    Finished,
    Input,
    Inspected,
    Measure,
    Receive,
    Received,
    Report,
    Settled,
    Start,
    Tick,
)
from megaflow.handlers.handler import Handler, make_handler
from megaflow.handlers.status import ProcessStatus
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from megaflow.telemetry.metrics import Measurements
from megaflow.transport.queue import QueueFacts

Kept = TypeVar("Kept", bound=Action)


class Driver:
    """Tells a core what happens, and keeps what it answered; the clock is `now`."""

    def __init__(
        self,
        settings: ConsumerSettings | None = None,
        *,
        fifo: bool = False,
        dead_letters: bool = True,
        inspected: bool = True,
    ) -> None:
        self.core = Core(
            settings or ConsumerSettings(concurrency=3, backoff=lambda count: 10.0 * count),
            fifo=fifo,
            randomness=lambda: 1.0,
        )
        self.now = 100.0
        self.answered: list[Action] = []
        self.poll = 0
        self.facts = QueueFacts(dead_letter_queue_url="https://dead" if dead_letters else "")
        if inspected:
            self.tell(Tick())
            self.polled = self.tell(Inspected(self.facts))

    def tell(self, input: Input) -> list[Action]:
        self.answered = self.core.handle(input, self.now)
        self.poll = max([self.poll, *(each.poll for each in self.all(Receive))])
        return self.answered

    def receive(self, *messages: Message) -> list[Message]:
        self.tell(Received(messages, self.poll))
        return [message for action in self.all(Start) for message in action.messages]

    def fail(self, error: Exception, *, refused: bool = False) -> list[Action]:
        return self.tell(AskFailed(error, refused, poll=self.poll))

    def finish(self, message: Message, fate: Fate = Fate.DELETE, after: float | None = None) -> list[Action]:
        return self.tell(Finished((verdict_on(message, fate, after),)))

    def all(self, kind: type[Kept]) -> list[Kept]:
        return [action for action in self.answered if isinstance(action, kind)]

    def one(self, kind: type[Kept]) -> Kept:
        (action,) = self.all(kind)
        return action

    def wait_for(self, kind: type[Kept]) -> Kept:
        """Let time pass until there is such an action."""
        for _ in range(20):
            if self.all(kind):
                return self.one(kind)
            self.now = self.core.wake_at
            self.tell(Tick())
        raise AssertionError(f"no {kind.__name__} comes")

    def run_until_counted(self, name: str) -> float:
        """Let time pass until this is counted, extensions succeeding; return when that was."""
        for _ in range(20):
            self.now = self.core.wake_at
            self.tell(Tick())
            if self.counted(name):
                return self.now
            for asked in self.all(Extend):
                self.tell(Settled(asked))
        raise AssertionError(f"{name} is never counted")

    def counted(self, name: str) -> int:
        """Return how often this was counted, by its name in a snapshot."""
        measurements = Measurements()
        for each in self.all(Measure):
            measurements.note("orders", each.counts, each.values)
        return measurements.snapshot()[name]

    def reports(self, level: int) -> list[str]:
        return [each.text % each.values for each in self.all(Report) if each.level == level]


def handle(payload: object) -> None: ...


HOW_TO_HURRY = "stop(now=True) does not wait, nor a second signal that is heard"
HANDLER: Handler = make_handler(handle, Kind.TEXT, EVERYTHING)


def message(name: str, *, group: str = "", expires_at: float = 130.0, count: int = 1) -> Message:
    lease = Lease(f"handle-{name}", 100.0, expires_at, lambda: 0.0)
    return Message(name, "body", Kind.TEXT, "body", receive_count=count, group_id=group, lease=lease)


def messages(count: int) -> list[Message]:
    return [message(str(number)) for number in range(count)]


def verdict_on(message: Message, fate: Fate, after: float | None = None) -> Verdict:
    status = {
        Fate.DELETE: ProcessStatus.DONE,
        Fate.KEEP: ProcessStatus.RETRY_LATER,
        Fate.DEAD_LETTER: ProcessStatus.FATAL_ERROR,
    }[fate]
    return Verdict(message, (Outcome(HANDLER, status, None, after),), fate)


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]
