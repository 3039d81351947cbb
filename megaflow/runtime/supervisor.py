"""Several processes that consume one queue: started, watched, replaced when they die, and stopped together.

A child exits with 0 where it was asked to stop, with 78 where it cannot work as it is configured, and with 1 for any
other error. It logs as the user's script sets it up while it is imported: what stands below ``if __name__ ==
"__main__"`` is not there in a child.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Final

from megaflow.consumer.core.health import Health
from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.errors import ConfigurationError, ProcessError
from megaflow.forks import renew_in_child
from megaflow.logs import get_logger
from megaflow.runtime.child import CONFIGURATION_EXIT, Loads, Order, live
from megaflow.runtime.instances import instance_of_its_own
from megaflow.runtime.protocols import Runs
from megaflow.runtime.reports import Reports
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


@dataclass(frozen=True, slots=True)
class Target:
    """Where a child finds what it runs: a global of a module."""

    module: str
    name: str

    def load(self) -> Runs:
        """Return what stands there, in this process; raise `ConfigurationError` where nothing does."""
        found: Runs | None = getattr(importlib.import_module(self.module), self.name, None)
        if found is None:
            raise ConfigurationError(
                f"{self.name} is not there when {self.module} is imported: make it above if __name__ == '__main__'"
            )
        return found


def find_target(app: object) -> Target:
    """Return where *app* stands; raise `ConfigurationError` where a child could not find it."""
    places = dict(_places_of(app))
    if "__main__" in places and _is_imported_by_children(sys.modules["__main__"]):
        return Target("__mp_main__", places["__main__"])
    for module, name in places.items():
        # multiprocessing has the main module under another name too, which only its children have of their own.
        if module not in ("__main__", "__mp_main__"):
            return Target(module, name)
    if places:
        raise ConfigurationError(
            "processes= needs the app in a module that its children can import, which a prompt, python -c and "
            "__main__.py are not: move it to a module of its own"
        )
    raise ConfigurationError("processes= needs the app as a global of a module: that is where its children look for it")


def _places_of(app: object) -> Iterator[tuple[str, str]]:
    for module_name, module in tuple(sys.modules.items()):
        # Anything may stand there, even None.
        if isinstance(module, ModuleType):
            yield from ((module_name, name) for name, value in tuple(vars(module).items()) if value is app)


def _is_imported_by_children(main: ModuleType) -> bool:
    # What multiprocessing leaves out: multiprocessing.spawn, _fixup_main_from_name and _fixup_main_from_path.
    if main.__spec__ is not None:
        return main.__spec__.name.rpartition(".")[2] != "__main__"
    return Path(getattr(main, "__file__", None) or "").is_file()


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
            self.orders.send(order)
        except OSError:
            log.debug("process %s has ended before it could be told to", self.process.pid)


class Supervisor:
    """Keeps so many *processes* running what stands at *target*; *shutdown_timeout* is in seconds, as *clock* is.

    Where *measurements* are read by somebody, those of the children are in them as long as they run.
    """

    def __init__(
        self,
        target: Loads,
        processes: int,
        *,
        shutdown_timeout: float,
        measurements: Measurements | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._measurements = measurements or Measurements()
        self._reports = Reports()
        self._shutdown_timeout = shutdown_timeout
        self._clock = clock
        self._context = multiprocessing.get_context("spawn")
        self._lives = [Life() for _ in range(processes)]
        self._children: dict[int, _Child] = {}
        # Never set back, so that any thread may set them without a lock.
        self._stopping = False
        self._stopping_now = False
        self._told: set[Order] = set()
        self._kill_at = math.inf
        self._paused = False
        self._told_to_pause = False
        """Whether the children there are were told so; those that are started know it from the start."""

        renew_in_child(self)

    def run(self) -> None:
        """Keep them running until `stop`, SIGTERM or SIGINT; signals only where this is the main thread.

        Raises `ConfigurationError` where a child cannot work before something is changed, and `ProcessError` where
        they die one after another, or all of them fail at the start; what goes wrong for them stands in their own
        logs. The others may finish first.
        """
        including = self._measurements.including(self._reports.read)
        with stopping_on_signals(lambda again: self.stop(now=again)), including:
            try:
                while not self._stopping:
                    self._pass_on_pauses()
                    self._start_missing()
                    self._wait()
                    self._bury()
            finally:
                self._drain()

    def stop(self, *, now: bool = False) -> None:
        """Let the children finish, or with *now* do not. May be called from any thread, and from signal handlers."""
        if now:
            self._stopping_now = True
        self._stopping = True

    def pause(self) -> None:
        """Let the children receive nothing until `resume`. May be called from any thread, and from signal handlers."""
        self._paused = True

    def resume(self) -> None:
        """Let the children receive messages again. May be called from any thread, and from signal handlers."""
        self._paused = False

    def health(self) -> Health:
        """Return how the children are, as far as their parent knows. May be called from any thread."""
        missing, stopping, paused = len(self._lives) - len(self._children), self._stopping, self._paused
        found = {
            f"{missing} of {len(self._lives)} processes are not running": missing > 0,
            "they are paused": paused,
        }
        problems = tuple(problem for problem, is_there in found.items() if is_there)
        ready = not missing and not stopping
        return Health(live=True, ready=ready, problems=problems, stopping=stopping, paused=paused)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: the children would not hear that their parent is dead, while others hold its pipes."""
        for child in self._children.values():
            child.orders.close()
        self._reports.close_in_child()

    def _start_missing(self) -> None:
        for place, life in enumerate(self._lives):
            if not self._stopping and place not in self._children and self._clock() >= life.start_at:
                self._children[place] = child = self._start(place)
                life.note_start(self._clock())
                log.info("process %d of %d started: pid %s", place + 1, len(self._lives), child.process.pid)

    def _start(self, place: int) -> _Child:
        theirs, ours = self._context.Pipe(duplex=False)
        with theirs, self._reporting(place) as reports, instance_of_its_own(place):
            arguments = (self._target, theirs, reports, self._told_to_pause)
            process = self._context.Process(target=live, args=arguments, name=f"megaflow-{place}")
            process.start()
        return _Child(process, ours)

    @contextmanager
    def _reporting(self, place: int) -> Iterator[Connection | None]:
        """Give a pipe to the child that is started within a ``with``, where somebody reads what it says there."""
        if not self._measurements.is_read:
            yield None
            return
        ours, theirs = self._context.Pipe(duplex=False)
        self._reports.begin(place, ours)
        with theirs:
            yield theirs

    def _wait(self) -> None:
        resting = (life for place, life in enumerate(self._lives) if place not in self._children)
        soonest = min((life.start_at - self._clock() for life in resting), default=_LONGEST_WAIT)
        # Not zero, or it would spin while they are stopped, and nobody takes the place of one that has ended.
        longest = min(max(0.01, soonest), _LONGEST_WAIT)
        wait([*self._reports.pipes, *(child.process.sentinel for child in self._children.values())], longest)
        self._reports.take()

    def _bury(self) -> None:
        for place, child in tuple(self._children.items()):
            if not child.process.is_alive():
                del self._children[place]
                child.orders.close()
                self._reports.end(place)
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
        self.stop()
        while self._children:
            self._pass_on_stops()
            self._wait()
            self._bury()
            if self._clock() >= self._kill_at:
                self._kill_all()

    def _pass_on_stops(self) -> None:
        for order, is_wanted in ((Order.STOP, self._stopping), (Order.STOP_NOW, self._stopping_now)):
            if is_wanted and order not in self._told:
                self._told.add(order)
                at_once, timeout = order is Order.STOP_NOW, self._shutdown_timeout
                self._kill_at = kill_time(self._kill_at, self._clock(), at_once=at_once, shutdown_timeout=timeout)
                self._tell_all(order)

    def _pass_on_pauses(self) -> None:
        if self._told_to_pause is not self._paused:
            self._told_to_pause = not self._told_to_pause
            log.info("the processes are told to %s", "pause" if self._told_to_pause else "resume")
            self._tell_all(Order.PAUSE if self._told_to_pause else Order.RESUME)

    def _tell_all(self, order: Order) -> None:
        # By pipe: systemd and others signal whole groups, and the child would take a SIGTERM of ours for a second one.
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
