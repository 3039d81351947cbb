"""The event loop that async handlers share."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from megaflow.contexts import adopt
from megaflow.errors import text_of
from megaflow.forks import renew_in_child
from megaflow.logs import get_logger
from megaflow.loops import cancellation, get_running_loop

if TYPE_CHECKING:
    import asyncio

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
    """The one event loop of async handlers: the *callers*, or one in a thread of its own, started when it is needed.

    *on_interrupt* is told of an exit or an interrupt in what handlers left running on its own, which goes on; and that
    the caller's is closed.
    """

    def __init__(
        self, on_interrupt: Callable[[BaseException], object], callers: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._on_interrupt = on_interrupt
        self._callers = callers
        self._lock = threading.Lock()
        self._loop = callers
        self._closed = False
        """Read by the loop's thread without the lock: it is set before the loop is stopped, and stays so."""

        self._thread = 0
        """Written without the lock by the loop's thread; whether it is the same asks only that thread for itself."""

        self._spawned: deque[tuple[Coroutine[Any, Any, None], Context]] = deque()
        """What is to run. Appended to under the lock, taken out by the loop's thread without it, one step each."""

        self._is_woken = False
        """Whether the loop is about to look at that: it clears this first, so nothing that was appended is missed."""

        self._tasks: set[asyncio.Task[None]] = set()
        """Changed by the loop's thread alone."""

        self._parents: asyncio.AbstractEventLoop | None = None
        renew_in_child(self)

    @property
    def is_at_work(self) -> bool:
        """Whether something runs there, or is about to."""
        return bool(self._spawned or self._tasks)

    async def wait_for_tasks(self, seconds: float) -> None:
        """Wait in the loop for what runs there, at most so long."""
        if self._tasks:
            import asyncio

            await asyncio.wait(self._tasks, timeout=seconds)

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
            raise cancellation()
        try:
            return done.wait()
        finally:
            adopt(context)

    def spawn(
        self, coroutine: Coroutine[Any, Any, None], context: Context | None = None, *, wakes: bool = True
    ) -> bool:
        """Let *coroutine* run on the loop, in *context* or a copy of the current one; tell whether there is a loop.

        Unless this *wakes* it, the loop comes to it at the next `wake`: that costs more than a quick handler.
        """
        try:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the consumer has ended")
                self._loop = self._loop or self._start()
                self._spawned.append((coroutine, copy_context() if context is None else context))
        except (OSError, RuntimeError) as error:
            log.warning("there is no event loop for an async handler: %s", text_of(error))
            coroutine.close()
            return False
        if threading.get_ident() == self._thread:
            # To wake it would let other threads in.
            self._start_spawned()
        elif wakes:
            self.wake()
        return True

    def wake(self) -> None:
        """Let the loop begin what was spawned."""
        loop = self._loop
        if not self._spawned or self._is_woken or loop is None:
            return
        self._is_woken = True
        try:
            loop.call_soon_threadsafe(self._start_spawned)
        except RuntimeError as error:
            self._on_interrupt(error)

    def close(self) -> None:
        """Cancel what still runs, and end the loop, unless it is the caller's."""
        with self._lock:
            self._closed = True
            if self._loop is None:
                return
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # the caller has closed it
            self._drop_spawned()

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: the thread is not here, and what wakes it, and epoll, are one with the parent's."""
        self._lock = threading.Lock()
        # Kept, as it would close itself otherwise, and so take away what wakes the parent's.
        self._parents, self._loop = self._loop or self._parents, None
        self._thread, self._is_woken = 0, False
        self._spawned, self._tasks = deque(), set()

    def _start_spawned(self) -> None:
        self._thread, self._is_woken = threading.get_ident(), False
        while self._spawned:
            coroutine, context = self._spawned.popleft()
            task = get_running_loop().create_task(coroutine, context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _drop_spawned(self) -> None:
        while self._spawned:
            self._spawned.popleft()[0].close()

    def _end(self) -> None:
        self._drop_spawned()
        if self._callers is None:
            # Its thread cancels what runs there.
            get_running_loop().stop()
        for task in self._tasks if self._callers else ():
            task.cancel()

    def _start(self) -> asyncio.AbstractEventLoop:
        import asyncio

        loop = asyncio.new_event_loop()
        try:
            threading.Thread(target=self._live, args=(loop,), name="megaflow-async", daemon=True).start()
        except RuntimeError:
            loop.close()
            raise
        return loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

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
    import asyncio

    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await get_running_loop().shutdown_asyncgens()


MakeEventLoop: TypeAlias = Callable[[Callable[[BaseException], object]], EventLoop]
"""Makes the loop that a consumer's threads know; it is told what ended something in it."""
