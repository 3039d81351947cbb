"""One simulated day under one seed: a queue, consumers that come and go, faults, and in the end fair weather."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Final

from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router
from megaflow.handlers.status import PartialFailure, ProcessStatus, RetryLater
from megaflow.local import Account, SqsClient
from megaflow.messages.message import Message
from megaflow.processing.idempotency import Idempotency
from megaflow.processing.processor import Processor
from megaflow.processing.progress import Progress
from megaflow.settings import CircuitBreaker, ConsumerSettings
from megaflow.stores import Claim, Ended, MemoryStore
from tests.simulation.clock import Clock
from tests.simulation.consumer import Consumer
from tests.simulation.faults import StoreFault, Weather
from tests.simulation.ledger import Ledger, Violation

_DAY = 12 * 3600.0
"""Seconds within which everything has to be settled once the weather is fair."""

_MOST_STEPS = 60_000


class Luck(Enum):
    """What a message meets again and again, on a day that puts the order within groups to the test."""

    GOOD = auto()
    NOT_EXTENDED = auto()
    """Its handlers are slow, and its lease cannot be extended: it is lost while others of its group are in hand."""

    NOT_DELETED = auto()
    """It cannot be deleted: its lease ends while a later one is at work."""

    GIVEN_BACK = auto()
    """It is given back at once, while others of its group are in flight."""


_FAILS: Final = {Luck.NOT_EXTENDED: "change_message_visibility_batch", Luck.NOT_DELETED: "delete_message_batch"}


@dataclass(frozen=True)
class Plan:
    """What a handler is going to do: say or raise something, after so many seconds."""

    said: object
    status: ProcessStatus
    seconds: float


@dataclass(frozen=True)
class BatchPlan:
    """What a handler is going to do with a batch, and what that means for each of its messages."""

    said: object
    statuses: Sequence[ProcessStatus]
    seconds: float


class ObservedStore:
    """A store that is out for a while, or takes no writes, and tells the ledger what it has remembered."""

    def __init__(self, store: MemoryStore, world: World) -> None:
        self._store = store
        self._world = world

    def check(self) -> None:
        self._refuse(StoreFault.OUT, StoreFault.READS_ONLY)

    def load(self, work: str) -> Mapping[str, Ended]:
        self._refuse(StoreFault.OUT)
        return self._store.load(work)

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self._refuse(StoreFault.OUT, StoreFault.READS_ONLY)
        self._store.save(work, handler, ended)
        self._world.ledger.note_saved(work.rpartition(" ")[2], handler, self._world.clock.now)

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        self._refuse(StoreFault.OUT, StoreFault.READS_ONLY)
        return self._store.claim(key, owner, seconds)

    def renew(self, key: str, owner: str, seconds: float) -> None:
        self._refuse(StoreFault.OUT, StoreFault.READS_ONLY)
        self._store.renew(key, owner, seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        self._refuse(StoreFault.OUT, StoreFault.READS_ONLY)
        self._store.complete(key, owner, seconds)
        self._world.ledger.note_key_completed(key, self._world.clock.now + seconds)

    def release(self, key: str, owner: str) -> None:
        self._refuse(StoreFault.OUT, StoreFault.READS_ONLY)
        self._store.release(key, owner)

    def _refuse(self, *faults: StoreFault) -> None:
        if self._world.weather.store in faults:
            raise OSError("simulated: the store is out")


class World:
    """Everything there is. `run` raises `Violation` where a rule does not hold; *history*, if any, is written."""

    def __init__(self, seed: int, history: list[tuple[float, str, str, object]] | None = None) -> None:
        self.random = random.Random(seed)
        self.history = history
        self.clock = Clock(self.random)
        chosen = self.random.choice
        self.fifo = chosen([True, False])
        self.is_foul = chosen([True, True, False])
        self.tests_order = self.fifo and self.is_foul and chosen([True, False])
        self.has_dead_letter_queue = chosen([True, True, False])
        self.weather = Weather(
            faults=chosen([0.02, 0.1, 0.3]) if self.is_foul else 0.0,
            hangs=chosen([0.0, 0.0, 0.02]) if self.is_foul else 0.0,
            slowest=chosen([0.02, 0.2, 2.0]) if self.is_foul else 0.1,
        )
        self.settings = ConsumerSettings(
            concurrency=self.random.randint(1, 6),
            max_number_of_messages=chosen([3, 10] if self.tests_order else [1, 3, 10]),
            wait_time_seconds=chosen([1, 5, 20]),
            visibility_timeout=chosen([5] if self.tests_order else [5, 10, 30]),
            prefetch=chosen([None, 0, 5]),
            shutdown_timeout=chosen([0.0, 1.0, 10.0, 25.0]),
            backoff=chosen([lambda count: 0.0, lambda count: 3.0, lambda count: min(60.0, 2.0**count)]),
            unmatched="delete",
            breaker=self._choose_breaker(),
        )
        self.account = Account(clock=self.clock, random=random.Random(seed))
        self.sqs = SqsClient(self.account)
        self.url, self._name = self._create_queues()
        self.ledger = Ledger(fifo=self.fifo, has_dead_letter_queue=self.has_dead_letter_queue)
        self.store = chosen([True, False])
        self._memory = MemoryStore(clock=self.clock)
        self._timeouts = {name: chosen([None, None, 4.0]) for name in ("first", "second", "third")}
        self._limits = {name: self._choose_limits() for name in ("first", "second", "third")}
        self._batches = {name: self._choose_batches() for name in ("first", "second", "third")}
        self._spread = chosen([0.5, 4.0] if self.tests_order else [0.5, 20.0, 20.0])
        """Seconds within which all messages are sent."""

        self._keyed = self.store and chosen([True, False])
        self.handles: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.holders: dict[str, str] = {}
        """Who received each message last."""

        self._lucks: dict[str, Luck] = {}
        self._groups = chosen([1, 2]) if self.tests_order else 3
        self._consumers: list[Consumer] = []
        self._count = 0
        self._until = self.clock.now + self.random.uniform(20.0, 120.0)

    def run(self) -> None:
        """Live through the day."""
        for _ in range(self.random.randint(2 if self.tests_order else 1, 3)):
            self._start_consumer()
        for number in range(self.random.randint(5, 40)):
            self.clock.later(self.random.uniform(0, self._spread), partial(self._send, number))
        self.clock.later(self.random.uniform(0, 20), self._do_harm)
        if self.store and self.is_foul:
            self.clock.later(self.random.uniform(0, 60), self._let_store_fail)
        self.clock.later(self.random.uniform(0, 60), self._take_database_away)
        self.clock.later(self._until - self.clock.now, self._clear_up)
        self._go_on_until(lambda: self.clock.now > self._until, math.inf)
        self._go_on_until(self._is_empty, self.clock.now + _DAY)
        for consumer in self._living:
            consumer.stop(now=False)
        self._go_on_until(lambda: not self._living, self.clock.now + _DAY)
        self.ledger.check_end()

    def note(self, who: str, does: str, what: object) -> None:
        """Write history, where anybody wants it."""
        if self.history is not None:
            self.history.append((self.clock.now, who, does, what))

    def draw_latency(self) -> float:
        """Return how long a call takes, one way."""
        return self.random.random() ** 2 * self.weather.slowest

    def draw_plan(self, handler: Handler, message_id: str) -> Plan:
        """Decide what a handler does with a message."""
        luck = self.random.random()
        seconds = self.random.choice([0.0, 0.01, 0.5]) * self.random.random()
        if self.clock.now > self._until:
            return Plan(None, ProcessStatus.DONE, seconds)
        if self.weather.is_database_away and (handler.options.breaker or self.settings.breaker):
            return Plan(ConnectionError("simulated: the database is away"), ProcessStatus.RETRIABLE_ERROR, seconds)
        is_slow = self.random.random() < (0.3 if self.tests_order else 0.1)
        meets = self._lucks[message_id]
        if is_slow or meets is Luck.NOT_EXTENDED:
            seconds = self.settings.visibility_timeout * self.random.uniform(0.5, 1.5 if self.tests_order else 4.0)
        if meets is Luck.GIVEN_BACK and luck < 0.8:
            return Plan(RetryLater(after=0.0), ProcessStatus.RETRY_LATER, seconds)
        if meets in _FAILS and luck < 0.95:
            return Plan(None, ProcessStatus.DONE, seconds)
        if luck < 0.7:
            return Plan(None, ProcessStatus.DONE, seconds)
        if luck < 0.8:
            return Plan(RetryLater(after=self.random.choice([None, 0.0, 5.0])), ProcessStatus.RETRY_LATER, seconds)
        if luck < 0.92:
            return Plan(ProcessStatus.RETRIABLE_ERROR, ProcessStatus.RETRIABLE_ERROR, seconds)
        return Plan(ValueError("for good"), ProcessStatus.FATAL_ERROR, seconds)

    def draw_batch_plan(self, handler: Handler, ids: Sequence[str]) -> BatchPlan:
        """Decide what a handler does with a batch: it has one thing to say of all, or something of each."""
        plans = [self.draw_plan(handler, each) for each in ids]
        seconds = max(plan.seconds for plan in plans)
        way = self.random.randrange(3)
        if way == 0:
            return BatchPlan(plans[0].said, [plans[0].status] * len(ids), seconds)
        statuses = [plan.status for plan in plans]
        if way == 1:
            return BatchPlan(statuses, statuses, seconds)
        said = {place: plan.said for place, plan in enumerate(plans) if plan.said is not None}
        return BatchPlan(PartialFailure(said), statuses, seconds)  # type: ignore[arg-type]

    def is_unlucky(self, message: str, operation: str) -> bool:
        """Decide whether a message's entry in a call fails by itself."""
        is_meant = _FAILS.get(self._lucks[message]) == operation
        return is_meant and self.clock.now <= self._until and self.random.random() < 0.97

    def check_turn(self, consumer: str, message: str) -> None:
        """A message is started: each earlier one of its group must be gone, or be this consumer's own still."""
        if not self.fifo:
            return
        for earlier in self.ledger.before(message):
            hidden_until = self._hidden_until(earlier)
            if hidden_until > self.clock.now and self.holders.get(earlier) == consumer:
                continue
            if hidden_until < math.inf:
                raise Violation(f"{message}: {consumer} starts it, and {earlier} of its group comes again elsewhere")

    def make_processor(self, consumer: Consumer) -> Processor:
        """Return the handlers as every process has them: one for all, one for half, one for some."""
        router, options = Router(), self._options_of
        router.on_text(**options("first"), idempotency_key=self._key())(self._make_handler("first"))
        router.on_text(lambda text: text.endswith("even"), **options("second"))(self._make_handler("second"))
        router.on_text(lambda text: "rare" in text, **options("third"))(self._make_handler("third"))
        store = ObservedStore(self._memory, self)
        return Processor(
            router.handlers,
            breaker=self.settings.breaker,
            progress=Progress(store) if self.store else None,
            idempotency=Idempotency(store, self.settings.visibility_timeout) if self.store else None,
        )

    def note_deleted(self, consumer: str, receipt_handle: str) -> None:
        """A delete was said to have succeeded, which with an old receipt handle means nothing."""
        message = self.handles[receipt_handle]
        if not self.ledger.sent[message].is_deleted and not self._holds(message):
            self.note("the queue", "deletes", message)
            self.ledger.note_deleted(consumer, message)

    @property
    def _living(self) -> list[Consumer]:
        return [consumer for consumer in self._consumers if consumer.alive]

    def _choose_limits(self) -> dict[str, Any]:
        chosen = self.random.choice
        return {
            "max_concurrency": chosen([None, None, 1, 2]),
            "rate": chosen([None, None, None, "1/s", "3/s", "20/m"]),
            "breaker": self._choose_breaker(),
        }

    def _choose_breaker(self) -> CircuitBreaker | None:
        failures, seconds = self.random.randint(1, 3), self.random.choice([0.5, 3.0, 20.0])
        return self.random.choice([None, None, CircuitBreaker(failures=failures, seconds=seconds)])

    def _options_of(self, name: str) -> dict[str, Any]:
        return {"handler_name": name, "timeout": self._timeouts[name], **self._limits[name], **self._batches[name]}

    def _choose_batches(self) -> dict[str, Any]:
        chosen = self.random.choice
        if chosen([True, True, False]):
            return {}
        return {"batch_size": chosen([1, 3, 10]), "batch_seconds": chosen([0.0, 0.5, 5.0, 40.0])}

    def _make_handler(self, name: str) -> Callable[[Any], None]:
        """Return a function that does nothing: what handlers do is decided by `draw_plan`."""

        def handle(text: str) -> None: ...

        def handle_batch(messages: list[Message]) -> None: ...

        return handle_batch if self._batches[name] else handle

    def _key(self) -> Callable[[str], str] | None:
        return (lambda text: text.split()[0]) if self._keyed else None

    def _go_on_until(self, reached: Callable[[], bool], end: float) -> None:
        steps = 0
        while not reached():
            steps += 1
            if steps > _MOST_STEPS:
                raise Violation("it goes on for ever")
            if self.clock.now > end or not self.clock.step():
                left = [message for message in self.ledger.sent if self._holds(message)]
                raise Violation(f"never settled: {', '.join(left) or 'the consumers do not end'}")

    def _create_queues(self) -> tuple[str, str]:
        suffix = ".fifo" if self.fifo else ""
        attributes = {"FifoQueue": "true"} if self.fifo else {}
        if self.has_dead_letter_queue:
            self.sqs.create_queue(QueueName="dead" + suffix, Attributes=attributes)
            arn = f"arn:aws:sqs:us-east-1:000000000000:dead{suffix}"
            attributes = attributes | {"RedrivePolicy": f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1000}}'}
        url = self.sqs.create_queue(QueueName="main" + suffix, Attributes=attributes)["QueueUrl"]
        return url, "main" + suffix

    def _start_consumer(self) -> None:
        self._count += 1
        self.note(f"consumer {self._count}", "starts", "")
        self._consumers.append(Consumer(self, f"consumer {self._count}"))

    def _send(self, number: int) -> None:
        body = f"{number} {self.random.choice(['even', 'odd', 'rare', 'rare even'])}"
        group = f"group-{self.random.randint(1, self._groups)}"
        more = {"MessageGroupId": group, "MessageDeduplicationId": str(number)} if self.fifo else {}
        sent = self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **more)["MessageId"]
        handlers = {"first", *(["second"] if body.endswith("even") else []), *(["third"] if "rare" in body else [])}
        self.note("a producer", "sends", f"{sent}: {body!r} in {group}")
        self.ids[body] = sent
        self._lucks[sent] = self.random.choice([Luck.GOOD, *Luck]) if self.tests_order else Luck.GOOD
        self.ledger.note_sent(sent, body, group, handlers)

    def _do_harm(self) -> None:
        """Kill a process, pause one, deploy a new version, or deliver a message twice."""
        if self.clock.now >= self._until:
            return
        foul = [self._kill, self._deliver_again] if self.is_foul else []
        self.random.choice([self._deploy, self._pause, *foul])()
        self.clock.later(self.random.uniform(1, 40), self._do_harm)

    def _kill(self) -> None:
        for consumer in self._living[:1]:
            consumer.kill()
        self._start_consumer()

    def _deploy(self) -> None:
        for consumer in self._living[-1:]:
            consumer.stop(now=False)
            if self.random.random() < 0.3:
                self.clock.later(self.random.uniform(0, 5), partial(consumer.stop, now=True))
        self._start_consumer()

    def _deliver_again(self) -> None:
        """Let a message in flight be delivered once more, as standard queues may."""
        if self.handles and not self.fifo:
            handle = self.random.choice(list(self.handles)[-5:])
            if self._holds(self.handles[handle]):
                entry = {"Id": "0", "ReceiptHandle": handle, "VisibilityTimeout": 0}
                self.note("the queue", "delivers again", self.handles[handle])
                self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=[entry])

    def _pause(self) -> None:
        for consumer in self._living[:1]:
            consumer.pause()
            self.clock.later(self.random.uniform(0, 30), consumer.resume)

    def _take_database_away(self) -> None:
        if self.clock.now < self._until:
            self.weather.is_database_away = True
            self.note("the database", "goes away", "")
            self.clock.later(self.random.uniform(0.5, 40), self._bring_database_back)

    def _bring_database_back(self) -> None:
        self.weather.is_database_away = False
        self.note("the database", "is there again", "")
        self.clock.later(self.random.uniform(0.5, 60), self._take_database_away)

    def _let_store_fail(self) -> None:
        if self.clock.now < self._until:
            self.weather.store = self.random.choice([StoreFault.OUT, StoreFault.READS_ONLY])
            self.note("the store", "fails", self.weather.store.name)
            self.clock.later(self.random.uniform(0.5, 60), self._let_store_recover)

    def _let_store_recover(self) -> None:
        self.weather.store = StoreFault.NONE
        self.note("the store", "is well again", "")
        self.clock.later(self.random.uniform(0.5, 60), self._let_store_fail)

    def _clear_up(self) -> None:
        self.weather.store = StoreFault.NONE
        self.weather.is_database_away = False
        for consumer in self._living:
            consumer.resume()
        self.weather.faults = self.weather.hangs = 0.0
        self.weather.slowest = 0.1
        self.note("the weather", "clears up", "")
        if not self._living or all(consumer.stopped_at < math.inf for consumer in self._living):
            self._start_consumer()

    def _is_empty(self) -> bool:
        return not self.account.queues[self._name].queue.messages._messages and all(
            sent.is_deleted for sent in self.ledger.sent.values()
        )

    def _holds(self, message: str) -> bool:
        return self._hidden_until(message) < math.inf

    def _hidden_until(self, message: str) -> float:
        """Return until when nobody else can receive a message: 0 where it can be seen, infinity where it is gone."""
        messages = self.account.queues[self._name].queue.messages
        for each in messages._messages.values():
            if each.message.id == message:
                return messages.visible_at(each.number) or 0.0
        return math.inf
