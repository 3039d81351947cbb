"""The driver beside an event loop: a consumer whose threads are begun, waited for and stopped from within the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Final, Protocol

from megaflow.consumer.threads.event_loop import EventLoop
from megaflow.consumer.threads.signals import stopped_by_another_thread
from megaflow.errors import text_of
from megaflow.logs import get_logger

log = get_logger(__name__)

_TIME_TO_CANCEL: Final = 5.0
"""Seconds that async handlers have at the end to take note that they are cancelled."""


class Stop(Protocol):
    """Asks a consumer to end; may be called from any thread."""

    def __call__(self, *, now: bool = False) -> None:
        """Let handlers finish within the shutdown timeout, or with *now* do not."""
        ...


class LoopDriver:
    """A consumer beside the event loop that is running. To be used within that loop, but for `make_event_loop`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._event_loops: list[EventLoop] = []
        self._stop: Stop | None = None

    def make_event_loop(self, on_interrupt: Callable[[BaseException], object]) -> EventLoop:
        """Return the loop as the consumer's threads know it."""
        made = EventLoop(on_interrupt, self._loop)
        self._event_loops.append(made)
        return made

    def begin(self, run: Callable[[], None], stop: Stop) -> None:
        """Let *run* consume in a thread of its own; *stop* ends it."""
        self._stop = stop
        live = copy_context().run
        threading.Thread(target=live, args=(self._live, run), name="megaflow-consumer", daemon=True).start()

    def say_if_it_fails(self) -> None:
        """Log at once what `wait` or `end` raises later."""
        self._ended.add_done_callback(_say_failure)

    async def wait(self) -> None:
        """Wait until it has ended, and raise what it raised.

        Where this is cancelled, handlers may finish first; where it is cancelled again, they may not. Then it raises
        `asyncio.CancelledError`.
        """
        await self._wait(is_stopping=False)

    async def end(self) -> None:
        """Stop it, and do what `wait` does; where this is cancelled, handlers may not finish."""
        self._ask_to_stop(now=False)
        await self._wait(is_stopping=True)

    async def _wait(self, *, is_stopping: bool) -> None:
        cancellation: asyncio.CancelledError | None = None
        while not self._ended.done():
            try:
                # Not for the future itself, which would be cancelled too.
                await asyncio.wait([self._ended])
            except asyncio.CancelledError as error:
                self._ask_to_stop(now=is_stopping)
                is_stopping, cancellation = True, error
        for event_loop in self._event_loops:
            await event_loop.wait_for_tasks(_TIME_TO_CANCEL)
        failure = self._ended.result()
        if cancellation is not None:
            raise cancellation from failure
        if failure is not None:
            raise failure

    def _ask_to_stop(self, *, now: bool) -> None:
        if self._stop is not None:
            self._stop(now=now)

    def _live(self, run: Callable[[], None]) -> None:
        failure: BaseException | None = None
        try:
            with stopped_by_another_thread():
                run()
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set_result, failure)


def _say_failure(ended: asyncio.Future[BaseException | None]) -> None:
    error = None if ended.cancelled() else ended.result()
    if error is not None:
        log.error("the consumer has ended, and receives nothing more: %s", text_of(error), exc_info=error)
