"""The runner: does against a real queue what the core answers.

Some threads poll, some run handlers, some settle messages, and each tells the core itself what it has come to, one at a
time: to hand that on to another thread would cost more than all the core does. The main one waits for the time to pass,
and for signals. All others are daemons: a handler that never returns cannot keep the process from ending.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from megaflow import forks, limits
from megaflow.consumer.core.core import Core
from megaflow.consumer.core.health import Health
from megaflow.consumer.core.protocol import (
    AbandonPoll,
    Action,
    CallBatch,
    CheckStores,
    DeadLetter,
    Delete,
    Drop,
    Exit,
    Extend,
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
    Settlement,
    Start,
    Stop,
    Tick,
)
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.calls import begin_asking, begin_settling
from megaflow.consumer.threads.discards import Discards
from megaflow.consumer.threads.event_loop import EventLoop, MakeEventLoop
from megaflow.consumer.threads.pollers import Pollers
from megaflow.consumer.threads.renewals import Renewals
from megaflow.consumer.threads.settlers import Settlers
from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.consumer.threads.slow_handlers import SlowHandlerWatch
from megaflow.consumer.threads.start_lines import log_start
from megaflow.consumer.threads.store_checks import begin_check
from megaflow.consumer.threads.workers import Workers
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.processor import Processor
from megaflow.settings import ConsumerSettings
from megaflow.telemetry.outlets import Outlets
from megaflow.transport.addresses import name_of
from megaflow.transport.errors import as_configuration_error, is_refusal
from megaflow.transport.queue import OpenQueue
from megaflow.wire.pending import Pending

log = get_logger(__name__)

_LONGEST_WAIT: Final = 0.5
"""Seconds: a signal that comes just before the wait begins does not end it."""

_HEARTBEAT: Final = 10.0
"""Seconds after which the main thread tells the core the time although nothing happens, to show that it is there."""

_BETWEEN_GAUGES: Final = 1.0
"""Seconds after which the metrics are told again what is so now."""

_WAKE: Final = Tick()
"""Wakes the main thread, to see anew for how long it waits."""

_TIME_TO_ANSWER: Final = 0.3
"""Seconds that polls have at the end to bring what was given back a moment ago."""


class Runner:
    """Consumes one queue until it is stopped.

    *get_processor* is asked for every message, so that handlers can be registered meanwhile. *at_end* is called once
    no handler is waited for any more, and *clock*, in seconds, is that of the queue.
    """

    def __init__(
        self,
        queue: OpenQueue,
        get_processor: Callable[[], Processor],
        settings: ConsumerSettings,
        outlets: Outlets,
        *,
        make_event_loop: MakeEventLoop = EventLoop,
        at_end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._about_queue = {"queue": queue.url}
        self._get_processor = get_processor
        self._settings = settings
        self._outlets = outlets
        self._queue_name = name_of(queue.url)
        self._gauges_at = 0.0
        self._at_end = at_end
        self._clock = clock
        self._generation = forks.generation
        self._core = Core(
            settings,
            fifo=queue.fifo,
            has_stores=get_processor().remembers,
            has_batches=get_processor().has_batches,
            is_observed=lambda: outlets.are_told_all,
        )
        self._workers = Workers(get_processor, self._tell, self._core.is_free, make_event_loop)
        self._renewals = Renewals(get_processor)
        self._discards = Discards(get_processor)
        self._settlers = Settlers(self._begin_settling, self._tell)
        self._pollers = Pollers(
            lambda question: begin_asking(queue, question, settings),
            self._tell,
            handle_while_quick=self._workers.handle_while_quick,
            looks=lambda: self._settlers.are_looked_for,
            before_waiting=self._settlers.let_others_wait,
        )
        self._watch = SlowHandlerWatch(self._pollers, self._workers, self._settlers)
        self._inbox: SimpleQueue[Input] = SimpleQueue()
        """What the main thread has to tell."""

        self._telling = threading.Lock()
        """Held by whoever tells the core something. `health` reads the core without it, at worst a moment late."""

        self._inputs: deque[Input | None] = deque()
        """What is to be told. Appended to without the lock, which is one step; taken out under it."""

        # Changed under the lock, read without it: what is over stays so, and the main thread is woken to see it.
        self._exit: Exit | None = None
        self._failure: BaseException | None = None
        self._has_given_back = False
        """Read without the lock at the end, when the core does nothing more."""

        self._wakes_at = math.inf
        """When the core wants a `Tick`. Read without the lock by the main thread: whoever changes it wakes that one."""

        self._sleeps_until = math.inf
        """Until when the main thread sleeps. Written by it without the lock: at worst it is woken for nothing."""

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where the queue does not exist or refuses access at the start, or a store cannot be
        opened or written, and whatever a handler raised that is no `Exception`.
        """
        self._outlets.begin(self._queue_name)
        self._settlers.start()
        try:
            with stopping_on_signals(lambda again: self.stop(now=again)):
                # Not earlier: whoever waits for this line may send a signal at once.
                log_start(self._queue.url, self._get_processor(), self._settings)
                error = self._drive()
        finally:
            self._end()
        log.info("stopped consuming %s", self._queue.url, extra=self._about_queue)
        if error is None:
            return
        if is_refusal(error):
            raise as_configuration_error(error, self._queue.url) from error
        raise error

    def stop(self, *, now: bool = False) -> None:
        """Stop: let handlers finish within the shutdown timeout, or with *now* do not. May be called from anywhere."""
        self._inbox.put(Stop(now))

    def pause(self) -> None:
        """Receive nothing until `resume`. May be called from anywhere."""
        self._inbox.put(Pause())

    def resume(self) -> None:
        """End the pause. May be called from anywhere."""
        self._inbox.put(Pause(is_over=True))

    def health(self) -> Health:
        """Return how the consumer is. May be called from any thread."""
        return self._core.health(self._clock())

    def _drive(self) -> BaseException | None:
        # Whoever stopped it before it began is heard first.
        self._tell(Tick() if self._inbox.empty() else self._inbox.get(), Caller.MAIN)
        while not self._is_over:
            self._tell(self._wait_for_input(), Caller.MAIN)
        if self._failure is not None:
            self._pollers.abandon_all()
            self._give_back(self._core.waiting)
            raise self._failure
        return self._exit.error if self._exit else None

    @property
    def _is_over(self) -> bool:
        return self._exit is not None or self._failure is not None

    def _wait_for_input(self) -> Input | None:
        """Wait for what the core has to be told of, at the latest until it wants to be woken."""
        until = self._clock() + _HEARTBEAT
        while True:
            # Whoever changes `_wakes_at` while it is read here finds infinity, and so wakes this thread.
            self._sleeps_until = math.inf
            self._sleeps_until = self._wakes_at
            if time.monotonic() >= self._gauges_at:
                self._tell_gauges()
            longest = min(self._watch.pause, _LONGEST_WAIT)
            try:
                told = self._inbox.get(timeout=max(0.0, min(self._sleeps_until - self._clock(), longest)))
            except Empty:
                if self._watch.look():
                    return None
                if self._clock() < min(self._wakes_at, until) and not self._is_over:
                    continue
                return Tick()
            if told is not _WAKE or self._is_over:
                return told

    def _tell(self, told: Input | None, caller: Caller) -> bool:
        """Tell the core what happened, and do what it answers; None is what the workers have finished.

        Where another thread is telling it something, that one goes on with this: to wait for it would cost more. Return
        whether it was not left to another one.
        """
        is_told = False
        if caller.settles_itself:
            self._inputs += self._settlers.take_settled(looks_again=told is None)
        self._inputs.append(told)
        too_late: list[Received] = []
        # Asked again after the release: whoever came just before it has left its input to this thread.
        while self._inputs and self._telling.acquire(blocking=False):
            try:
                too_late += self._tell_all(caller)
                is_told = True
            finally:
                self._telling.release()
        if caller.settles_itself:
            self._settlers.begin_own()
        for received in too_late:
            self._give_back(received.messages)
        return is_told

    def _tell_all(self, caller: Caller) -> Sequence[Received]:
        """Tell what there is to be told, together: most of what the core does then is done once.

        Return what was received too late.
        """
        inputs = self._workers.take_finished()
        while self._inputs:
            told = self._inputs.popleft()
            if told is not None:
                inputs.append(told)
        if self._is_over:
            return [told for told in inputs if isinstance(told, Received)]
        try:
            if inputs:
                self._carry_out(self._core.handle_all(inputs, self._clock()), caller)
            self._wakes_at = self._core.wake_at
        except BaseException as error:  # noqa: BLE001 - whoever drives raises it
            self._failure = error
        if self._is_over or self._wakes_at < self._sleeps_until:
            self._inbox.put(_WAKE)
        return ()

    def _carry_out(self, actions: Sequence[Action], caller: Caller) -> None:
        started = 0
        for action in actions:
            if isinstance(action, Exit):
                self._exit = action
                return
            if isinstance(action, Start | Resume):
                started += len(action.messages)
            self._do(action, caller)
        if started:
            if not (caller.handles_what_is_started and self._workers.are_quick):
                self._workers.wake(started)
            if self._watch.note_start():
                self._inbox.put(_WAKE)

    def _do(self, action: Action, caller: Caller) -> None:
        match action:
            case Measure(counts, values):
                self._outlets.note(self._queue_name, counts, values)
            case Inspect() | Receive():
                self._pollers.ask(action)
            case Delete() | Hide() | Extend() | DeadLetter():
                self._has_given_back = self._has_given_back or (isinstance(action, Hide) and 0.0 in action.seconds)
                self._settlers.settle(action, caller)
            case GiveUp(message, handler):
                self._workers.give_up(message, handler)
            case Report(level, text, values, error, keys):
                log.log(level, text, *values, exc_info=error, extra={**self._about_queue, **keys})
            case AbandonPoll(poll):
                self._pollers.abandon(poll)
            case Start() | Resume() | CallBatch() | Drop():
                self._workers.carry_out(action)
            case CheckStores():
                begin_check(self._get_processor().check_stores, self._tell)

    def _tell_gauges(self) -> None:
        """Tell the metrics once a second what is so now."""
        self._gauges_at = time.monotonic() + _BETWEEN_GAUGES
        self._outlets.look()
        if self._outlets.are_told_all:
            for name, value in self.health().gauges(time.time()).items():
                self._outlets.gauge(self._queue_name, name, value)

    def _end(self) -> None:
        """Let the threads go, and give back what a poll has brought meanwhile."""
        if forks.generation != self._generation:
            # A child came this way: all of it is the parent's.
            return
        with self._telling:
            self._failure = self._failure or RuntimeError("the consumer has ended")
        for name in ("in_hand", "running", "in_line", "open_breakers", "paused"):
            self._outlets.gauge(self._queue_name, name, 0)
        self._pollers.close()
        self._settlers.close()
        self._renewals.close()
        self._discards.close()
        # The event loops are still there: what was made in one is closed in it.
        self._at_end()
        self._workers.close()
        if self._has_given_back or self._pollers.are_hanging_up:
            # What was given back comes first of all to the polls of our own that are still under way.
            self._pollers.wait(_TIME_TO_ANSWER)

    def _begin_settling(self, action: Settlement) -> Pending[Settled]:
        if self._pollers.are_hanging_up and isinstance(action, Hide):
            # What is given back is for others, and not for what nobody waits for.
            self._pollers.wait_for_abandoned(_TIME_TO_ANSWER)
        return begin_settling(self._queue, action, self._renewals.add, self._discards.add)

    def _give_back(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), limits.BATCH_ENTRIES):
            batch = tuple(messages[start : start + limits.BATCH_ENTRIES])
            settled = self._begin_settling(Hide(batch, (0.0,) * len(batch))).result()
            if settled.problems:
                # They come again by themselves, only later.
                reason = next(iter(settled.problems.values())).reason
                text = "%d messages could not be given back and come again later: %s"
                log.warning(text, len(batch), reason, extra=self._about_queue)
