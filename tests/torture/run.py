"""One run from beginning to end: load and chaos, then calm, then the checks."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError

from megaflow import SqsPublisher
from tests.torture.chaos import plan_blows
from tests.torture.checks import check, summarize
from tests.torture.consumer_script import Plant
from tests.torture.ledger import Entry, Key, Ledger, LedgerPipe, What, read_entries
from tests.torture.producer import Producers
from tests.torture.settings import make_client
from tests.torture.watch import watch
from tests.torture.yard import NAMES, Yard

Say = Callable[[str], None]

BACKLOG: Final = 150
"""Messages in a queue beyond which nobody sends more: all of them have to be handled in the end."""

SHOWN: Final = 30
"""Violations that are written out."""

_START_PATIENCE: Final = 60.0
_DRAIN_PATIENCE: Final = 180.0
_QUIET: Final = 3.0
"""Seconds that the queues must be empty."""

_TICK: Final = 0.05
_LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run. The *folder* with ledger and logs is there where something was violated."""

    violations: Sequence[str]
    summary: Sequence[str]
    folder: Path

    def __str__(self) -> str:
        if not self.violations:
            return "\n".join([*self.summary, "nothing was violated"])
        more = [f"and {len(self.violations) - SHOWN} more"] if len(self.violations) > SHOWN else []
        return "\n".join([*self.summary, f"VIOLATED, see {self.folder}:", *self.violations[:SHOWN], *more])


class Torture:
    """One run of so many *seconds*."""

    def __init__(self, folder: Path, seed: int, seconds: float, say: Say, plant: Plant) -> None:
        self._folder = folder
        self._seed = seed
        self._seconds = seconds
        self._began_at = time.monotonic()
        self._say_outside = say
        self._pipe = LedgerPipe(folder / "ledger", folder / "ledger.jsonl")
        self._ledger = Ledger(folder / "ledger")
        self._yard = Yard(folder, seed, self._ledger, self._say, plant)
        self._may_send = threading.Event()
        self._pause = threading.Event()
        self._watched_until = threading.Event()

    def run(self) -> Report:
        """Do it all, and leave no process behind."""
        watcher = watch(self._ledger, self._watched_until)
        try:
            with self._yard.proxy:
                try:
                    self._live()
                    dead = {queue: self._yard.drain_dead(queue) for queue in NAMES}
                finally:
                    self._yard.close()
        finally:
            self._watched_until.set()
            watcher.join()
            self._ledger.close()
            self._pipe.close()
        entries = read_entries(self._folder / "ledger.jsonl")
        return self._report(entries, dead)

    def _live(self) -> None:
        self._yard.start()
        self._wait(self._yard.are_ready, _START_PATIENCE, "the consumers did not start")
        client = make_client(self._yard.endpoint)
        publishers = {queue: SqsPublisher(queue_url=self._yard.queue_url(queue), client=client) for queue in NAMES}
        producers = Producers(publishers, self._ledger, self._may_send)
        try:
            producers.start()
            self._strike()
            self._say("calm: waiting for everything that was sent")
            self._yard.calm()
        finally:
            producers.stop()
            client.close()
        self._wait(self._is_quiet(), _DRAIN_PATIENCE, "the queues were not emptied")
        self._wait(self._yard.are_well, _START_PATIENCE, "the consumers did not find their stores well again")
        self._yard.stop_consumers()
        for queue in NAMES:
            if left := self._yard.count(queue):
                self._yard.violations.append(f"{queue}: {left} messages are left in the queue")

    def _strike(self) -> None:
        began_at = time.monotonic()
        blows = plan_blows(self._seed, self._seconds)
        self._say(f"{len(blows)} blows in {self._seconds:g} s")
        look_at = 0.0
        while (now := time.monotonic() - began_at) < self._seconds and not self._yard.is_hopeless:
            while blows and blows[0].at <= now:
                self._yard.strike(blows.pop(0))
            self._yard.tick()
            if now >= look_at and self._yard.server.is_up:
                self._hold_up_producers()
                look_at = now + _LOOK
            self._pause.wait(_TICK)

    def _hold_up_producers(self) -> None:
        if self._left() < BACKLOG:
            self._may_send.set()
        else:
            self._may_send.clear()

    def _left(self) -> int:
        """Return how much the fuller queue holds, or a lot where it is not known; a slow answer is noted."""
        asked_at = time.monotonic()
        try:
            left = max(self._yard.count(queue) for queue in NAMES)
        except BotoCoreError as error:
            self._say(f"the server does not answer: {error}")
            left = BACKLOG
        if (took := time.monotonic() - asked_at) > _LOOK:
            self._ledger.note(What.LATE, seconds=took, text="server")
        return left

    def _is_quiet(self) -> Callable[[], bool]:
        busy_at = time.monotonic()

        def ask() -> bool:
            nonlocal busy_at
            if self._left():
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

    def _report(self, entries: Sequence[Entry], dead: dict[str, Counter[Key]]) -> Report:
        violations, summary = list(self._yard.violations), []
        for queue in NAMES:
            # What is said of no queue is said of all.
            own = [entry for entry in entries if entry.queue in (queue, "")]
            violations += check(self._seed, queue, own, dead[queue])
            summary.append(summarize(queue, own, dead[queue]))
        summary.append(f"{self._yard.proxy.connections} connections, {self._yard.proxy.resets} of them reset")
        summary.append(", ".join(f"{what}: {count}" for what, count in sorted(self._yard.done.items())))
        late = [entry.seconds for entry in entries if entry.what is What.LATE]
        summary.append(f"the machine held somebody up {len(late)} times, for {max(late, default=0.0):.1f} s at most")
        return Report(violations, summary, self._folder)

    def _say(self, text: str) -> None:
        self._say_outside(f"{time.monotonic() - self._began_at:7.2f} s  {text}")


def torture(*, seed: int, seconds: float, say: Say, plant: Plant = Plant.NONE) -> Report:
    """Run it in a folder of its own, which is kept where something was violated, or went wrong.

    *plant* is a fault that the consumers have, to see that it is found.
    """
    folder = Path(tempfile.mkdtemp(prefix="megaflow-torture-"))
    say(f"seed {seed}, {seconds:g} s, in {folder}")
    report = Torture(folder, seed, seconds, say, plant).run()
    if not report.violations:
        shutil.rmtree(folder)
    return report
