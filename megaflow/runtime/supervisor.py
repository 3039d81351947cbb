"""Several processes that run the same apps: started, watched, replaced when they die, and stopped together."""

from __future__ import annotations

import math
import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from megaflow.consumer.core.health import Health
from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.errors import ConfigurationError, ProcessError
from megaflow.forks import renew_in_child
from megaflow.logs import get_logger
from megaflow.runtime.child import CONFIGURATION_EXIT, Order, Word, live
from megaflow.runtime.instances import instance_of_its_own
from megaflow.runtime.reports import Reports
from megaflow.runtime.targets import Loads
from megaflow.telemetry.metrics import Measurements

log = get_logger(__name__)

KILL_GRACE: Final = 10.0
"""Seconds beyond the shutdown timeout after which a child that has not ended is killed."""

_SHORT_LIFE: Final = 10.0
_LONG_LIFE: Final = 60.0
_MOST_SHORT_LIVES: Final = 5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_LONGEST_WAIT: Final = 0.5


class Life:
    """One place for a child, and what to do when it dies. Times in seconds."""

    def __init__(self, randomness: Callable[[], float] = random.random) -> None:
        self._randomness = randomness
        self._short_lives = 0
        self._failures = 0
        self._deaths = 0
        self._started_at = 0.0
        self.start_at = -math.inf
        self.failed_at_start = False
        """Whether the only child there was ended with an error within seconds; not so where it was killed."""

    def note_start(self, now: float) -> None:
        """Take note that a child was started."""
        self._started_at = now
        self.failed_at_start = False

    def note_death(self, now: float, exit_code: int) -> float:
        """Take note that it died, and return the seconds until another one is to take its place."""
        age = now - self._started_at
        self._short_lives = self._short_lives + 1 if age < _SHORT_LIFE else 0
        self._failures = self._failures + 1 if age < _LONG_LIFE else 1
        self._deaths += 1
        self.failed_at_start = self._deaths == 1 and self._short_lives == 1 and exit_code > 0
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 60))
        pause = longest * (0.5 + 0.5 * self._randomness())
        self.start_at = now + pause
        return pause

    @property
    def is_hopeless(self) -> bool:
        """Whether one after another has died within seconds."""
        return self._short_lives >= _MOST_SHORT_LIVES


def kill_time(before: float, now: float, *, at_once: bool, shutdown_timeout: float) -> float:
    """Return when to kill the children that are told to stop *now*; never later than was said *before*."""
    return min(before, now + KILL_GRACE + (0.0 if at_once else shutdown_timeout))


@dataclass(frozen=True, slots=True)
class _Child:
    process: SpawnProcess
    orders: Connection
    """Where it is told what to do. It is closed when this process dies, however that is."""

    def tell(self, order: Order) -> None:
        try:
            # Not by a signal: systemd and others signal whole groups, and the child would take ours for a second one.
            self.orders.send(order)
        except OSError:
            log.debug("process %s has ended before it could be told to", self.process.pid)


class Supervisor:
    """Keeps so many *processes* running, each of which runs all that stands at *targets*.

    *shutdown_timeout* is in seconds, as *clock* is. Where *measurements*, by the names that *targets* have, are read by
    somebody, those of the children are in them as long as they run.
    """

    def __init__(
        self,
        targets: Loads,
        processes: int,
        *,
        shutdown_timeout: float,
        measurements: Mapping[str, Measurements] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._targets = targets
        self._measurements = measurements or {}
        self._reports = {name: Reports() for name in self._measurements}
        self._shutdown_timeout = shutdown_timeout
        self._clock = clock
        self._context = multiprocessing.get_context("spawn")
        self._lives = [Life() for _ in range(processes)]
        self._children: dict[int, _Child] = {}
        # It only grows, and these are never set back, so that any thread may do so without a lock.
        self._orders: list[Order] = []
        self._stopping = False
        self._stopping_now = False
        self._passed_on = 0
        self._kill_at = math.inf
        # Names come and go one by one, each in one step, so that any thread may do so without a lock.
        self._paused: set[str] = set()
        """The apps that are to be paused."""

        self._told_to_pause: frozenset[str] = frozenset()
        """Those of which the children there are were told so; those that are started know it from the start."""

        renew_in_child(self)

    def run(self) -> None:
        """Keep them running until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where a child cannot work before something is changed, and `ProcessError` where
        they die one after another, or all of them fail at the start; what goes wrong for them stands in their own
        logs. The others may finish first.
        """
        with stopping_on_signals(lambda again: self.stop(now=again)), self._measuring_children():
            try:
                while not self._stopping:
                    self._pass_on_pauses()
                    self._start_missing()
                    self._pass_on_orders()
                    self._wait()
                    self._bury()
            finally:
                self._drain()

    def stop(self, *, now: bool = False, app: str | None = None) -> None:
        """Let the children finish, or with *now* do not; or only one *app* in all of them, while others go on.

        May be called from any thread, and from signal handlers.
        """
        order = Order(Word.STOP_NOW if now else Word.STOP, app)
        if order not in self._orders:
            self._orders.append(order)
        if now and app is None:
            self._stopping_now = True
        if app is None or {each.app for each in self._orders} >= set(self._targets.names):
            self._stopping = True

    def pause(self, *, app: str | None = None) -> None:
        """Let the children receive nothing until `resume`, for one *app* or for all.

        May be called from any thread, and from signal handlers.
        """
        self._paused.update(self._targets.names if app is None else (app,))

    def resume(self, *, app: str | None = None) -> None:
        """Let the children receive messages again. May be called from any thread, and from signal handlers."""
        self._paused.difference_update(self._targets.names if app is None else (app,))

    def health(self, *, app: str | None = None) -> Health:
        """Return how the children are, as far as their parent knows, for one *app* or for all, of which one is paused.

        May be called from any thread.
        """
        missing, stopping = len(self._lives) - len(self._children), self._stopping
        names = set(self._targets.names if app is None else (app,))
        paused = self._paused & names
        found = {
            f"{missing} of {len(self._lives)} processes are not running": missing > 0,
            "they are paused" if paused == names else f"paused: {', '.join(sorted(paused))}": bool(paused),
        }
        problems = tuple(problem for problem, is_there in found.items() if is_there)
        ready = not missing and not stopping
        return Health(live=True, ready=ready, problems=problems, stopping=stopping, paused=bool(paused))

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: the children would not hear that their parent is dead, while others hold its pipes."""
        for child in self._children.values():
            child.orders.close()
        for reports in self._reports.values():
            reports.close_in_child()

    @contextmanager
    def _measuring_children(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name, measurements in self._measurements.items():
                stack.enter_context(measurements.including(self._reports[name].read))
            yield

    def _start_missing(self) -> None:
        for place, life in enumerate(self._lives):
            if not self._stopping and place not in self._children and self._clock() >= life.start_at:
                self._children[place] = child = self._start(place)
                life.note_start(self._clock())
                log.info("process %d of %d started: pid %s", place + 1, len(self._lives), child.process.pid)

    def _start(self, place: int) -> _Child:
        theirs, ours = self._context.Pipe(duplex=False)
        with theirs, self._reporting(place) as reports, instance_of_its_own(place):
            arguments = (self._targets, theirs, reports, self._told_to_pause)
            process = self._context.Process(target=live, args=arguments, name=f"megaflow-{place}")
            process.start()
        child = _Child(process, ours)
        for order in self._orders[: self._passed_on]:
            child.tell(order)
        return child

    @contextmanager
    def _reporting(self, place: int) -> Iterator[dict[str, Connection]]:
        """Give pipes to the child that is started within a ``with``, for each app of which somebody reads a report."""
        pipes: dict[str, Connection] = {}
        with ExitStack() as stack:
            for name, measurements in self._measurements.items():
                if measurements.is_read:
                    ours, theirs = self._context.Pipe(duplex=False)
                    self._reports[name].begin(place, ours)
                    pipes[name] = stack.enter_context(theirs)
            yield pipes

    def _wait(self) -> None:
        resting = (life for place, life in enumerate(self._lives) if place not in self._children)
        soonest = min((life.start_at - self._clock() for life in resting), default=_LONGEST_WAIT)
        # Not zero, or it would spin while they are stopped, and nobody takes the place of one that has ended.
        longest = min(max(0.01, soonest), _LONGEST_WAIT)
        pipes = chain.from_iterable(reports.pipes for reports in self._reports.values())
        wait([*pipes, *(child.process.sentinel for child in self._children.values())], longest)
        for reports in self._reports.values():
            reports.take()

    def _bury(self) -> None:
        for place, child in tuple(self._children.items()):
            if not child.process.is_alive():
                del self._children[place]
                child.orders.close()
                for reports in self._reports.values():
                    reports.end(place)
                self._note_end(self._lives[place], child.process)

    def _note_end(self, life: Life, process: SpawnProcess) -> None:
        code = process.exitcode or 0
        if not self._stopping:
            self._replace(life, process.pid, code)
        elif code and not self._stopping_now:
            log.warning("process %s ended with %s while it was stopped", process.pid, _describe_exit(code))

    def _replace(self, life: Life, pid: int | None, code: int) -> None:
        """Decide when another one takes the place of one that died unasked; raise where that is no use."""
        said = _describe_exit(code)
        if code == CONFIGURATION_EXIT:
            raise ConfigurationError(f"process {pid} cannot work as it is configured ({said}); its log says why")
        pause = life.note_death(self._clock(), code)
        if all(life.failed_at_start for life in self._lives):
            raise ProcessError(f"every process failed at the start, the last one ({pid}) with {said}; its log says why")
        if life.is_hopeless:
            raise ProcessError(
                f"one process after another ended within seconds, the last one ({pid}) with {said}; its log says why"
            )
        log.error("process %s ended with %s, and is replaced in %.1f s", pid, said, pause)

    def _drain(self) -> None:
        """Stop the children, whatever ends this one, and wait for them."""
        if not self._stopping:
            self.stop()
        while self._children:
            self._pass_on_orders()
            self._wait()
            self._bury()
            if self._clock() >= self._kill_at:
                self._kill_all()

    def _pass_on_pauses(self) -> None:
        before, self._told_to_pause = self._told_to_pause, frozenset(self._paused)
        for word, names in ((Word.PAUSE, self._told_to_pause - before), (Word.RESUME, before - self._told_to_pause)):
            if names:
                which = "" if names >= set(self._targets.names) else f" {', '.join(sorted(names))}"
                log.info("the processes are told to %s%s", word.name.lower(), which)
            for name in names:
                self._tell_all(Order(word, name))

    def _pass_on_orders(self) -> None:
        for order in self._orders[self._passed_on :]:
            self._passed_on += 1
            self._tell_all(order)
            if self._stopping:
                at_once, timeout = order == Order(Word.STOP_NOW), self._shutdown_timeout
                self._kill_at = kill_time(self._kill_at, self._clock(), at_once=at_once, shutdown_timeout=timeout)

    def _tell_all(self, order: Order) -> None:
        for child in self._children.values():
            child.tell(order)

    def _kill_all(self) -> None:
        for child in self._children.values():
            log.error("process %s has not ended in time, and is killed", child.process.pid)
            child.process.kill()
            child.process.join()


def _describe_exit(code: int) -> str:
    try:
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
