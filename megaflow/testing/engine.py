"""The engine of a `TestClient`: drives the consumer's core in one thread, and decides nothing."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Awaitable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
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
    Crashed,
    DeadLetter,
    Delete,
    Drop,
    Exit,
    Extend,
    Finished,
    Flush,
    GiveUp,
    Hide,
    Input,
    Inspect,
    LinedUp,
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
from megaflow.consumer.threads.calls import ask, settle
from megaflow.errors import RegistrationError, UsageError
from megaflow.handlers.handler import Handler
from megaflow.local import Account, SqsClient
from megaflow.logs import get_logger
from megaflow.messages.batch import BatchMessage
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about
from megaflow.processing.steps import (
    HandlerCall,
    Parting,
    Result,
    Step,
    Steps,
    Turn,
    drive,
    lease_lost,
    run_step,
    wait_in,
)
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.telemetry import tracing
from megaflow.testing.clock import Clock, FakeTimeLoop, StuckError
from megaflow.testing.record import Record
from megaflow.transport.addresses import name_of
from megaflow.transport.queue import OpenQueue

log = get_logger(__name__)

_POLL: Final = 20
"""Seconds: one that did not wait would be repeated for ever, as no time passes by itself."""

_MOST_AT_ONCE: Final = 100_000
_MOST_TIMES: Final = 100
"""How often one message may be handled without time passing."""


@dataclass(eq=False)
class _Work:
    """A message on its way through its handlers."""

    message: Message
    context: Context = field(default_factory=copy_context)
    steps: Steps | None = None
    result: Result = field(default_factory=Result)
    """What its turn has come to, once it was in line."""

    called: list[Handler] = field(default_factory=list)
    noted: list[Outcome] = field(default_factory=list)
    """The outcomes that are among what was handled."""

    parts: Sequence[_Work] = ()
    """The messages of a batch, where this is one, for this handler:"""

    handler: Handler | None = None


class Engine:
    """The consumer of *app* over the queue at *queue_url*, with *clock*."""

    def __init__(self, app: App, account: Account, queue_url: str, clock: Clock) -> None:
        self.record = Record()
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
        self._started: deque[_Work] = deque()
        self._in_line: dict[str, _Work] = {}
        """What waits for its turn at a handler, by message id."""

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
        self._started.clear()
        self._in_line.clear()
        self.record.in_line.clear()
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
        elif self._started:
            work = self._started.popleft()
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
        times = [self._core.wake_at, *ends, *(each for each in queues if each is not None)]
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
                self._begin(action)
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
        settled = settle(self._queue, action, self._get_processor().renew)
        self.record.note_settled(settled)
        return settled

    def _note_moved(self) -> None:
        """Note what SQS has moved to the dead-letter queue by itself: the received messages keep their ids there."""
        arn = self._account.queues[self._queue_name].queue.settings.dead_letter_arn
        hosted = self._account.queue_by_arn(arn) if arn else None
        for each in self._account.peek(hosted.name) if hosted else ():
            self.record.note_moved(each.id, f"moved to {name_of(str(arn))} by SQS: received {each.receive_count} times")

    def _begin(self, action: Start | Resume | CallBatch | Drop) -> None:
        if isinstance(action, Start):
            self.record.note_received(action.messages)
            self._started += map(_Work, action.messages)
            return
        if isinstance(action, CallBatch):
            parts = [self._in_line[each.id] for each in action.messages]
            self._started.append(_Work(action.batch, handler=action.handler, parts=parts))
            return
        works = [self._in_line.pop(message.id) for message in action.messages]
        for work in works:
            self.record.in_line.pop(work.message.id, None)
        if isinstance(action, Resume):
            result = Result(error=lease_lost() if action.failed else None)
            for work in works:
                work.result = result
            self._started += works

    def _handle(self, work: _Work) -> None:
        message = work.message
        try:
            ended = work.context.run(self._process, work)
        except RegistrationError as error:
            # Not the message's fault: whoever wrote the test has to know.
            self._failure = error
            return
        except Exception as error:  # noqa: BLE001 - a message that is out must come back to the core
            self._inputs.append(Crashed(message, error))
            return
        if isinstance(ended, Verdict):
            self._end(work, ended)
        elif isinstance(ended, Turn):
            self._line_up(work, ended)
        elif isinstance(ended, Parting):
            self._part(work)

    def _line_up(self, work: _Work, turn: Turn) -> None:
        message = work.message
        if turn.last is not None and turn.is_again:
            self._note_handled(work, turn.last)
        self._in_line[message.id] = work
        if turn.handler is not None:
            self.record.in_line[message.id] = turn.handler.name
        self._inputs.append(LinedUp(message, turn.handler, turn.last))

    def _part(self, batch: _Work) -> None:
        """Let each message of a batch go on, to its verdict or another line."""
        for work in batch.parts:
            step = work.steps.step if work.steps is not None else None
            work.called += batch.called
            if isinstance(step, Turn):
                self._line_up(work, step)
            elif isinstance(step, Verdict):
                del self._in_line[work.message.id]
                self.record.in_line.pop(work.message.id, None)
                self._end(work, step)

    def _end(self, work: _Work, verdict: Verdict) -> None:
        for outcome in verdict.outcomes:
            if outcome.handler in work.called:
                self._note_handled(work, outcome)
        self.record.note_verdict(verdict, self._settings.max_receives)
        self._inputs.append(Finished((verdict,)))

    def _note_handled(self, work: _Work, outcome: Outcome) -> None:
        """Note what a handler made of a message, once."""
        if not any(outcome is each for each in work.noted):
            work.noted.append(outcome)
            self.record.note_handled(work.message.id, outcome)

    def _process(self, work: _Work) -> Step | Verdict:
        def run(step: Step) -> Result:
            if isinstance(step, HandlerCall):
                work.called.append(step.handler)
            return run_step(step, self._wait, self._watch)

        if isinstance(work.message, BatchMessage) and work.handler is not None:
            several = [part.steps for part in work.parts if part.steps is not None]
            work.steps = self._get_processor().batch_steps(work.message, work.handler, several)
            work.steps.take(work.result)
        elif work.steps is None:
            work.steps = self._get_processor().steps(work.message)
        else:
            work.steps.take(work.result)
        return drive(work.steps, run, lambda step: isinstance(step, Turn | Parting))

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
