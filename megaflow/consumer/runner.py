"""The threads that do what the core says, against a real queue.

Some poll, some run handlers, some settle messages, and each tells the core itself what it has come to, one at a time:
to hand that on to another thread would cost more than all the core does. One waits for the time to pass, and for
signals. Async handlers share one event loop. All but the first are daemons: a handler that never returns cannot keep
the process from ending.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from megaflow import limits
from megaflow.consumer.calls import ask, poll_of, settle
from megaflow.consumer.core import Core
from megaflow.consumer.event_loop import EventLoop
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
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
    Interrupted,
    Receive,
    Received,
    Report,
    Settlement,
    Start,
    Stop,
    Tick,
)
from megaflow.health import Health
from megaflow.message import Message
from megaflow.metrics import Metrics
from megaflow.process import Processor
from megaflow.router import Handler
from megaflow.settings import ConsumerSettings
from megaflow.signals import stopping_on_signals
from megaflow.sqs import Queue, as_configuration_error, is_refusal
from megaflow.steps import HandlerCall, Step, Steps, StoreCall, arun_step, run_step
from megaflow.verdict import Verdict

log = logging.getLogger(__name__)

_SETTLERS: Final = 2
"""Threads for deletes and hides, for extensions, and for dead letters: a slow one holds up none of the others."""

_LONGEST_WAIT: Final = 0.5
"""Seconds: a signal that comes just before the wait begins does not end it."""


_QUICK: Final = 0.0005
"""Seconds: where messages take less, it costs more to wake a thread for each than to let one handle them all."""

_GLANCE: Final = 0.004
"""Seconds after which it is looked whether that holds."""

_LOOK: Final = Tick()
"""Wakes the one that waits, to look how long."""

_TIME_TO_ANSWER: Final = 0.3
"""Seconds that polls have at the end to bring what was given back a moment ago."""


@dataclass(slots=True, eq=False)
class _Work:
    """A message on its way through its handlers, and the step that is to be done next; None is the first one."""

    message: Message
    steps: Steps = field(init=False)
    step: HandlerCall | StoreCall | None = None


class Runner:
    """Consumes one queue until it is stopped.

    *get_processor* is asked for every message, so that handlers can be registered meanwhile. *clock*, in seconds, is
    that of the queue.
    """

    def __init__(
        self,
        queue: Queue,
        get_processor: Callable[[], Processor],
        settings: ConsumerSettings,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._get_processor = get_processor
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._core = Core(settings, fifo=queue.fifo)
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._questions: SimpleQueue[Inspect | Receive | None] = SimpleQueue()
        self._backlog: deque[_Work] = deque()
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._finished: deque[Finished | Crashed] = deque()
        self._settlements: SimpleQueue[Settlement | None] = SimpleQueue()
        self._extensions: SimpleQueue[Settlement | None] = SimpleQueue()
        self._dead_letters: SimpleQueue[Settlement | None] = SimpleQueue()
        self._pollers = 0
        self._polls: set[int] = set()
        self._workers = 0
        self._at_work: set[int] = set()
        self._telling = threading.Lock()
        self._exit: Exit | None = None
        self._failure: BaseException | None = None
        self._sleeps_until = -math.inf
        self._glances = False
        self._has_started = False
        self._seconds = 1.0
        """What a message has taken of late."""

        self._event_loops = [self._make_event_loop()]
        self._lock = threading.Lock()
        self._asking = 0
        self._answered = threading.Condition(self._lock)
        self._has_given_back = False

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where the queue does not exist or refuses access at the start, and whatever a
        handler raised that is no `Exception`.
        """
        for settlements in (self._settlements, self._extensions, self._dead_letters) * _SETTLERS:
            self._start_thread("settler", partial(self._settle_forever, settlements))
        try:
            with stopping_on_signals(lambda again: self.stop(now=again)):
                # Not earlier: whoever waits for this line may send a signal at once.
                self._log_start()
                error = self._drive()
        finally:
            self._end()
        log.info("stopped consuming %s", self._queue.url)
        if isinstance(error, Exception) and is_refusal(error):
            raise as_configuration_error(error, self._queue.url) from error
        if error is not None:
            raise error

    def stop(self, *, now: bool = False) -> None:
        """Stop: let handlers finish within the shutdown timeout, or with *now* do not. May be called from anywhere."""
        self._inbox.put(Stop(now))

    def health(self) -> Health:
        """Return how the consumer is. May be called from any thread."""
        return self._core.health(self._clock())

    def _drive(self) -> BaseException | None:
        # Whoever stopped it before it began is heard first.
        event: Event | None = Tick() if self._inbox.empty() else self._inbox.get()
        while self._tell(event) and not self._is_over:
            event = self._wait_for_event()
        if self._failure is not None:
            self._give_back(self._core.waiting)
            raise self._failure
        return self._exit.error if self._exit else None

    @property
    def _is_over(self) -> bool:
        return self._exit is not None or self._failure is not None

    def _tell(self, event: Event | None) -> bool:
        """Tell the core what happened, and do what it answers, in the thread that knows; None is what has finished.

        Returns False once the core has said that it is done, and so did not hear this.
        """
        with self._telling:
            if self._is_over:
                return False
            try:
                heard = self._gather() if event is None else event
                if heard is not None:
                    self._carry_out(self._core.handle(heard, self._clock()))
            except BaseException as error:  # noqa: BLE001 - whoever drives raises it
                self._failure = error
            if self._is_over or self._core.wake_at < self._sleeps_until:
                self._inbox.put(_LOOK)
            return True

    def _carry_out(self, actions: Sequence[Action]) -> None:
        started = 0
        for action in actions:
            if isinstance(action, Exit):
                self._exit = action
                return
            started += isinstance(action, Start)
            self._do(action)
        if started:
            # Where handlers are quick, one thread takes all; should one of them be slow, the others are called soon.
            self._call_workers(1 if self._seconds <= _QUICK else started)
            self._has_started = True
            if not self._glances:
                self._glances = True
                self._inbox.put(_LOOK)

    def _wait_for_event(self) -> Event | None:
        """Wait for what the core has to be told of, at the latest until it wants to be woken."""
        while True:
            longest = _GLANCE if self._glances else _LONGEST_WAIT
            with self._telling:
                self._sleeps_until = self._core.wake_at
            try:
                event = self._inbox.get(timeout=max(0.0, min(self._sleeps_until - self._clock(), longest)))
            except Empty:
                self._glances, self._has_started = self._has_started, False
                self._call_workers(len(self._backlog))
                return None if self._finished else Tick()
            if event is not _LOOK or self._is_over:
                return event

    def _gather(self) -> Event | None:
        """Return together what has finished meanwhile; None is nothing."""
        verdicts: list[Verdict] = []
        while self._finished:
            event = self._finished.popleft()
            if isinstance(event, Crashed):
                if verdicts:
                    self._finished.appendleft(event)
                    break
                return event
            verdicts += event.verdicts
        return Finished(verdicts) if verdicts else None

    def _call_workers(self, count: int) -> None:
        for _ in range(min(count, self._workers)):
            self._calls.put(True)

    def _do(self, action: Action) -> None:
        match action:
            case Start(message):
                self._start_handler(message)
            case Count(name, amount):
                self._count(name, amount)
            case Inspect() | Receive():
                self._start_question(action)
            case Delete() | Hide():
                self._settlements.put(action)
            case Extend():
                self._extensions.put(action)
            case DeadLetter():
                self._dead_letters.put(action)
            case GiveUp(message, handler):
                self._give_up(message, handler)
            case Report(level, text, values, error):
                log.log(level, text, *values, exc_info=error)
            case AbandonPoll(poll):
                self._abandon(poll)

    def _count(self, name: str, amount: int) -> None:
        try:
            self._metrics.count(name, amount)
        except Exception:
            log.warning("the metrics failed to count %s", name, exc_info=True)

    def _start_question(self, action: Inspect | Receive) -> None:
        with self._lock:
            self._asking += 1
            self._polls.add(poll_of(action))
            missing = len(self._polls) > self._pollers
        if missing:
            self._start_thread("poller", self._ask_forever)
            self._pollers += 1
        self._questions.put(action)

    def _abandon(self, poll: int) -> None:
        """Wait no longer for a poll: its thread is a daemon, and ends with it."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)
                self._pollers -= 1

    def _start_handler(self, message: Message) -> None:
        self._at_work.add(id(message))
        if len(self._at_work) > self._workers:
            try:
                self._start_thread("worker", self._work_forever)
                self._workers += 1
            except RuntimeError as error:
                if not self._workers:
                    raise
                log.warning("no thread for one more handler, %d are at work: %s", self._workers, error)
        self._backlog.append(_Work(message))

    def _give_up(self, message: Message, handler: Handler) -> None:
        given_up = self._leave_work(message)
        if handler.is_async:
            # It does not give way to others either; those that share its loop stay there.
            self._event_loops.append(self._make_event_loop())
        elif given_up:
            self._workers -= 1

    def _leave_work(self, message: Message) -> bool:
        """Take a message out of those at work, once; may be called from any thread."""
        try:
            self._at_work.remove(id(message))
        except KeyError:
            return False
        return True

    def _ask_forever(self) -> None:
        while (action := self._questions.get()) is not None:
            event = ask(self._queue, action, self._settings)
            with self._lock:
                abandoned = poll_of(action) not in self._polls
                self._polls.discard(poll_of(action))
            if not self._tell(event) and isinstance(event, Received):
                self._give_back(event.messages)
            with self._answered:
                self._asking -= 1
                self._answered.notify_all()
            if abandoned:
                return

    def _work_forever(self) -> None:
        while self._calls.get():
            while self._backlog:
                try:
                    work = self._backlog.popleft()
                except IndexError:
                    break
                began = time.perf_counter()
                event = self._advance(work)
                self._seconds += (time.perf_counter() - began - self._seconds) / 8
                if event is not None and not self._end_work(work, event):
                    # Another thread has taken the place of this one.
                    return
                if self._seconds > _QUICK and self._finished:
                    self._tell(None)
            if self._finished:
                self._tell(None)

    def _advance(self, work: _Work) -> Finished | Crashed | None:
        """Go on with a message as far as can be in this thread; None is that the event loop goes on with it."""
        try:
            step = work.step or self._begin(work)
            while not isinstance(step, Verdict):
                if isinstance(step, HandlerCall) and step.handler.is_async:
                    work.step = step
                    if self._event_loops[-1].spawn(self._go_on(work, step)):
                        return None
                step = run_step(work.steps, step, self._wait, self._watch)
            return Finished((step,))
        except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
            return Crashed(work.message, error)

    def _begin(self, work: _Work) -> Step:
        work.steps = self._get_processor().steps(work.message)
        return next(work.steps)

    async def _go_on(self, work: _Work, step: HandlerCall) -> None:
        """Go on with a message in the event loop, as long as its handlers are async."""
        try:
            following = await arun_step(work.steps, step, self._watch)
            while isinstance(following, HandlerCall) and following.handler.is_async:
                following = await arun_step(work.steps, following, self._watch)
        except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
            self._end_work(work, Crashed(work.message, error))
        else:
            if isinstance(following, Verdict):
                self._end_work(work, Finished((following,)))
            else:
                work.step = following
                self._backlog.append(work)
                self._calls.put(True)
        self._tell(None)

    def _end_work(self, work: _Work, event: Finished | Crashed) -> bool:
        """Note what came of a message, unless it was given up."""
        if self._leave_work(work.message):
            self._finished.append(event)
            return True
        log.warning("message %s: finished after it was given up: %s", work.message.id, _describe(event))
        return False

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        return self._event_loops[-1].wait(awaitable)

    def _watch(self, message: Message, handler: Handler, seconds: float | None) -> None:
        self._tell(Called(message, handler, seconds))

    def _settle_forever(self, settlements: SimpleQueue[Settlement | None]) -> None:
        while (action := settlements.get()) is not None:
            self._has_given_back = self._has_given_back or (isinstance(action, Hide) and 0.0 in action.seconds)
            self._tell(settle(self._queue, action, self._renew))

    def _renew(self, message: Message) -> None:
        self._get_processor().renew(message)

    def _end(self) -> None:
        """Let the threads go, and give back what a poll has brought meanwhile."""
        with self._telling:
            self._failure = self._failure or RuntimeError("the consumer has ended")
        for _ in range(self._pollers):
            self._questions.put(None)
        for settlements in (self._settlements, self._extensions, self._dead_letters) * _SETTLERS:
            settlements.put(None)
        for _ in range(self._workers):
            self._calls.put(False)
        for event_loop in self._event_loops:
            event_loop.close()
        if self._has_given_back:
            # What was given back comes first of all to the polls of our own that are still under way.
            with self._answered:
                self._answered.wait_for(lambda: self._asking == 0, _TIME_TO_ANSWER)

    def _give_back(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), limits.BATCH_ENTRIES):
            batch = tuple(messages[start : start + limits.BATCH_ENTRIES])
            settled = settle(self._queue, Hide(batch, (0.0,) * len(batch)), self._renew)
            if settled.problems:
                # They come again by themselves, only later.
                reason = next(iter(settled.problems.values())).reason
                log.warning("%d messages could not be given back and come again later: %s", len(batch), reason)

    def _make_event_loop(self) -> EventLoop:
        return EventLoop(on_interrupt=lambda error: self._inbox.put(Interrupted(error)))

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        threading.Thread(target=target, name=f"megaflow-{name}", daemon=True).start()

    def _log_start(self) -> None:
        table = self._get_processor().table
        handlers = table.handlers
        log.info(
            "consuming %s with %d handlers, up to %d at once; unmatched messages: %s",
            self._queue.url,
            len(handlers),
            self._settings.concurrency,
            self._settings.unmatched,
        )
        for handler in handlers:
            if handler.matches_everything:
                log.warning("%s matches every message of kind %s (%s)", handler.name, handler.kind.value, handler.where)
        for handler, reason in table.unindexed:
            log.info("%s cannot be indexed, so every message asks it: %s (%s)", handler.name, reason, handler.where)


def _describe(event: Finished | Crashed) -> object:
    return event.verdicts[0] if isinstance(event, Finished) else event.error
