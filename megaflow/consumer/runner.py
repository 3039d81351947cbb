"""The threads that do what the core says, against a real queue.

One thread drives the core and lives by its inbox; others poll, run handlers and settle messages; async handlers share
one event loop. All but the first are daemons: a handler that never returns cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from megaflow.consumer.core import Core
from megaflow.consumer.words import (
    AbandonPoll,
    Action,
    Count,
    Crashed,
    DeadLetter,
    Delete,
    Event,
    Exit,
    Finished,
    Hide,
    Problem,
    Receive,
    Received,
    ReceiveFailed,
    Report,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.errors import ConfigurationError
from megaflow.message import Message
from megaflow.metrics import Metrics
from megaflow.process import Processor
from megaflow.settings import ConsumerSettings
from megaflow.sqs import Failed, Queue, QueueFacts, as_configuration_error, is_refusal

log = logging.getLogger(__name__)

_SETTLERS: Final = 2
_LONGEST_WAIT: Final = 3600.0
_LOW_RECEIVE_COUNT: Final = 3


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
        self._dead_letter_queue_url = ""
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._polls: SimpleQueue[Receive | None] = SimpleQueue()
        self._work: SimpleQueue[Message | None] = SimpleQueue()
        self._settlements: SimpleQueue[Delete | Hide | DeadLetter | None] = SimpleQueue()
        self._workers = 0
        self._handling = 0
        self._event_loop = _EventLoop()
        self._ending = threading.Lock()
        self._ended = False

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where the queue does not exist or refuses access at the start, and whatever a
        handler raised that is no `Exception`.
        """
        facts = self._queue.inspect()
        self._dead_letter_queue_url = self._settings.dead_letter_queue_url or facts.dead_letter_queue_url
        if self._dead_letter_queue_url == self._queue.url:
            raise ConfigurationError(f"dead_letter_queue_url={self._queue.url!r} is the queue itself: give another one")
        self._log_start(facts)
        self._start_thread("poller", self._poll_forever)
        for _ in range(_SETTLERS):
            self._start_thread("settler", self._settle_forever)
        try:
            with self._signals():
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

    def _drive(self) -> BaseException | None:
        core = Core(self._settings, fifo=self._queue.fifo, has_dead_letter_queue=bool(self._dead_letter_queue_url))
        event: Event = Tick()
        while True:
            for action in core.handle(event, self._clock()):
                if isinstance(action, Exit):
                    return action.error
                self._do(action)
            event = self._wait_for_event(core.wake_at)
            if isinstance(event, Finished | Crashed):
                self._handling -= 1

    def _wait_for_event(self, wake_at: float) -> Event:
        try:
            return self._inbox.get(timeout=max(0.0, min(wake_at - self._clock(), _LONGEST_WAIT)))
        except Empty:
            return Tick()

    def _do(self, action: Action) -> None:
        match action:
            case Receive():
                self._polls.put(action)
            case Start(message):
                self._handling += 1
                if self._handling > self._workers:
                    self._workers += 1
                    self._start_thread("worker", self._work_forever)
                self._work.put(message)
            case Delete() | Hide() | DeadLetter():
                self._settlements.put(action)
            case Report(level, text, values, error):
                log.log(level, text, *values, exc_info=error)
            case Count(name, amount):
                self._metrics.count(name, amount)
            case AbandonPoll() | Exit():
                # The poller is a daemon: nobody waits for it.
                pass

    def _poll_forever(self) -> None:
        while (action := self._polls.get()) is not None:
            try:
                messages = self._queue.receive(
                    action.count,
                    wait_time_seconds=self._settings.wait_time_seconds,
                    visibility_timeout=self._settings.visibility_timeout,
                )
                event: Event = Received(messages)
            except Exception as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
                event, messages = ReceiveFailed(error, is_refusal(error)), []
            with self._ending:
                if not self._ended:
                    self._inbox.put(event)
                    continue
            self._give_back(messages)

    def _work_forever(self) -> None:
        while (message := self._work.get()) is not None:
            try:
                self._inbox.put(Finished(self._get_processor().process(message, self._event_loop.wait)))
            except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
                self._inbox.put(Crashed(message, error))

    def _settle_forever(self) -> None:
        while (action := self._settlements.get()) is not None:
            try:
                problems = {
                    failed.receipt_handle: Problem(f"{failed.code}: {failed.reason}", failed.final)
                    for failed in self._settle(action)
                }
            except Exception as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
                problem = Problem(f"{type(error).__name__}: {error}")
                problems = dict.fromkeys(_handles(action.messages), problem)
            self._inbox.put(Settled(action, problems))

    def _settle(self, action: Delete | Hide | DeadLetter) -> Sequence[Failed]:
        match action:
            case Delete(messages):
                return self._queue.delete(_handles(messages))
            case Hide(messages, seconds):
                return self._queue.hide(list(zip(_handles(messages), seconds, strict=True)))
            case DeadLetter(message, origin):
                self._queue.send_dead_letter(self._dead_letter_queue_url, message, origin)
        return []

    def _end(self) -> None:
        """Let the threads go, and give back what a poll has brought meanwhile."""
        with self._ending:
            self._ended = True
        self._polls.put(None)
        for _ in range(_SETTLERS):
            self._settlements.put(None)
        for _ in range(self._workers):
            self._work.put(None)
        self._event_loop.close()
        while not self._inbox.empty():
            event = self._inbox.get()
            if isinstance(event, Received):
                self._give_back(event.messages)

    def _give_back(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        try:
            self._queue.hide([(handle, 0.0) for handle in _handles(messages)])
        except Exception as error:  # noqa: BLE001 - they come again by themselves, only later
            log.warning("%d messages could not be given back and come again later: %s", len(messages), error)

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        threading.Thread(target=target, name=f"megaflow-{name}", daemon=True).start()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and at once on the second one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        seen: list[int] = []

        def stop(number: int, _: FrameType | None) -> None:
            seen.append(number)
            self.stop(now=len(seen) > 1)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _log_start(self, facts: QueueFacts) -> None:
        handlers = self._get_processor().table.handlers
        log.info(
            "consuming %s with %d handlers, up to %d at once; dead-letter queue: %s; unmatched messages: %s",
            self._queue.url,
            len(handlers),
            self._settings.concurrency,
            self._dead_letter_queue_url or "none",
            self._settings.unmatched,
        )
        if facts.problem:
            log.warning("the redrive policy is not known: %s", facts.problem)
        if not self._dead_letter_queue_url:
            log.warning("no dead-letter queue: messages that fail for good are deleted")
        if 0 < facts.max_receive_count < _LOW_RECEIVE_COUNT:
            log.warning(
                "maxReceiveCount is %d, and a message that is given back unhandled counts as received: "
                "SQS itself will dead-letter messages that never failed; use %d or more",
                *(facts.max_receive_count, _LOW_RECEIVE_COUNT),
            )
        for handler in handlers:
            if handler.matches_everything:
                log.warning("%s matches every message of kind %s (%s)", handler.name, handler.kind.value, handler.where)


class _EventLoop:
    """The one event loop of async handlers, in a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run *awaitable* on the loop, and return or raise what comes of it."""
        done: Future[Any] = Future()

        async def carry_out() -> None:
            # Inside the task: an exit or interrupt that left it would take the loop down.
            try:
                done.set_result(await awaitable)
            except BaseException as error:  # noqa: BLE001
                done.set_exception(error)

        def start() -> None:
            task = asyncio.create_task(carry_out())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._start().call_soon_threadsafe(start)
        return done.result()

    def close(self) -> None:
        """Cancel what still runs, and end the loop."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopped.set)

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                ready: Future[asyncio.AbstractEventLoop] = Future()
                threading.Thread(
                    target=lambda: asyncio.run(self._live(ready)), name="megaflow-async", daemon=True
                ).start()
                self._loop = ready.result()
            return self._loop

    async def _live(self, ready: Future[asyncio.AbstractEventLoop]) -> None:
        ready.set_result(asyncio.get_running_loop())
        await self._stopped.wait()


def _handles(messages: Sequence[Message]) -> list[str]:
    return [message.lease.receipt_handle for message in messages if message.lease is not None]
