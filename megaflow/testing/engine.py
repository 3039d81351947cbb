"""The engine of a `TestClient`: drives the consumer's core in one thread, and decides nothing."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final

from megaflow.app import App, parts_of
from megaflow.backoff import Backoff, ExponentialBackoff
from megaflow.consumer.core.core import Core
from megaflow.consumer.core.protocol import (
    AbandonPoll,
    Action,
    AskFailed,
    CallBatch,
    Called,
    DeadLetter,
    Delete,
    Drop,
    Exit,
    Extend,
    Flush,
    GiveUp,
    Hide,
    Input,
    Inspect,
    Measure,
    Pause,
    Receive,
    Received,
    Report,
    Resume,
    Settled,
    Start,
    Tick,
)
from megaflow.consumer.threads.calls import ask, discard_nothing, settle
from megaflow.errors import RegistrationError, UsageError
from megaflow.handlers.handler import Handler
from megaflow.local import Account, SqsClient
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about
from megaflow.processing.steps import wait_in
from megaflow.telemetry import tracing
from megaflow.testing.clock import Clock, FakeTimeLoop, StuckError
from megaflow.testing.planned import Planned
from megaflow.testing.record import Record
from megaflow.testing.works import Work, Works
from megaflow.transport.addresses import name_of
from megaflow.transport.queue import OpenQueue

log = get_logger(__name__)

_POLL: Final = 20
"""Seconds: one that did not wait would be repeated for ever, as no time passes by itself."""

_MOST_AT_ONCE: Final = 100_000
_MOST_TIMES: Final = 100
"""How often one message may be handled without time passing."""


class Engine:
    """The consumer of *app* over the queue at *queue_url*, with *clock*."""

    def __init__(self, app: App, account: Account, queue_url: str, clock: Clock, planned: Planned) -> None:
        self.record = Record()
        self._planned = planned
        self._app = app
        self._account = account
        self._clock = clock
        self._queue_name = name_of(queue_url)
        parts = parts_of(app)
        self._queue = OpenQueue(_Impatient(account), queue_url, clock=clock, tracing=parts.destination.tracing)
        self._get_processor = parts.assembly.processor
        self._outlets = parts.outlets
        self._settings = replace(parts.settings, wait_time_seconds=_POLL)
        self._running = parts.running
        self._was_paused = parts.running.is_paused
        self._loop = asyncio.Runner(loop_factory=lambda: FakeTimeLoop(clock, self._pass_time))
        self._inputs: deque[Input] = deque()
        self._works = Works(
            self._get_processor, self.record, self._wait, self._watch, max_receives=parts.settings.max_receives
        )
        self._polls: dict[int, tuple[Receive, float]] = {}
        self._failure: BaseException | None = None
        self._is_busy = False
        self.check()
        self._start()

    @property
    def is_busy(self) -> bool:
        """Whether a handler is at work."""
        return self._is_busy

    def check(self) -> None:
        """Raise `RegistrationError` where handlers cannot work: in a log it would be seen by nobody."""
        self._get_processor()

    def fail(self, failure: BaseException) -> None:
        """Let `run` raise *failure*: what a handler is told is the message's business only."""
        self._failure = failure

    def close(self) -> None:
        """Close what the app's handlers needed, and the event loop; what a test has paused goes on."""
        if not self._was_paused:
            self._running.resume()
        try:
            self._loop.run(self._app.aclose())
        finally:
            self._loop.close()

    def run(self) -> None:
        """Do what can be done before time passes; raise what a handler raised that is no `Exception`."""
        self._planned.publish_due()
        self.check()
        self._pause()
        handled: Counter[str] = Counter()
        self._is_busy = True
        try:
            while self._failure is None and self._step(handled):
                pass
        finally:
            self._is_busy = False
        self._note_moved()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._start()
            raise failure

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, and do at the very time what is to be done."""
        end = self._clock.now + seconds
        self.run()
        while (due := self._due_at()) <= end:
            self._clock.now = max(self._clock.now, due)
            self.run()
        self._clock.now = max(self._clock.now, end)
        self.run()

    def flush(self) -> None:
        """Call batch handlers with what waits for them, and do what can be done then."""
        self.run()
        while self._core.is_collecting:
            self._tell(Flush())
            self.run()

    def _start(self) -> None:
        self._inputs.clear()
        self._works.clear()
        self._polls.clear()
        self._core = Core(
            self._settings,
            fifo=self._queue.fifo,
            has_batches=self._get_processor().has_batches,
            randomness=random.Random(0).random,
            ask_backoff=_ask_without_chance,
            is_observed=lambda: self._outlets.are_told_all,
            wall_clock=self._clock,
        )
        self._is_paused = False
        self._pause()
        self._tell(Tick())

    def _pause(self) -> None:
        """Tell the core whether the app is paused, where that is news."""
        if self._running.is_paused is not self._is_paused:
            self._is_paused = not self._is_paused
            self._tell(Pause(is_over=not self._is_paused))

    def _step(self, handled: Counter[str]) -> bool:
        """Do the next thing that needs no time to pass; tell whether there was one."""
        if self._inputs:
            self._tell(self._inputs.popleft())
        elif self._core.wake_at <= self._clock.now:
            self._tell(Tick())
        elif (work := self._works.take()) is not None:
            handled[work.message.id] += 1
            if handled[work.message.id] > _MOST_TIMES or len(handled) > _MOST_AT_ONCE:
                raise UsageError(
                    "messages come again and again without time passing: does a handler publish what it handles, or "
                    "ask for it to come again after 0 seconds?"
                )
            self._handle(work)
        else:
            return self._poll()
        return True

    def _handle(self, work: Work) -> None:
        try:
            self._inputs += self._works.handle(work)
        except RegistrationError as error:
            self._failure = error

    def _poll(self) -> bool:
        for number, (action, ends_at) in list(self._polls.items()):
            answer = ask(self._queue, action, self._settings)
            if isinstance(answer, AskFailed) or answer.messages or self._clock.now >= ends_at:  # type: ignore[union-attr]
                del self._polls[number]
                self._inputs.append(answer)
                return True
        return False

    def _due_at(self) -> float:
        """Return when something can happen again."""
        ends = (ends_at for _, ends_at in self._polls.values())
        queues = (hosted.queue.messages.next_change() for hosted in self._account.queues.values())
        times = [self._core.wake_at, self._planned.due_at, *ends, *(each for each in queues if each is not None)]
        return min((each for each in times if each > self._clock.now), default=math.inf)

    def _tell(self, told: Input) -> None:
        for action in self._core.handle(told, self._clock.now):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Inspect():
                self._inputs.append(ask(self._queue, action, self._settings))
            case Receive():
                self._polls[action.poll] = action, self._clock.now + action.wait
            case AbandonPoll(poll):
                self._polls.pop(poll, None)
                self._inputs.append(Received((), poll))
            case Start() | Resume() | CallBatch() | Drop():
                self._works.begin(action)
            case Extend() | Delete() | Hide() | DeadLetter():
                self._inputs.append(self._settle(action))
            case Measure(counts, values):
                self._outlets.note(self._queue_name, counts, values)
            case Report(level, text, values, error, keys):
                log.log(level, text, *values, exc_info=error, extra={"queue": self._queue.url, **keys})
            case GiveUp(message):
                tracing.give_up(message)
                log.error("message %s was given up", message.id, extra=about(message))
            case Exit(error):
                self._failure = error

    def _settle(self, action: Extend | Delete | Hide | DeadLetter) -> Settled:
        processor = self._get_processor()
        discard = discard_nothing if processor.fetching is None else processor.fetching.discard
        settled = settle(self._queue, action, processor.renew, discard)
        self.record.note_settled(settled)
        return settled

    def _note_moved(self) -> None:
        """Note what SQS has moved to the dead-letter queue by itself: the received messages keep their ids there."""
        arn = self._account.queues[self._queue_name].queue.settings.dead_letter_arn
        hosted = self._account.queue_by_arn(arn) if arn else None
        for each in self._account.peek(hosted.name) if hosted else ():
            self.record.note_moved(each.id, f"moved to {name_of(str(arn))} by SQS: received {each.receive_count} times")

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        try:
            return wait_in(self._loop, awaitable)
        except StuckError as error:
            # Not the message's fault: whoever wrote the test has to know.
            self._failure = UsageError(str(error))
            raise asyncio.CancelledError from error

    def _watch(self, message: Message, handler: Handler, seconds: float | None) -> None:
        self._tell(Called(message, handler, seconds))

    def _pass_time(self, seconds: float) -> None:
        """Let time pass while a handler sleeps: leases are extended, and polls end."""
        end = self._clock.now + seconds
        while (due := min([self._core.wake_at, *(ends_at for _, ends_at in self._polls.values())])) <= end:
            self._clock.now = max(self._clock.now, due)
            self._end_polls()
            self._tell(Tick())
            while self._inputs:
                self._tell(self._inputs.popleft())
        self._clock.now = max(self._clock.now, end)

    def _end_polls(self) -> None:
        """End the polls whose time is over, empty: what there is waits until the handler has ended."""
        for number, (_, ends_at) in list(self._polls.items()):
            if ends_at <= self._clock.now:
                del self._polls[number]
                self._inputs.append(Received((), number))


class _Impatient(SqsClient):
    """A client whose polls do not wait: what waits is the clock's business."""

    def receive_message(self, **parameters: Any) -> Any:
        return super().receive_message(**parameters | {"WaitTimeSeconds": 0})


def _ask_without_chance(backoff: Backoff, receive_count: int) -> float:
    """Return the longest that a backoff can be."""
    if isinstance(backoff, ExponentialBackoff):
        backoff = replace(backoff, randomness=lambda: 1.0)
    return backoff(receive_count)
