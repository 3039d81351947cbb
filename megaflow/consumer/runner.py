"""The threads that do what the core says, against a real queue.

One thread drives the core and lives by its inbox; others poll, run handlers and settle messages; async handlers share
one event loop. All but the first are daemons: a handler that never returns cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from megaflow import limits
from megaflow.consumer.core import Core
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
    Interrupted,
    Problem,
    Receive,
    Received,
    Report,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.message import Message
from megaflow.metrics import Metrics
from megaflow.process import Processor
from megaflow.settings import ConsumerSettings
from megaflow.sqs import Failed, Queue, as_configuration_error, is_refusal

log = logging.getLogger(__name__)

_SETTLERS: Final = 2
_LONGEST_WAIT: Final = 0.5
"""Seconds: a signal that comes just before the wait begins does not end it."""


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
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._questions: SimpleQueue[Inspect | Receive | None] = SimpleQueue()
        self._work: SimpleQueue[Message | None] = SimpleQueue()
        self._settlements: SimpleQueue[Delete | Hide | DeadLetter | None] = SimpleQueue()
        # Apart from the rest: a slow dead-letter queue must not hold up the deletes.
        self._dead_letters: SimpleQueue[Delete | Hide | DeadLetter | None] = SimpleQueue()
        self._workers = 0
        self._handling = 0
        self._event_loop = _EventLoop(on_interrupt=lambda error: self._inbox.put(Interrupted(error)))
        self._ending = threading.Lock()
        self._ended = False

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where the queue does not exist or refuses access at the start, and whatever a
        handler raised that is no `Exception`.
        """
        self._start_thread("poller", self._ask_forever)
        for settlements in (*[self._settlements] * _SETTLERS, *[self._dead_letters] * _SETTLERS):
            self._start_thread("settler", partial(self._settle_forever, settlements))
        try:
            with self._signals():
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

    def _drive(self) -> BaseException | None:
        core = Core(self._settings, fifo=self._queue.fifo)
        try:
            # Whoever stopped it before it began is heard first.
            event: Event = Tick() if self._inbox.empty() else self._inbox.get()
            while True:
                for action in core.handle(event, self._clock()):
                    if isinstance(action, Exit):
                        return action.error
                    self._do(action)
                event = self._wait_for_event(core.wake_at)
                if isinstance(event, Finished | Crashed):
                    self._handling -= 1
        except BaseException:
            self._give_back(core.waiting)
            raise

    def _wait_for_event(self, wake_at: float) -> Event:
        try:
            return self._inbox.get(timeout=max(0.0, min(wake_at - self._clock(), _LONGEST_WAIT)))
        except Empty:
            return Tick()

    def _do(self, action: Action) -> None:
        match action:
            case Inspect() | Receive():
                self._questions.put(action)
            case Start(message):
                self._start_handler(message)
            case DeadLetter():
                self._dead_letters.put(action)
            case Delete() | Hide():
                self._settlements.put(action)
            case Report(level, text, values, error):
                log.log(level, text, *values, exc_info=error)
            case Count(name, amount):
                self._count(name, amount)
            case AbandonPoll() | Exit():
                # The poller is a daemon: nobody waits for it.
                pass

    def _count(self, name: str, amount: int) -> None:
        try:
            self._metrics.count(name, amount)
        except Exception:
            log.warning("the metrics failed to count %s", name, exc_info=True)

    def _start_handler(self, message: Message) -> None:
        self._handling += 1
        if self._handling > self._workers:
            try:
                self._start_thread("worker", self._work_forever)
                self._workers += 1
            except RuntimeError as error:
                if not self._workers:
                    raise
                log.warning("no thread for one more handler, %d are at work: %s", self._workers, error)
        self._work.put(message)

    def _ask_forever(self) -> None:
        while (action := self._questions.get()) is not None:
            event = self._ask(action)
            with self._ending:
                if not self._ended:
                    self._inbox.put(event)
                    continue
            if isinstance(event, Received):
                self._give_back(event.messages)

    def _ask(self, action: Inspect | Receive) -> Event:
        try:
            if isinstance(action, Inspect):
                return Inspected(self._queue.inspect())
            messages = self._queue.receive(
                action.count,
                wait_time_seconds=self._settings.wait_time_seconds,
                visibility_timeout=self._settings.visibility_timeout,
            )
            return Received(messages)
        except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
            return AskFailed(error, is_refusal(error))

    def _work_forever(self) -> None:
        while (message := self._work.get()) is not None:
            try:
                self._inbox.put(Finished(self._get_processor().process(message, self._event_loop.wait)))
            except BaseException as error:  # noqa: BLE001 - a message that is out must come back to the core
                self._inbox.put(Crashed(message, error))

    def _settle_forever(self, settlements: SimpleQueue[Delete | Hide | DeadLetter | None]) -> None:
        while (action := settlements.get()) is not None:
            refusal: BaseException | None = None
            try:
                problems = {
                    failed.receipt_handle: Problem(f"{failed.code}: {failed.reason}", failed.final)
                    for failed in self._settle(action)
                }
            except BaseException as error:  # noqa: BLE001 - whatever a client raises, the consumer lives on
                refusal = error if is_refusal(error) else None
                problem = Problem(f"{type(error).__name__}: {error}", final=refusal is not None)
                problems = dict.fromkeys(_handles(action.messages), problem)
            self._inbox.put(Settled(action, problems, refusal))

    def _settle(self, action: Delete | Hide | DeadLetter) -> Sequence[Failed]:
        match action:
            case Delete(messages):
                return self._queue.delete(_handles(messages))
            case Hide(messages, seconds):
                return self._queue.hide(list(zip(_handles(messages), seconds, strict=True)))
            case DeadLetter(message, queue_url, origin):
                self._queue.send_dead_letter(queue_url, message, origin)
        return []

    def _end(self) -> None:
        """Let the threads go, and give back what a poll has brought meanwhile."""
        with self._ending:
            self._ended = True
        self._questions.put(None)
        for _ in range(_SETTLERS):
            self._settlements.put(None)
            self._dead_letters.put(None)
        for _ in range(self._workers):
            self._work.put(None)
        self._event_loop.close()
        while not self._inbox.empty():
            event = self._inbox.get()
            if isinstance(event, Received):
                self._give_back(event.messages)

    def _give_back(self, messages: Sequence[Message]) -> None:
        handles = _handles(messages)
        try:
            for start in range(0, len(handles), limits.BATCH_ENTRIES):
                self._queue.hide([(handle, 0.0) for handle in handles[start : start + limits.BATCH_ENTRIES]])
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


class _EventLoop:
    """The one event loop of async handlers, in a thread of its own, started when it is first needed.

    *on_interrupt* is told of an exit or an interrupt in what handlers left running; the loop goes on.
    """

    def __init__(self, on_interrupt: Callable[[BaseException], None]) -> None:
        self._on_interrupt = on_interrupt
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run *awaitable* on the loop, and return or raise what comes of it; once closed, it is cancelled."""
        done: Future[Any] = Future()

        async def carry_out() -> None:
            # Inside the task: an exit that left it would not reach who waits.
            try:
                done.set_result(await awaitable)
            except BaseException as error:  # noqa: BLE001
                done.set_exception(error)

        def start() -> None:
            task = loop.create_task(carry_out())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the consumer has ended")
                loop = self._loop = self._loop or self._start()
                loop.call_soon_threadsafe(start)
        except (OSError, RuntimeError) as error:
            # Not the handler's own failure: its message has to come again.
            log.warning("there is no event loop for an async handler: %s", error)
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise asyncio.CancelledError from error
        return done.result()

    def close(self) -> None:
        """Cancel what still runs, and end the loop."""
        with self._lock:
            self._closed = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=self._live, args=(loop,), name="megaflow-async", daemon=True).start()
        return loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._closed:
            self._run(loop.run_forever)
        self._run(lambda: loop.run_until_complete(_cancel_all()))
        loop.close()

    def _run(self, run: Callable[[], object]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - what a task that nobody waits for exits with
            self._on_interrupt(error)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _handles(messages: Sequence[Message]) -> list[str]:
    return [message.lease.receipt_handle for message in messages if message.lease is not None]
