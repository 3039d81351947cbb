"""A run beside an event loop: begun from within the loop, of one app for each queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Final

from megaflow.consumer.asyncio.driver import LoopDriver
from megaflow.consumer.threads.event_loop import MakeEventLoop
from megaflow.errors import ConfigurationError
from megaflow.forks import renew_in_child
from megaflow.publishing.destination import Destination
from megaflow.runtime.running import WOULD_DELETE, Running

if TYPE_CHECKING:  # imported in another thread, as that takes its time
    from megaflow.consumer.threads.runner import Runner


class _Consumed:
    """Whose queues are consumed beside the event loops of this process. May be used from any thread."""

    def __init__(self) -> None:
        self._all: list[Destination] = []
        self._lock = threading.Lock()
        renew_in_child(self)

    def begin(self, one: Destination) -> None:
        """Add *one*; raise `ConfigurationError` where another one consumes its queue."""
        with self._lock:
            if any(other.shares_queue_with(one) for other in self._all):
                raise ConfigurationError(
                    f"another app of this process consumes {one.queue_url} already, and {WOULD_DELETE}"
                )
            self._all.append(one)

    def end(self, one: Destination) -> None:
        """Take *one* out."""
        with self._lock:
            self._all.remove(one)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()
        self._all.clear()


_consumed: Final = _Consumed()


async def begin_beside_loop(
    running: Running,
    destination: Destination,
    make_runner: Callable[[MakeEventLoop], Runner],
    *,
    serving: AbstractContextManager[object],
    at_end: Callable[[], None],
) -> LoopDriver:
    """Begin to consume the queue of *destination* beside the event loop that is running, *serving* meanwhile."""

    def run() -> None:
        with serving:
            runner.run()

    def end() -> None:
        _consumed.end(destination)
        at_end()

    driver = LoopDriver()
    # In a thread: what it imports, and finds out about credentials, takes its time.
    runner = await asyncio.to_thread(make_runner, driver.make_event_loop)
    running.begin(runner)
    try:
        _consumed.begin(destination)
    except ConfigurationError:
        running.finish(lambda: None)
        raise
    try:
        driver.begin(partial(running.finish, run, at_end=end), runner.stop)
    except RuntimeError:  # there is no thread for it
        running.finish(lambda: None, at_end=end)
        raise
    return driver
