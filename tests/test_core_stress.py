"""The consumer's core against a queue that fails, hangs and answers late, by seed: what must hold, whatever happens."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from megaflow import Kind, Lease, Message, Outcome, Verdict
from megaflow.consumer.core import FLUSH_GRACE, Core
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    AskFailed,
    Count,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Finished,
    Hide,
    Inspect,
    Inspected,
    Problem,
    Receive,
    Received,
    Report,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.limits import BATCH_ENTRIES, VISIBILITY_TIMEOUT
from megaflow.match.conditions import EVERYTHING
from megaflow.router import make_handler
from megaflow.settings import ConsumerSettings
from megaflow.sqs import QueueFacts
from megaflow.status import Fate, ProcessStatus

HANDLER = make_handler(lambda payload: None, Kind.TEXT, EVERYTHING)
STATUSES = {
    Fate.DELETE: ProcessStatus.DONE,
    Fate.KEEP: ProcessStatus.RETRY_LATER,
    Fate.DEAD_LETTER: ProcessStatus.FATAL_ERROR,
}
Answer: TypeAlias = Callable[[], Event]


class World:
    """A queue, handlers and a clock, all driven by one seed, around one core; each step checks what must hold."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chosen = self.random.choice
        self.now = chosen([0.0, 100.0, 12345.678901])
        self.fifo = chosen([True, False])
        self.has_dead_letter_queue = chosen([True, True, False])
        self.fault_rate = chosen([0.0, 0.05, 0.3, 1.0])
        self.hang_rate = chosen([0.0, 0.0, 0.05])
        self.slowest = chosen([0.01, 0.5, 4.0])
        self.settings = ConsumerSettings(
            concurrency=self.random.randint(1, 12),
            max_number_of_messages=self.random.randint(1, 10),
            visibility_timeout=chosen([1, 2, 5, 30]),
            shutdown_timeout=chosen([0.0, 0.1, 1.0, 25.0]),
            backoff=chosen([lambda count: 0.0, lambda count: 10.0 * count, lambda count: math.nan, lambda count: 1e9]),
        )
        self.core = Core(self.settings, fifo=self.fifo, randomness=self.random.random)
        self.answers: list[tuple[float, int, Answer]] = []
        self.asking = False
        self.received: dict[str, Message] = {}
        self.running: dict[str, Message] = {}
        self.started: set[str] = set()
        self.verdicts: dict[str, Fate] = {}
        self.settling: set[str] = set()
        self.dead_lettered: set[str] = set()
        self.settled: set[str] = set()
        self.end_by = math.inf
        self.exited = False

    def run(self) -> None:
        stop_at = self.now + self.random.random() * 20
        for number in range(self.random.choice([1, 1, 2, 4])):
            self.later(stop_at - self.now, Stop(now=number > 0 and self.random.random() < 0.7))
            stop_at += self.random.random() * 2
        event: Event = Tick()
        ticks = 0
        while not self.exited:
            self.tell(event)
            next_answer = self.answers[0][0] if self.answers else math.inf
            wake_at = self.core.wake_at
            assert self.now < wake_at
            assert self.exited or min(wake_at, next_answer) < math.inf, "nothing will ever happen again"
            ticks = ticks + 1 if wake_at < next_answer else 0
            assert ticks < 300, "it spins"
            if wake_at < next_answer:
                self.now, event = wake_at, Tick()
            elif self.answers:
                self.now, _, answer = heapq.heappop(self.answers)
                event = answer()

    def tell(self, event: Event) -> None:
        if isinstance(event, Stop):
            grace = 0.0 if event.now else self.settings.shutdown_timeout
            self.end_by = min(self.end_by, self.now + grace + FLUSH_GRACE)
        for action in self.core.handle(event, self.now):
            assert not self.exited
            self.carry_out(action)

    def carry_out(self, action: Action) -> None:
        match action:
            case Inspect() | Receive():
                assert not self.asking
                assert self.end_by == math.inf, "asked after the stop"
                self.asking = True
                self.answer(2.0, lambda: self.reply(action))
            case Start(message):
                self.start(message)
            case DeadLetter() | Delete() | Hide():
                self.settle(action)
            case Exit():
                assert self.now <= self.end_by + 1e-6
                self.exited = True
            case AbandonPoll() | Report() | Count():
                pass

    def reply(self, question: Inspect | Receive) -> Event:
        self.asking = False
        if self.random.random() < min(0.5, self.fault_rate):
            return AskFailed(ConnectionError(), refused=False)
        if isinstance(question, Inspect):
            return Inspected(QueueFacts("https://dead" if self.has_dead_letter_queue else ""))
        return Received([self.make_message() for _ in range(self.random.randint(0, question.count))])

    def make_message(self) -> Message:
        handle = f"handle-{len(self.received)}"
        lease = Lease(handle, self.now, self.now + self.settings.visibility_timeout, lambda: self.now)
        group = f"group-{self.random.randint(0, 4)}"
        self.received[handle] = Message(handle, "x", Kind.TEXT, "x", group_id=group, lease=lease)
        return self.received[handle]

    def start(self, message: Message) -> None:
        assert message.lease is not None
        handle = message.lease.receipt_handle
        assert handle not in self.started | self.settling | self.settled
        assert message.lease.expires_at > self.now
        assert self.end_by == math.inf, "started after the stop"
        self.started.add(handle)
        self.running[handle] = message
        assert len(self.running) <= self.settings.concurrency
        if self.fifo:
            groups = [each.group_id for each in self.running.values()]
            assert len(groups) == len(set(groups)), "two of a group"
        self.answer(self.slowest, lambda: self.finish(handle))

    def finish(self, handle: str) -> Event:
        message = self.running.pop(handle)
        if self.random.random() < 0.05:
            self.verdicts[handle] = Fate.KEEP
            return Crashed(message, MemoryError())
        fate = self.random.choice([Fate.DELETE, Fate.DELETE, Fate.KEEP, Fate.DEAD_LETTER])
        self.verdicts[handle] = fate
        after = self.random.choice([None, 0.0, -1.0, 3.0, 1e6]) if fate is Fate.KEEP else None
        return Finished((Verdict(message, (Outcome(HANDLER, STATUSES[fate], None, after),), fate),))

    def settle(self, action: DeadLetter | Delete | Hide) -> None:
        handles = [each.lease.receipt_handle for each in action.messages if each.lease is not None]
        assert 0 < len(set(handles)) == len(action.messages) <= BATCH_ENTRIES
        assert not set(handles) & (self.settling | self.settled)
        for handle in handles:
            self.check_settlement(action, handle)
        if isinstance(action, Hide):
            for message, seconds in zip(action.messages, action.seconds, strict=True):
                assert message.lease is not None
                assert 0 <= math.ceil(seconds) <= VISIBILITY_TIMEOUT - (self.now - message.lease.received_at)
        self.settling |= set(handles)
        self.answer(0.5, lambda: self.note_settled(action, handles))

    def check_settlement(self, action: DeadLetter | Delete | Hide, handle: str) -> None:
        verdict = self.verdicts.get(handle)
        if isinstance(action, Delete):
            assert verdict in (Fate.DELETE, Fate.DEAD_LETTER), "deleted without a verdict that says so"
            to_be_dead_lettered = verdict is Fate.DEAD_LETTER and self.has_dead_letter_queue
            assert not to_be_dead_lettered or handle in self.dead_lettered, "deleted before it was dead-lettered"
        if isinstance(action, Hide):
            assert verdict is not Fate.DELETE, "comes again although it is done"
            assert handle not in self.dead_lettered, "comes again although it was dead-lettered"

    def note_settled(self, action: DeadLetter | Delete | Hide, handles: Sequence[str]) -> Event:
        self.settling -= set(handles)
        problems = {
            handle: Problem("InternalError", final=self.random.random() < 0.3)
            for handle in handles
            if self.random.random() < self.fault_rate
        }
        done = set(handles) - problems.keys()
        if isinstance(action, DeadLetter):
            self.dead_lettered |= done
        else:
            self.settled |= done
        return Settled(action, problems)

    def answer(self, slowest: float, answer: Answer) -> None:
        if self.random.random() >= self.hang_rate:
            self.later(self.random.random() * slowest, answer)

    def later(self, seconds: float, answer: Answer | Event) -> None:
        said = answer if callable(answer) else lambda: answer
        heapq.heappush(self.answers, (self.now + seconds, self.random.getrandbits(60), said))


@pytest.mark.parametrize("block", range(10))
def test_what_must_hold_holds_whatever_happens(block: int) -> None:
    for seed in range(block * 100, (block + 1) * 100):
        try:
            World(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
