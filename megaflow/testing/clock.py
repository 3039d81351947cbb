"""The clock of a test: time passes at the test's word, for async handlers too."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final

from typing_extensions import override

_PATIENCE: Final = 1.0
"""Real seconds that a handler may wait for something that no clock brings."""

_LONGEST: Final = 7 * 24 * 3600.0
"""Seconds that may pass while one handler is waited for."""


class StuckError(BaseException):
    """A handler that will never end. No `Exception`: the handler, and the loop, are not to get in its way."""


class Clock:
    """Seconds since the epoch, as a test has it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for timers: where nothing else is under way, time passes to the next one.

    *pass_time* lets so many seconds pass. Where a handler waits for sockets or threads, it waits for real.
    """

    def __init__(self, clock: Clock, pass_time: Callable[[float], None]) -> None:
        self._clock = clock
        self._in_threads = 0
        self._waiting = _Selector(clock, pass_time, lambda: self._in_threads > 0)
        super().__init__(self._waiting)
        # Seconds since the epoch are not told apart any finer, and a timer that is due must be known to be.
        self._clock_resolution = 1e-6

    @override
    def time(self) -> float:
        return self._clock.now

    @override
    def run_until_complete(self, future: Any) -> Any:
        self._waiting.begin()
        return super().run_until_complete(future)

    @override
    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._note_done)
        return future

    def _note_done(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


class _Selector(selectors.DefaultSelector):
    """Waits for sockets, and lets time pass instead where there are none to wait for."""

    def __init__(self, clock: Clock, pass_time: Callable[[float], None], waits_for_threads: Callable[[], bool]) -> None:
        super().__init__()
        self._clock = clock
        self._pass_time = pass_time
        self._waits_for_threads = waits_for_threads
        self._passed = 0.0

    def begin(self) -> None:
        """Begin to count the time that passes."""
        self._passed = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        # One of them is the loop's own: what wakes it from other threads.
        if self._waits_for_threads() or len(self.get_map()) > 1:
            return self._wait(timeout)
        if timeout is not None:
            self._passed += timeout
            if self._passed > _LONGEST:
                raise StuckError("a handler sleeps for ever: more than a week has passed for it")
            self._pass_time(timeout)
            return ready
        ready = super().select(_PATIENCE)
        if not ready:
            raise StuckError("a handler waits for something that nothing here brings: messages are handled one by one")
        return ready

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.monotonic()
        ready = super().select(timeout)
        self._clock.now += time.monotonic() - began
        return ready
