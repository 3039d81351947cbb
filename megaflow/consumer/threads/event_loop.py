"""The event loop that async handlers share."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

from megaflow.contexts import adopt
from megaflow.errors import text_of
from megaflow.forks import renew_in_child
from megaflow.logs import get_logger

log = get_logger(__name__)


class _Done:
    """What a task gives to the one thread that waits for it: a future with no more in it than that."""

    __slots__ = ("_error", "_lock", "_said")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._said: Any = None
        self._error: BaseException | None = None

    def say(self, said: Any) -> None:
        self._said = said
        self._lock.release()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._lock.release()

    def wait(self) -> Any:
        self._lock.acquire()
        if self._error is not None:
            raise self._error
        return self._said


class EventLoop:
    """The one event loop of async handlers, in a thread of its own, started when it is first needed.

    *on_interrupt* is told of an exit or an interrupt in what handlers left running; the loop goes on.
    """

    def __init__(self, on_interrupt: Callable[[BaseException], None]) -> None:
        self._on_interrupt = on_interrupt
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        """Read by the loop's thread without the lock: it is set before the loop is stopped, and stays so."""

        self._thread = 0
        """Written without the lock by the loop's thread; whether it is the same asks only that thread for itself."""

        self._tasks: set[asyncio.Task[None]] = set()
        """Used by the loop's thread alone."""

        self._parents: asyncio.AbstractEventLoop | None = None
        renew_in_child(self)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run *awaitable* on the loop, and return or raise what comes of it; once closed, it is cancelled."""
        done, context = _Done(), copy_context()

        async def carry_out() -> None:
            # Inside the task: an exit that left it would not reach who waits.
            try:
                done.say(await awaitable)
            except BaseException as error:  # noqa: BLE001
                done.fail(error)

        if not self.spawn(carry_out(), context):
            # Not the handler's own failure: its message has to come again.
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise asyncio.CancelledError
        try:
            return done.wait()
        finally:
            adopt(context)

    def spawn(self, coroutine: Coroutine[Any, Any, None], context: Context | None = None) -> bool:
        """Let *coroutine* run on the loop, in *context* or a copy of the current one; tell whether there is a loop."""

        def start() -> None:
            task = loop.create_task(coroutine, context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the consumer has ended")
                loop = self._loop = self._loop or self._start()
                if threading.get_ident() == self._thread:
                    # To wake it would let other threads in.
                    start()
                else:
                    loop.call_soon_threadsafe(start)
        except (OSError, RuntimeError) as error:
            log.warning("there is no event loop for an async handler: %s", text_of(error))
            coroutine.close()
            return False
        return True

    def close(self) -> None:
        """Cancel what still runs, and end the loop."""
        with self._lock:
            self._closed = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: the thread is not here, and what wakes it, and epoll, are one with the parent's."""
        self._lock = threading.Lock()
        # Kept, as it would close itself otherwise, and so take away what wakes the parent's.
        self._parents, self._loop = self._loop or self._parents, None
        self._thread, self._tasks = 0, set()

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        try:
            threading.Thread(target=self._live, args=(loop,), name="megaflow-async", daemon=True).start()
        except RuntimeError:
            loop.close()
            raise
        return loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._thread = threading.get_ident()
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
