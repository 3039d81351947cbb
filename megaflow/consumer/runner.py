"""What the core says is done here, against a real queue.

Some threads poll, some run handlers, some settle messages, and each tells the core itself what it has come to, one at a
time: to hand that on to another thread would cost more than all the core does. One waits for the time to pass, and for
signals. All but that one are daemons: a handler that never returns cannot keep the process from ending.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from megaflow import limits
from megaflow.consumer.calls import ask, settle
from megaflow.consumer.core import Core
from megaflow.consumer.pollers import Pollers
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    Count,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Extend,
    GiveUp,
    Hide,
    Inspect,
    Receive,
    Received,
    Report,
    Settlement,
    Start,
    Stop,
    Tick,
)
from megaflow.consumer.workers import GLANCE, Workers
from megaflow.health import Health
from megaflow.message import Message
from megaflow.metrics import Metrics
from megaflow.process import Processor
from megaflow.settings import ConsumerSettings
from megaflow.signals import stopping_on_signals
from megaflow.sqs import Queue, as_configuration_error, is_refusal

log = logging.getLogger(__name__)

_SETTLERS: Final = 2
"""Threads for deletes and hides, for extensions, and for dead letters: a slow one holds up none of the others."""

_LONGEST_WAIT: Final = 0.5
"""Seconds: a signal that comes just before the wait begins does not end it."""


_LOOK: Final = Tick()
"""Wakes the one that waits, to look how long."""

_QUICK: Final = 0.002
"""Seconds: where a call takes less, whoever has handled messages settles them, too."""

_TIME_TO_ANSWER: Final = 0.3
"""Seconds that polls have at the end to bring what was given back a moment ago."""


class Runner:
    """Consumes one queue until it is stopped.

    *get_processor* is asked for every message, so that handlers can be registered meanwhile. *at_end* is called once
    no handler is waited for any more, and *clock*, in seconds, is that of the queue.
    """

    def __init__(
        self,
        queue: Queue,
        get_processor: Callable[[], Processor],
        settings: ConsumerSettings,
        metrics: Metrics,
        *,
        at_end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._get_processor = get_processor
        self._settings = settings
        self._metrics = metrics
        self._at_end = at_end
        self._clock = clock
        self._core = Core(settings, fifo=queue.fifo)
        self._workers = Workers(get_processor, self._tell)
        self._pollers = Pollers(lambda question: ask(queue, question, settings), self._tell, self._workers.help)
        self._settlements: SimpleQueue[Settlement | None] = SimpleQueue()
        self._extensions: SimpleQueue[Settlement | None] = SimpleQueue()
        self._dead_letters: SimpleQueue[Settlement | None] = SimpleQueue()
        self._own: deque[Settlement] = deque()
        """What the thread that tells the core settles itself."""

        self._settled_in = 1.0
        """What a call to settle has taken of late, in seconds."""

        self._has_given_back = False
        self._events: deque[Event | None] = deque()
        self._too_late: deque[Received] = deque()
        self._telling = threading.Lock()
        self._exit: Exit | None = None
        self._failure: BaseException | None = None
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._wakes_at = self._sleeps_until = math.inf
        self._glances = False
        self._has_started = False

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where the queue does not exist or refuses access at the start, and whatever a
        handler raised that is no `Exception`.
        """
        for settlements in (self._settlements, self._extensions, self._dead_letters) * _SETTLERS:
            settler = partial(self._settle_forever, settlements)
            threading.Thread(target=settler, name="megaflow-settler", daemon=True).start()
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
        self._tell(Tick() if self._inbox.empty() else self._inbox.get())
        while not self._is_over:
            self._tell(self._wait_for_event())
        if self._failure is not None:
            self._give_back(self._core.waiting)
            raise self._failure
        return self._exit.error if self._exit else None

    @property
    def _is_over(self) -> bool:
        return self._exit is not None or self._failure is not None

    def _wait_for_event(self) -> Event | None:
        """Wait for what the core has to be told of, at the latest until it wants to be woken."""
        while True:
            # Whoever changes it while it is looked at says so.
            self._sleeps_until = math.inf
            self._sleeps_until = self._wakes_at
            longest = GLANCE if self._glances else _LONGEST_WAIT
            try:
                event = self._inbox.get(timeout=max(0.0, min(self._sleeps_until - self._clock(), longest)))
            except Empty:
                return self._glance()
            if event is not _LOOK or self._is_over:
                return event

    def _glance(self) -> Event | None:
        """Let others go on where a handler takes longer than expected."""
        self._glances, self._has_started = self._has_started, False
        self._pollers.replace_slow()
        return None if self._workers.call_for_the_rest() else Tick()

    def _tell(self, event: Event | None, *, helps: bool = False, settles: bool = False) -> None:
        """Tell the core what happened, and do what it answers; None is what the workers have finished.

        Where another thread is telling it something, that one goes on with this: to wait for it would cost more. A
        thread that *helps* handles what waits afterwards, where that is quick.
        """
        self._events.append(event)
        while self._events and self._telling.acquire(blocking=False):
            try:
                self._tell_next(helps, settles)
            finally:
                self._telling.release()
        if settles:
            self._settle_own()
        while self._too_late:
            self._give_back(self._too_late.popleft().messages)

    def _tell_next(self, helps: bool, settles: bool) -> None:
        try:
            event = self._events.popleft()
        except IndexError:
            return
        if self._is_over:
            if isinstance(event, Received):
                self._too_late.append(event)
            return
        try:
            heard = self._workers.gather() if event is None else event
            if heard is not None:
                self._carry_out(self._core.handle(heard, self._clock()), helps, settles)
            self._wakes_at = self._core.wake_at
        except BaseException as error:  # noqa: BLE001 - whoever drives raises it
            self._failure = error
        if self._is_over or self._wakes_at < self._sleeps_until:
            self._inbox.put(_LOOK)

    def _carry_out(self, actions: Sequence[Action], helps: bool, settles: bool) -> None:
        started = 0
        for action in actions:
            if isinstance(action, Exit):
                self._exit = action
                return
            if isinstance(action, Start):
                started += len(action.messages)
            if settles and isinstance(action, Delete | Hide) and self._settled_in <= _QUICK:
                self._own.append(action)
            else:
                self._do(action)
        if started:
            if not (helps and self._workers.are_quick):
                self._workers.call(started)
            self._has_started = True
            if not self._glances:
                self._glances = True
                self._inbox.put(_LOOK)

    def _do(self, action: Action) -> None:
        match action:
            case Start(messages):
                self._workers.start(messages)
            case Count(name, amount):
                self._count(name, amount)
            case Inspect() | Receive():
                self._pollers.ask(action)
            case Delete() | Hide():
                self._settlements.put(action)
            case Extend():
                self._extensions.put(action)
            case DeadLetter():
                self._dead_letters.put(action)
            case GiveUp(message, handler):
                self._workers.give_up(message, handler)
            case Report(level, text, values, error):
                log.log(level, text, *values, exc_info=error)
            case AbandonPoll(poll):
                self._pollers.abandon(poll)

    def _count(self, name: str, amount: int) -> None:
        try:
            self._metrics.count(name, amount)
        except Exception:
            log.warning("the metrics failed to count %s", name, exc_info=True)

    def _settle_forever(self, settlements: SimpleQueue[Settlement | None]) -> None:
        while (action := settlements.get()) is not None:
            self._settle(action)

    def _settle_own(self) -> None:
        while True:
            try:
                action = self._own.popleft()
            except IndexError:
                # Another thread that settles may have taken the last one.
                return
            self._settle(action)

    def _settle(self, action: Settlement) -> None:
        self._has_given_back = self._has_given_back or (isinstance(action, Hide) and 0.0 in action.seconds)
        began = time.perf_counter()
        settled = settle(self._queue, action, self._renew)
        self._settled_in += (time.perf_counter() - began - self._settled_in) / 8
        self._tell(settled)

    def _renew(self, message: Message) -> None:
        self._get_processor().renew(message)

    def _end(self) -> None:
        """Let the threads go, and give back what a poll has brought meanwhile."""
        with self._telling:
            self._failure = self._failure or RuntimeError("the consumer has ended")
        self._pollers.close()
        for settlements in (self._settlements, self._extensions, self._dead_letters) * _SETTLERS:
            settlements.put(None)
        # The event loops are still there: what was made in one is closed in it.
        self._at_end()
        self._workers.close()
        if self._has_given_back:
            # What was given back comes first of all to the polls of our own that are still under way.
            self._pollers.wait(_TIME_TO_ANSWER)

    def _give_back(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), limits.BATCH_ENTRIES):
            batch = tuple(messages[start : start + limits.BATCH_ENTRIES])
            settled = settle(self._queue, Hide(batch, (0.0,) * len(batch)), self._renew)
            if settled.problems:
                # They come again by themselves, only later.
                reason = next(iter(settled.problems.values())).reason
                log.warning("%d messages could not be given back and come again later: %s", len(batch), reason)

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
