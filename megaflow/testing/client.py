"""`TestClient`: an app, its consumer and an embedded queue in one thread, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from megaflow.app import App
from megaflow.consumer.calls import ask, settle
from megaflow.consumer.core import Core
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    AskFailed,
    Called,
    Count,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Extend,
    Finished,
    GiveUp,
    Hide,
    Inspect,
    Receive,
    Received,
    Report,
    Settled,
    Start,
    Tick,
)
from megaflow.errors import UsageError
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.message import Message
from megaflow.outgoing import PublishOptions
from megaflow.router import Handler
from megaflow.sqs import Queue
from megaflow.status import ProcessStatus
from megaflow.steps import run_step
from megaflow.testing.clock import Clock, FakeTimeLoop
from megaflow.verdict import Outcome, Verdict

log = logging.getLogger(__name__)

_OWNER: Final = re.compile(r"(?:/|:)([0-9]{12})(?:/|:)")
_QUEUE: Final = "test"
_MOST_STEPS: Final = 100_000
_SHOWN: Final = 200
"""Characters of a payload."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Handled:
    """A handler's work on a message: what it got, and what came of it."""

    handler: str
    """The handler's name."""

    payload: Any
    status: ProcessStatus
    error: BaseException | None = None
    message: Message | None = field(default=None, repr=False, compare=False)


class Seen(tuple[Any, ...]):
    """What a client has seen, in order; where a test asserts something else of it, pytest shows why."""

    explain: Callable[[], str]

    @classmethod
    def of(cls, items: Iterable[Any], explain: Callable[[], str]) -> Self:
        """Return *items*; *explain* tells why they are not others."""
        seen = cls(items)
        seen.explain = explain
        return seen


class TestClient:
    """Runs an app over an embedded queue within a ``with``, in the calling thread: nothing waits, nothing is sent out.

    The handlers, their verdicts and the consumer's decisions are those of `App.run`. Messages are handled one by one,
    and time passes in `advance` only, or where an async handler sleeps. The queue has the name and kind of the app's
    own, or is a standard one, *fifo* where that is said; it has a dead-letter queue, and a topic before it where the
    app has one. A ``timeout=`` holds for async handlers; one that is not async is not stopped here.

    Example:
        >>> from megaflow import App
        >>> from megaflow.testing import TestClient
        >>> app = App()
        >>> @app.on_text("ping")
        ... def answer(text): ...
        >>> with TestClient(app) as client:
        ...     client.publish("ping")
        ...     client.assert_handled(answer, times=1)
    """

    __test__ = False  # pytest takes what is called so for tests

    def __init__(self, app: App, *, fifo: bool | None = None) -> None:
        self.app = app
        self._fifo = (app.queue_url or "").endswith(".fifo") if fifo is None else fifo
        self._exits = ExitStack()
        self._events: deque[Event] = deque()
        self._begun: deque[Message] = deque()
        self._polls: dict[int, tuple[Receive, float]] = {}
        self._received: dict[str, Message] = {}
        self._handled: list[Handled] = []
        self._kept: list[Message] = []
        self._deleted: list[Message] = []
        self._dead_lettered: list[Message] = []
        self._failure: BaseException | None = None
        self._is_open = False

    def __enter__(self) -> Self:
        """Make the queues, and connect the app to them.

        Raises `UsageError` inside a running event loop, where handlers cannot be waited for.
        """
        if _is_in_event_loop():
            raise UsageError("TestClient waits for handlers, which it cannot inside a running event loop")
        self._clock = Clock(math.floor(time.time()))
        owner = _OWNER.search(" ".join(filter(None, (self.app.queue_url, self.app.topic_arn))))
        self.account = Account(clock=self._clock, random=random.Random(0), account_id=owner[1] if owner else "0" * 12)
        self.sqs, self.sns = SqsClient(self.account), SnsClient(self.account)
        self.dead_letter_queue_url = self._create_queue(
            _name_of(self.app.settings.dead_letter_queue_url) or "test-dead"
        )
        self.queue_url = self._create_queue(_name_of(self.app.queue_url) or _QUEUE, self.dead_letter_queue_url)
        self._exits.enter_context(
            self.app.connected(self.queue_url, self._create_topic(), client=self.sqs, sns_client=self.sns)
        )
        self._loop = self._exits.enter_context(
            asyncio.Runner(loop_factory=lambda: FakeTimeLoop(self._clock, self._pass_time))
        )
        self._queue = Queue(_Impatient(self.sqs), self.queue_url, clock=self._clock)
        self._start()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close what the app's handlers needed, and connect the app as it was."""
        self._is_open = False
        self._loop.run(self.app.aclose())
        self._exits.close()

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Publish as `App.publish` does, let the app handle what it can, and return the message id."""
        return self._after(lambda: self.app.publish(payload, **options))

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Publish as `App.publish_batch` does, and let the app handle what it can."""
        return self._after(lambda: self.app.publish_batch(items, **options))

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Publish as `App.publish_raw_message` does, and let the app handle what it can."""
        return self._after(lambda: self.app.publish_raw_message(body, **options))

    def run(self) -> None:
        """Let the app handle what it can before time passes: messages that others have sent.

        Raises what a handler raised that is no `Exception`; whatever was in hand was given back.
        """
        self._check_open()
        self._settle_all()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._start()
            raise failure

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, and the app handle what it can meanwhile, at the very time."""
        self._check_open()
        end = self._clock.now + seconds
        self.run()
        while (due := self._due_at()) <= end:
            self._clock.now = max(self._clock.now, due)
            self.run()
        self._clock.now = max(self._clock.now, end)
        self.run()

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self._clock.now

    @property
    def handled(self) -> Seen:
        """Every call of a handler, as `Handled`, in order."""
        return Seen.of(self._handled, self.explain)

    @property
    def kept(self) -> Seen:
        """The messages that were kept to come again, once for each time."""
        return Seen.of(self._kept, self.explain)

    @property
    def deleted(self) -> Seen:
        """The messages that were done with, and deleted."""
        return Seen.of(self._deleted, self.explain)

    @property
    def dead_lettered(self) -> Seen:
        """The messages that went to the dead-letter queue."""
        return Seen.of(self._dead_lettered, self.explain)

    def handled_by(self, handler: str | Handler | Callable[..., Any]) -> Seen:
        """Return the payloads that a handler got: a function, or a handler's name."""
        names = self._names_of(handler)
        return Seen.of((each.payload for each in self._handled if each.handler in names), self.explain)

    def assert_handled(self, handler: str | Handler | Callable[..., Any], *, times: int | None = None) -> None:
        """Raise `AssertionError`, saying why, unless *handler* was called: so many *times*, or at all."""
        called = len(self.handled_by(handler))
        if called != times if times is not None else not called:
            wanted = "" if times is None else f" {times} times, but {called}"
            raise AssertionError(f"{self._names_of(handler)[0]} was not called{wanted}\n\n{self.explain()}")

    def assert_not_handled(self, handler: str | Handler | Callable[..., Any]) -> None:
        """Raise `AssertionError`, saying with what, if *handler* was called."""
        self.assert_handled(handler, times=0)

    def explain(self) -> str:
        """Say of every message that was received which handlers match it, and why the others do not."""
        if not self._received:
            return "no message was received"
        return "\n\n".join(f"{_shorten(each)}\n{self.app.explain(each)}" for each in self._received.values())

    # What drives the core, and decides nothing

    def _start(self) -> None:
        settings = replace(self.app.settings, dead_letter_queue_url=None)
        if self.app.settings.dead_letter_queue_url:
            settings = replace(settings, dead_letter_queue_url=self.dead_letter_queue_url)
        self._events.clear()
        self._begun.clear()
        self._polls.clear()
        self._core = Core(settings, fifo=self._queue.fifo, randomness=random.Random(0).random)
        self._settings = settings
        self._tell(Tick())

    def _after(self, publish: Callable[[], Answer]) -> Answer:
        self._check_open()
        published = publish()
        self.run()
        return published

    def _check_open(self) -> None:
        if not self._is_open:
            raise UsageError("use the TestClient in a with statement")

    def _settle_all(self) -> None:
        for _ in range(_MOST_STEPS):
            if self._failure is not None or not self._step():
                return
        raise UsageError("messages come again and again without time passing: does a handler publish what it handles?")

    def _step(self) -> bool:
        """Do the next thing that needs no time to pass; tell whether there was one."""
        if self._events:
            self._tell(self._events.popleft())
        elif self._core.wake_at <= self._clock.now:
            self._tell(Tick())
        elif self._begun:
            self._handle(self._begun.popleft())
        else:
            return self._poll()
        return True

    def _poll(self) -> bool:
        for number, (action, ends_at) in list(self._polls.items()):
            event = ask(self._queue, action, self._settings)
            if isinstance(event, AskFailed) or event.messages or self._clock.now >= ends_at:  # type: ignore[union-attr]
                del self._polls[number]
                self._events.append(event)
                return True
        return False

    def _due_at(self) -> float:
        """Return when something can happen again."""
        ends = (ends_at for _, ends_at in self._polls.values())
        queues = (hosted.queue.next_change() for hosted in self.account.queues.values())
        times = [self._core.wake_at, *ends, *(each for each in queues if each is not None)]
        return min((each for each in times if each > self._clock.now), default=math.inf)

    def _tell(self, event: Event) -> None:
        for action in self._core.handle(event, self._clock.now):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Inspect():
                self._events.append(ask(self._queue, action, self._settings))
            case Receive():
                self._polls[action.poll] = action, self._clock.now + self._settings.wait_time_seconds
            case AbandonPoll(poll):
                self._polls.pop(poll, None)
                self._events.append(Received((), poll))
            case Start(message):
                self._received[message.id] = message
                self._begun.append(message)
            case Extend() | Delete() | Hide() | DeadLetter():
                self._events.append(self._settle(action))
            case Count(name, amount):
                self.app.metrics.count(name, amount)
            case Report(level, text, values, error):
                log.log(level, text, *values, exc_info=error)
            case GiveUp(message):
                log.error("message %s was given up", message.id)
            case Exit(error):
                self._failure = error

    def _settle(self, action: Extend | Delete | Hide | DeadLetter) -> Settled:
        settled = settle(self._queue, action, self.app.processor.renew)
        done = [each for each in action.messages if each.id not in settled.problems]
        if isinstance(action, DeadLetter):
            self._dead_lettered += done
        elif isinstance(action, Delete):
            dead = {each.id for each in self._dead_lettered}
            self._deleted += [each for each in done if each.id not in dead]
        return settled

    def _handle(self, message: Message) -> None:
        try:
            verdict = self._process(message)
        except Exception as error:  # noqa: BLE001 - a message that is out must come back to the core
            self._events.append(Crashed(message, error))
            return
        self._handled += [_describe(outcome, message) for outcome in verdict.outcomes]
        if verdict.keeps:
            self._kept.append(message)
        self._events.append(Finished((verdict,)))

    def _process(self, message: Message) -> Verdict:
        steps = self.app.processor.steps(message)
        step = next(steps)
        while not isinstance(step, Verdict):
            step = run_step(steps, step, self._wait, self._watch)
        return step

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        return self._loop.run(_wait_for(awaitable))

    def _watch(self, message: Message, handler: Handler, seconds: float | None) -> None:
        self._tell(Called(message, handler, seconds))

    def _pass_time(self, seconds: float) -> None:
        """Let time pass while a handler sleeps: the leases of what is in hand are extended."""
        end = self._clock.now + seconds
        while (due := self._core.wake_at) <= end and self._failure is None:
            self._clock.now = max(self._clock.now, due)
            self._tell(Tick())
            while self._events:
                self._tell(self._events.popleft())
        self._clock.now = max(self._clock.now, end)

    # The queues

    def _create_queue(self, name: str, dead_letter_queue_url: str = "") -> str:
        attributes: dict[str, str] = {}
        if self._fifo:
            name = name.removesuffix(".fifo") + ".fifo"
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        if dead_letter_queue_url:
            policy = {"deadLetterTargetArn": self._arn_of(dead_letter_queue_url), "maxReceiveCount": "1000"}
            attributes |= {"RedrivePolicy": json.dumps(policy)}
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def _create_topic(self) -> str | None:
        if not self.app.topic_arn:
            return None
        name = self.app.topic_arn.rpartition(":")[2].removesuffix(".fifo")
        fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"} if self._fifo else {}
        arn = str(self.sns.create_topic(Name=name + (".fifo" if self._fifo else ""), Attributes=fifo)["TopicArn"])
        self.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self._arn_of(self.queue_url))
        return arn

    def _arn_of(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def _names_of(self, handler: str | Handler | Callable[..., Any]) -> list[str]:
        if isinstance(handler, str):
            return [handler]
        if isinstance(handler, Handler):
            return [handler.name]
        names = [each.name for each in self.app.handlers if each.function == handler]
        if not names:
            raise UsageError(f"{handler!r} is no handler of this app")
        return names


class _Impatient:
    """A client whose polls do not wait: what waits is the clock's business."""

    def __init__(self, client: SqsClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **parameters: Any) -> Any:
        return self._client.receive_message(**parameters | {"WaitTimeSeconds": 0})


def _describe(outcome: Outcome, message: Message) -> Handled:
    return Handled(outcome.handler.name, message.payload, outcome.status, outcome.error, message)


def _shorten(message: Message) -> str:
    text = repr(message.payload)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _name_of(url: str | None) -> str:
    return (url or "").rpartition("/")[2]


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
