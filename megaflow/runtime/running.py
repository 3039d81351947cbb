"""Running: the run of an app that is under way, in this process or in children, and how it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from megaflow.errors import ConfigurationError, UsageError
from megaflow.forks import renew_in_child
from megaflow.logs import get_logger
from megaflow.loops import get_running_loop
from megaflow.runtime.protocols import AppRun

if TYPE_CHECKING:
    from megaflow.consumer.core.health import Health
    from megaflow.runtime.health_server import Scrape
    from megaflow.telemetry.metrics import Measurements

log = get_logger(__name__)

WOULD_DELETE: Final = (
    "each would delete what only the other one handles: put their handlers into one app (app.include(router)), or give "
    "each app a queue of its own"
)


class Running:
    """One run at a time, and whether the next one is to end at once. May be used from any thread."""

    def __init__(self) -> None:
        # Reentrant: a signal handler of the user's may call stop() in the middle of anything.
        self._changing = threading.RLock()
        self._current: AppRun | None = None
        self._stop_wanted = False
        self._is_paused = False
        renew_in_child(self)

    @property
    def is_under_way(self) -> bool:
        """Whether something runs."""
        return self._current is not None

    def run(self, what: AppRun, *, at_end: Callable[[], None] = lambda: None) -> None:
        """Run *what* until it is stopped, and call *at_end*; raise `UsageError` where something runs already."""
        self.begin(what)
        self.finish(what.run, at_end=at_end)

    @contextmanager
    def by(self, what: AppRun) -> Iterator[None]:
        """Be run by *what*, which somebody runs within a ``with``; raise `UsageError` where something runs already."""
        self.begin(what)
        with self._until_end():
            yield

    def begin(self, what: AppRun) -> None:
        """Let *what* be what runs, until `finish`; raise `UsageError` where something runs already."""
        with self._changing:
            if self._current is not None:
                raise UsageError("this app is running already; a second consumer needs a second App, or process")
            self._current = what
            if self._is_paused:
                what.pause()
            if self._stop_wanted:
                log.info("stop() was called before run(), which ends at once")
                what.stop()

    def finish(self, run: Callable[[], None], *, at_end: Callable[[], None] = lambda: None) -> None:
        """Do what *run* does, the whole run of what was begun, and call *at_end*."""
        with self._until_end():
            try:
                run()
            finally:
                at_end()

    @contextmanager
    def _until_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changing:
                self._current, self._stop_wanted = None, False

    def stop(self, *, now: bool = False) -> None:
        """End what runs, or the next run."""
        with self._changing:
            self._stop_wanted = True
            if self._current is not None:
                self._current.stop(now=now)

    def pause(self) -> None:
        """Let what runs, and each run after it, receive nothing until `resume`."""
        with self._changing:
            self._is_paused = True
            if self._current is not None:
                self._current.pause()

    def resume(self) -> None:
        """End the pause, if there is one."""
        with self._changing:
            self._is_paused = False
            if self._current is not None:
                self._current.resume()

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._is_paused

    def health(self) -> Health:
        """Return how what runs is."""
        from megaflow.consumer.core.health import NOT_RUNNING

        current = self._current
        health = NOT_RUNNING if current is None else current.health()
        # What runs may not have heard of the pause yet.
        return replace(health, paused=True) if self._is_paused and not health.paused else health

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: what runs does so in the parent."""
        self._changing = threading.RLock()
        self._current, self._stop_wanted, self._is_paused = None, False, False

    def refuse_change(self) -> None:
        """Raise `UsageError` while something runs."""
        if self._current is not None:
            raise UsageError("this app is running: what it is connected to can be changed before that only")

    @contextmanager
    def refused_to_change(self) -> Iterator[None]:
        """Refuse, with `UsageError`, while something runs; a stop that is asked for within is not for a later run."""
        self.refuse_change()
        before = self._stop_wanted
        try:
            yield
        finally:
            self._stop_wanted = before


def refuse_event_loop(name: str) -> None:
    """Raise `UsageError` where an event loop is running, which *name*, a function, would hold up."""
    try:
        get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{name}() would hold up the running event loop: await a{name}(), or call {name}() in a thread")


def serving_health(
    host: str | None, port: int | None, health: Callable[[], Health], *measurements: Measurements
) -> AbstractContextManager[object]:
    """Answer on *port* of *host* how it is within a ``with``, and what was measured, where there is a port."""
    if port is None:
        if host is not None:
            raise ConfigurationError(f"health_host={host!r} needs a health_port=: nothing answers without one")
        return nullcontext()
    from megaflow.runtime.health_server import serve_health

    return serve_health(port, health, _scraping(measurements), host=host)


def _scraping(measurements: Sequence[Measurements]) -> Scrape:
    """Return what gives the metrics to Prometheus, or the reason why it cannot."""
    from megaflow.telemetry.prometheus import PrometheusCollector, render

    try:
        return partial(render, PrometheusCollector(*measurements))
    except ConfigurationError as error:
        return error.with_traceback(None)
