"""One run from beginning to end: load and chaos, then calm, then the checks."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from tests.postgresql import postgresql
from tests.torture_sql.brief import Role
from tests.torture_sql.chaos import plan_blows
from tests.torture_sql.checks import Charge, Found, Order, check, summarize
from tests.torture_sql.notes import read_notes
from tests.torture_sql.plants import Plant
from tests.torture_sql.tables import charges, orders
from tests.torture_sql.yard import NAMES, Yard

Say = Callable[[str], None]

_BACKLOG: Final = 150
"""Messages that wait, in the database or in a queue, beyond which nobody writes more."""

_SHOWN: Final = 30
"""Violations that are written out."""

_START_PATIENCE: Final = 180.0
_DRAIN_PATIENCE: Final = 180.0
_QUIET: Final = 4.0
"""Seconds that outboxes and queues must be empty."""

_TICK: Final = 0.05
_LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run. The *folder* with notes and logs is there where something was violated."""

    violations: Sequence[str]
    summary: Sequence[str]
    folder: Path

    def __str__(self) -> str:
        if not self.violations:
            return "\n".join([*self.summary, "nothing was violated"])
        more = [f"and {len(self.violations) - _SHOWN} more"] if len(self.violations) > _SHOWN else []
        said = f"VIOLATED {len(self.violations)} times, see {self.folder}:"
        return "\n".join([*self.summary, said, *self.violations[:_SHOWN], *more])


class _Torture:
    """One run of so many *seconds*, in a *yard*."""

    def __init__(self, yard: Yard, seed: int, seconds: float, say: Say) -> None:
        self._yard = yard
        self._seed = seed
        self._seconds = seconds
        self._say = say
        self._pause = threading.Event()

    def run(self) -> Found:
        """Do it all, and return what is found in the end."""
        self._yard.start()
        self._wait(self._yard.are_ready, _START_PATIENCE, "the workers did not start")
        self._strike()
        self._say("calm: waiting for everything that was committed")
        self._yard.calm()
        self._yard.hold_writers(held=False)
        self._yard.stop_workers(Role.WRITER)
        self._wait(self._is_quiet(), _DRAIN_PATIENCE, "outboxes and queues were not emptied")
        self._yard.stop_workers(*Role)
        self._find_left()
        return self._find()

    def _strike(self) -> None:
        blows = plan_blows(self._seed, self._seconds)
        self._say(f"{len(blows)} blows in {self._seconds:g} s")
        now = look_at = 0.0
        before = time.monotonic()
        while now < self._seconds and not self._yard.is_hopeless:
            while blows and blows[0].at <= now and self._yard.are_most_ready():
                self._yard.strike(blows.pop(0))
            self._yard.tick()
            if now >= look_at and self._yard.is_up:
                self._yard.hold_writers(held=self._count_waiting() > _BACKLOG)
                look_at = now + _LOOK
            self._pause.wait(_TICK)
            before, passed = time.monotonic(), time.monotonic() - before
            # While most are starting, the time does not count: on a busy machine there is as much work, and longer.
            now += min(passed, _LOOK) if self._yard.are_most_ready() else 0.0

    def _count_waiting(self) -> int:
        """Return how much waits in the fullest place, or a lot where it is not known."""
        try:
            return max(self._yard.count_unsent(), *map(self._yard.count_sent, NAMES))
        except (BotoCoreError, DBAPIError) as error:
            self._say(f"no answer: {type(error).__name__}")
            return _BACKLOG + 1

    def _is_quiet(self) -> Callable[[], bool]:
        busy_at = time.monotonic()

        def ask() -> bool:
            nonlocal busy_at
            if self._count_waiting():
                busy_at = time.monotonic()
            return time.monotonic() - busy_at > _QUIET

        return ask

    def _wait(self, holds: Callable[[], bool], patience: float, otherwise: str) -> None:
        deadline = time.monotonic() + patience
        while not holds() and not self._yard.is_hopeless:
            if time.monotonic() > deadline:
                self._yard.violations.append(f"{otherwise} within {patience:g} s")
                return
            self._yard.tick()
            self._pause.wait(_LOOK)

    def _find_left(self) -> None:
        left = {"rows in the outboxes": self._yard.count_unsent()}
        for queue in NAMES:
            left |= {f"messages in {queue}": self._yard.count_sent(queue)}
            left |= {f"dead letters of {queue}": self._yard.count_dead(queue)}
        self._yard.violations += [f"{count} {what} are left" for what, count in left.items() if count]

    def _find(self) -> Found:
        with self._yard.engine.connect() as connection:
            return Found(
                orders=[Order(*row) for row in connection.execute(select(orders))],
                charges=[Charge(*row) for row in connection.execute(select(charges))],
                notes=read_notes(self._yard.notes),
            )


def torture(*, seed: int, seconds: float, say: Say, plant: Plant = Plant.NONE) -> Report:
    """Run it in a folder of its own, which is kept where something was violated, or went wrong.

    *plant* is a fault that the workers have, to see that it is found.
    """
    began_at = time.monotonic()

    def say_when(text: str) -> None:
        say(f"{time.monotonic() - began_at:7.2f} s  {text}")

    with postgresql() as database:
        folder = Path(tempfile.mkdtemp(prefix="megaflow-torture-sql-"))
        say(f"seed {seed}, {seconds:g} s, in {folder}")
        yard = Yard(folder, database, seed, say_when, plant)
        try:
            found = _Torture(yard, seed, seconds, say_when).run()
        finally:
            yard.close()
    done = ", ".join(f"{what}: {count}" for what, count in sorted(yard.done.items()))
    report = Report([*yard.violations, *check(found)], [summarize(found), done], folder)
    if not report.violations:
        shutil.rmtree(folder)
    return report
