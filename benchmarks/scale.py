"""Several processes beside one, and eight on one SQLite file beside eight without: ``megaflow run --processes N``.

``python -m benchmarks.scale [--only NAME] [--rounds N] [--quick]``, or ``make bench-scale``. The sides take turns. A
rate is what all the processes of a side delete together, from the time when each of them is well under way.

**processes**: each process has a server with ready answers of its own (`benchmarks.canned`), and the two share a core
that nobody else is given. So one process leaves the other core idle, and the second one has to bring all that it needs.
On cores that everybody shares, the one process would have its server on the other core, for nothing: a second process
would take that from it, and the ratio would tell what the servers cost.

**store**: eight processes, which one such server serves. What they handle takes no time, which is hard on the store, or
20 ms, in ten threads of each.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from uuid import uuid4

from benchmarks.scaled import Scaled, cores, read_board
from benchmarks.sqs import server, show

ROUNDS = 3
SECONDS = 4.0
EIGHT = 8
STORE = "progress.db"
MANY = 99_000_000
"""Messages, of which no server runs out."""

_PATIENCE = 60.0
_SOON = 0.05


@dataclass(frozen=True)
class Measured:
    """What all the processes of a side do together: messages a second, and µs of CPU for each."""

    rate: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    """How often to measure, and for how many seconds each time."""

    rounds: int
    seconds: float

    def take_turns(self, sides: Mapping[str, Scaled]) -> dict[str, Measured]:
        """Measure each side, by turns; print and return the medians."""
        found: dict[str, list[Measured]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, scaled in sides.items():
                found[name].append(self.measure(scaled))
        medians = {
            name: Measured(median(each.rate for each in several), median(each.cpu for each in several))
            for name, several in found.items()
        }
        for name, each in medians.items():
            print(f"  {name:36} {each.rate:8,.0f}/s {each.cpu:6.0f} µs of CPU each", flush=True)
        return medians

    def measure(self, scaled: Scaled) -> Measured:
        with tempfile.TemporaryDirectory() as folder:
            board = Path(folder, "board")
            board.mkdir()
            store = str(Path(folder, scaled.store)) if scaled.store else ""
            queue = f"http://sqs.example.com/canned/{MANY}/{uuid4().hex}"
            run = replace(scaled, board=str(board), store=store, queue=queue)
            with running(run):
                await_start(board, scaled.processes)
                (count, cpu), began = total(board), time.perf_counter()
                time.sleep(self.seconds)
                (last, last_cpu), took = total(board), time.perf_counter() - began
            check_store(store, last)
        return Measured((last - count) / took, (last_cpu - cpu) / max(1, last - count) * 1e6)


@contextmanager
def running(scaled: Scaled) -> Iterator[None]:
    """Run the app as its users do, and let it finish at the end."""
    options = ("--processes", str(scaled.processes), "--log-level", "warning")
    command = [sys.executable, "-m", "megaflow", "run", "benchmarks.scaled:app", *options]
    process = subprocess.Popen(command, env=scaled.variables(), stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said}")


def total(board: Path) -> tuple[int, float]:
    """Return how many messages all of them have deleted, and the seconds of CPU that they have taken."""
    found = read_board(board)
    return sum(count for count, _ in found), sum(cpu for _, cpu in found)


def await_start(board: Path, processes: int) -> None:
    """Return once each process has deleted enough to have everything imported, opened and warm."""
    deadline = time.monotonic() + _PATIENCE
    while len(found := read_board(board)) < processes or min(found)[0] < 200:
        if time.monotonic() > deadline:
            raise SystemExit(f"of {processes} processes these are under way: {found}")
        time.sleep(_SOON)


def check_store(path: str, count: int) -> None:
    """Look into the file: what was deleted has to be remembered there."""
    if not path:
        return
    with closing(sqlite3.connect(path)) as connection:
        (kept,) = connection.execute("SELECT COUNT(*) FROM progress").fetchone()
    if kept < count:
        raise SystemExit(f"the store has {kept:,} of {count:,}")


def measure_processes(bench: Bench) -> None:
    if len(cores()) < 2:
        print("two processes: left out, as there is one core", flush=True)
        return
    with ExitStack() as servers:
        urls = []
        for core in cores()[:2]:
            with on_core(core):
                urls.append(servers.enter_context(server("benchmarks.canned")))
        one = Scaled(1, urls, pinned=True)
        found = bench.take_turns({"one process": one, "two processes": replace(one, processes=2)})
    single, double = found.values()
    ratio = double.rate / single.rate
    said = f"{double.rate:,.0f}/s is {ratio:.2f} of one's; {double.cpu / single.cpu:.2f} of its CPU each"
    show("two processes", said, "1.8", ratio >= 1.8)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let what is started within a ``with`` have one core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure_store(bench: Bench) -> None:
    print(f"  an fsync takes {fsync_seconds() * 1e6:.0f} µs here", flush=True)
    with server("benchmarks.canned") as url:
        bare = Scaled(EIGHT, [url])
        for name, wait in (("no time", 0.0), ("20 ms", 0.02)):
            without = replace(bare, wait=wait)
            sides = {f"eight, {name}": without, f"eight, {name}, one store": replace(without, store=STORE)}
            base, kept = bench.take_turns(sides).values()
            ratio = kept.rate / base.rate
            show(f"a store of eight, {name}", f"{kept.rate:,.0f}/s is {ratio:.2f} of without", "0.5", ratio >= 0.5)


def fsync_seconds() -> float:
    """Return how long the disk takes to keep 4 KiB, where the store's file would be."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took)


MEASUREMENTS: dict[str, Callable[[Bench], None]] = {"processes": measure_processes, "store": measure_store}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", choices=sorted(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="half a second each, once, to see that it works")
    options = parser.parse_args()
    bench = Bench(1, 0.5) if options.quick else Bench(options.rounds, SECONDS)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    for name, measure in MEASUREMENTS.items():
        if options.only in (None, name):
            measure(bench)


if __name__ == "__main__":
    main()
