"""Several processes that consume one queue: started, watched, replaced when they die, and stopped together."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from megaflow.errors import ConfigurationError, ProcessError
from megaflow.health import Health
from megaflow.signals import stopping_on_signals

log = logging.getLogger(__name__)

CONFIGURATION_EXIT: Final = 78
"""What a child exits with that cannot work before somebody changes something (EX_CONFIG of sysexits.h)."""

KILL_GRACE: Final = 10.0
"""Seconds beyond the shutdown timeout after which a child that has not ended is killed."""

_SHORT_LIFE: Final = 10.0
_MOST_SHORT_LIVES: Final = 5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_LONGEST_WAIT: Final = 0.5


class Runs(Protocol):
    """What a child runs: an app."""

    def run(self) -> None: ...


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
        self.started_at = 0.0
        self.start_at = 0.0

    def note_start(self, now: float) -> None:
        """Take note that a child was started."""
        self.started_at = now

    def note_death(self, now: float) -> float:
        """Take note that it died, and return the seconds until another one is to take its place."""
        if now - self.started_at >= _SHORT_LIFE:
            self._short_lives = self._failures = 0
        else:
            self._short_lives += 1
        self._failures += 1
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (self._failures - 1))
        pause = longest * (0.5 + 0.5 * self._randomness())
        self.start_at = now + pause
        return pause

    @property
    def is_hopeless(self) -> bool:
        """Whether one after another has died within seconds."""
        return self._short_lives >= _MOST_SHORT_LIVES


class Supervisor:
    """Keeps so many *processes* running what stands at *target*."""

    def __init__(
        self,
        target: Target,
        processes: int,
        *,
        shutdown_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._shutdown_timeout = shutdown_timeout
        self._clock = clock
        self._lives = [Life() for _ in range(processes)]
        self._children: dict[int, Any] = {}
        self._context = multiprocessing.get_context("spawn")
        # The children hold the other end: it is closed when this process dies, however that is.
        self._watched, self._alive = self._context.Pipe(duplex=False)
        self._stops = 0
        self._told = 0
        self._kill_at: float | None = None

    def run(self) -> None:
        """Keep them running until `stop`, SIGTERM or SIGINT.

        Raises `ConfigurationError` where a child cannot work before something is changed, and `ProcessError` where
        they die one after another; what goes wrong for them stands in their own logs.
        """
        with stopping_on_signals(lambda again: self.stop(now=again)):
            try:
                while self._children or not self._stops:
                    self._start_missing()
                    self._pass_on_stops()
                    self._wait()
                    self._bury()
            finally:
                self._kill_all()
                self._alive.close()
                self._watched.close()

    def stop(self, *, now: bool = False) -> None:
        """Let the children finish, or with *now* do not. May be called from any thread."""
        self._stops = max(self._stops, 2 if now else 1)

    def health(self) -> Health:
        """Return how the children are, as far as their parent knows. May be called from any thread."""
        missing = len(self._lives) - sum(child.is_alive() for child in tuple(self._children.values()))
        problems = (f"{missing} of {len(self._lives)} processes are not running",) if missing else ()
        stopping = self._stops > 0
        return Health(live=True, ready=not missing and not stopping, problems=problems, stopping=stopping)

    def _start_missing(self) -> None:
        for place, life in enumerate(self._lives):
            if not self._stops and place not in self._children and self._clock() >= life.start_at:
                child = self._context.Process(
                    target=_live, args=(self._target, self._watched), name=f"megaflow-{place}"
                )
                child.start()
                life.note_start(self._clock())
                self._children[place] = child
                log.info("process %d of %d started: pid %s", place + 1, len(self._lives), child.pid)

    def _pass_on_stops(self) -> None:
        while self._told < self._stops:
            self._told += 1
            self._kill_at = self._clock() + self._shutdown_timeout + KILL_GRACE
            # Two of the same kind, one right after the other, would arrive as one.
            number = signal.SIGTERM if self._told == 1 else signal.SIGINT
            for child in self._children.values():
                if child.is_alive():
                    os.kill(child.pid, number)
        if self._kill_at is not None and self._clock() >= self._kill_at:
            self._kill_all()

    def _wait(self) -> None:
        soonest = min((life.start_at - self._clock() for life in self._resting()), default=_LONGEST_WAIT)
        wait([child.sentinel for child in self._children.values()], max(0.0, min(_LONGEST_WAIT, soonest)) or 0.01)

    def _resting(self) -> Iterator[Life]:
        return (life for place, life in enumerate(self._lives) if place not in self._children)

    def _bury(self) -> None:
        for place, child in tuple(self._children.items()):
            if child.is_alive():
                continue
            child.join()
            del self._children[place]
            if not self._stops:
                self._replace(place, child)

    def _replace(self, place: int, child: Any) -> None:
        life, said = self._lives[place], _describe_exit(child.exitcode)
        if child.exitcode == CONFIGURATION_EXIT:
            self._end_with(ConfigurationError(f"process {child.pid} cannot work as it is configured; see its log"))
        pause = life.note_death(self._clock())
        if life.is_hopeless:
            error = (
                f"one process after another ended within seconds, the last one ({child.pid}) with {said}; see its log"
            )
            self._end_with(ProcessError(error))
        log.error("process %s ended with %s, and is replaced in %.1f s", child.pid, said, pause)

    def _end_with(self, error: Exception) -> None:
        """Stop the others, and raise *error*."""
        self.stop()
        while self._children:
            self._pass_on_stops()
            self._wait()
            self._bury()
        raise error

    def _kill_all(self) -> None:
        for child in self._children.values():
            if child.is_alive():
                log.error("process %s has not ended in time, and is killed", child.pid)
                child.kill()


def refuse_nested_start() -> None:
    """End a child whose main module starts processes while it is only imported."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        log.error(
            "run(processes=) was called while a child imports the script: write it below if __name__ == '__main__'"
        )
        raise SystemExit(CONFIGURATION_EXIT)


def _live(target: Target, parent: Connection) -> None:
    """Be a child."""
    # Ctrl-C goes to every process of the terminal's group; the parent passes it on.
    os.setpgrp()
    threading.Thread(target=_stop_with, args=(parent,), name="megaflow-parent", daemon=True).start()
    try:
        target.load().run()
    except ConfigurationError:
        log.exception("this process cannot work as it is configured")
        raise SystemExit(CONFIGURATION_EXIT) from None


def _stop_with(parent: Connection) -> None:
    try:
        parent.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _describe_exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
