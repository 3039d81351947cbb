"""The embedded server beside others that speak SQS: moto, ministack and fauxqs, measured side by side.

``python -m benchmarks.compare [--install DIR] [--only NAME ...] [--quick]``, or ``make bench-compare``. Each is
installed by itself, with pip or npm, and left out where it cannot be had. It prints a table in Markdown, of medians:
in each round each has its turn, while the others are stopped. Times drift on shared machines: read the ratios to
megaflow, in brackets. Memory and CPU are read from ``/proc``, so it needs Linux.

One client calls them all: `http.client` with the JSON protocol on one connection, without an SDK, and without working
out a signature. What it takes itself is said below the table.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.servers import KINDS, Failed, Kind, Server, running

SHALLOW = 10
BODY = "x" * 570
TEN = [{"Id": str(number), "MessageBody": BODY} for number in range(10)]
OPERATIONS = ("send, one a call", "send, ten a call", "receive, ten a call", "delete, ten a call")
BEFORE_SENDING = 0.1
"""Seconds that a long poll is given to reach the server."""

ROUND = 100
"""Figures from here on are shown without a fraction."""

ROUND = 100


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 7
    deep: int = 100_000
    seconds: float = 3.0
    """Of each round, at each depth."""

    within: float = 180.0
    """Seconds after which a queue that is not filled by then is left alone."""

    wakes: int = 20
    kills: int = 3
    suite: bool = True


QUICK = Effort(rounds=2, deep=1_000, seconds=0.2, within=20, wakes=3, kills=1, suite=False)

Figures = dict[str, list[float]]
"""What was measured in each round, by the row it belongs in."""


@dataclass
class Load:
    """A queue of a certain depth, and cycles of calls that leave it as deep as it was."""

    server: Server
    depth: int
    why_not: str = ""
    url: str = ""
    spent: dict[str, list[float]] = field(default_factory=dict)

    def fill(self, within: float) -> None:
        self.url, until = self.server.queue(f"depth-{self.depth}"), time.perf_counter() + within
        for sent in range(0, self.depth, 10):
            if time.perf_counter() > until:
                self.why_not = f"not within {within:.0f} s, only {sent:,}"
                return
            try:
                self.server.call("SendMessageBatch", QueueUrl=self.url, Entries=TEN)
            except Failed as failed:
                self.why_not = str(failed)
                return

    def round(self, seconds: float) -> Figures:
        """Return messages a second of each operation, and the server's CPU for all that a message takes, in µs."""
        self.spent = {each: [0, 0.0] for each in OPERATIONS}
        until, cpu = time.perf_counter() + seconds, self.server.cpu()
        while time.perf_counter() < until:
            self._cycle()
        each = (self.server.cpu() - cpu) / self.spent[OPERATIONS[3]][0] * 1e6
        rates = {f"{what}, of {self.depth:,}": [count / taken] for what, (count, taken) in self.spent.items()}
        return {**rates, f"CPU of {self.depth:,}": [each]}

    def _cycle(self) -> None:
        for _ in range(10):
            self._timed(OPERATIONS[0], 1, "SendMessage", MessageBody=BODY)
        self._timed(OPERATIONS[1], 10, "SendMessageBatch", Entries=TEN)
        left = 20
        while left > 0:
            handles = self._receive()
            left -= len(handles)
            entries = [{"Id": str(number), "ReceiptHandle": each} for number, each in enumerate(handles)]
            self._timed(OPERATIONS[3], len(handles), "DeleteMessageBatch", Entries=entries)

    def _receive(self) -> list[str]:
        answer = self._timed(OPERATIONS[2], 0, "ReceiveMessage", MaxNumberOfMessages=10, VisibilityTimeout=3600)
        handles = [each["ReceiptHandle"] for each in answer.get("Messages", [])]
        if not handles:
            raise Failed("ReceiveMessage finds nothing in a queue that is not empty")
        self.spent[OPERATIONS[2]][0] += len(handles)
        return handles

    def _timed(self, what: str, messages: int, operation: str, **asked: Any) -> dict[str, Any]:
        begun = time.perf_counter()
        answer = self.server.call(operation, QueueUrl=self.url, **asked)
        self.spent[what][0] += messages
        self.spent[what][1] += time.perf_counter() - begun
        return answer


def wake(server: Server, times: int) -> Figures:
    """Return the ms from sending a message to the answer of the receive that waits for it."""
    url, waiting, taken = server.queue("wakes"), server.client(), []
    for _ in range(times):
        answered: list[float] = []

        def wait(answered: list[float] = answered) -> None:
            with suppress(Failed):
                waiting.call("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20, VisibilityTimeout=3600)
                answered.append(time.perf_counter())

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(BEFORE_SENDING)
        sent = time.perf_counter()
        server.call("SendMessage", QueueUrl=url, MessageBody=BODY)
        thread.join()
        taken += [(each - sent) * 1000 for each in answered]
    waiting.hang_up()
    return {"wake-up": taken}


def kill(kind: Kind, folder: Path) -> tuple[int, int]:
    """Send for a second, kill the server, start it again; return how many sends it answered, and how many are there."""
    server, answered = kind.start(folder), 0
    killer = threading.Timer(1.0, server.process.kill)
    killer.start()
    url = server.queue("kept")
    while True:
        try:
            server.call("SendMessage", QueueUrl=url, MessageBody=str(answered))
        except Failed:
            break
        answered += 1
    killer.join()
    server.kill()
    with running(kind, folder) as again:
        return answered, len({*range(answered)} & set(_bodies(again)))


def _bodies(server: Server) -> list[int]:
    url, found = server.queue("kept"), []
    hidden = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 43_200}
    while messages := server.call("ReceiveMessage", QueueUrl=url, **hidden).get("Messages"):
        found += [int(each["Body"]) for each in messages]
    return found


def suite(kind: Kind, folder: Path) -> str:
    """Return how many cases of the conformance suite hold, of how many."""
    with running(kind, folder) as server:
        told = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/conformance", "-q", "--tb=no", "-r", "N"],
            env=os.environ | {"MEGAFLOW_CONFORMANCE_URL": server.url},
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (passed|failed|error)", told.splitlines()[-1])}
    return f"{counts.get('passed', 0)} of {sum(counts.values())}"


@dataclass
class Column:
    """What was found out of one server."""

    kind: Kind
    figures: Figures = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    loads: list[Load] = field(default_factory=list)

    def note(self, figures: Figures) -> None:
        for name, values in figures.items():
            self.figures.setdefault(name, []).extend(values)

    def start_once(self, folder: Path) -> None:
        with running(self.kind, folder) as server:
            self.note({"start": [server.seconds_to_start * 1000], "memory": [server.memory()]})

    def fill(self, server: Server, effort: Effort) -> None:
        self.loads = [Load(server, SHALLOW), Load(server, effort.deep)]
        for load in self.loads:
            load.fill(effort.within)
        say(f"{self.kind.name}: filled")
        self.words["memory when deep"] = self.loads[1].why_not
        if not self.loads[1].why_not:
            self.note({"memory when deep": [server.memory()]})

    def measure(self, server: Server, effort: Effort) -> None:
        for load in self.loads:
            try:
                if not load.why_not:
                    self.note(load.round(effort.seconds))
            except Failed as failed:
                load.why_not = str(failed)
        self.note(wake(server, effort.wakes))


def compare(kinds: Sequence[Kind], effort: Effort, folder: Path) -> list[Column]:
    columns = [Column(each) for each in kinds]
    for number in range(effort.rounds):
        for at, column in enumerate(columns):
            column.start_once(folder / f"start-{number}-{at}")
    say("started")
    with ExitStack() as stack:
        servers = [stack.enter_context(running(each.kind, folder / f"load-{at}")) for at, each in enumerate(columns)]
        for server in servers:
            server.pause()
        in_turn(columns, servers, lambda column, server: column.fill(server, effort))
        for number in range(effort.rounds):
            in_turn(columns, servers, lambda column, server: column.measure(server, effort))
            say(f"round {number + 1} of {effort.rounds}")
    for at, column in enumerate(columns):
        killed = [kill(column.kind, folder / f"kill-{at}-{number}") for number in range(effort.kills)]
        sent, kept = (sum(each) for each in zip(*killed, strict=True))
        column.words["kept"] = f"{kept:,} of {sent:,}" if column.kind.keeps else "nothing, in memory"
        column.words["suite"] = "likewise" if column.kind.variant else "not tried"
        if effort.suite and not column.kind.variant:
            column.words["suite"] = suite(column.kind, folder / f"suite-{at}")
        say(f"{column.kind.name}: killed, and tried with the suite")
    return columns


def in_turn(columns: Sequence[Column], servers: Sequence[Server], act: Callable[[Column, Server], None]) -> None:
    for column, server in zip(columns, servers, strict=True):
        server.go_on()
        server.hang_up()  # it may have lost its patience with the connection meanwhile
        act(column, server)
        server.pause()


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def rows(deep: int) -> dict[str, str]:
    """Return what is shown of each figure, by its name."""
    shown = {
        "start": "start to first queue, ms",
        "memory": "memory after the start, MB",
        "memory when deep": f"memory with {deep:,} messages, MB",
    }
    for depth in (SHALLOW, deep):
        shown |= {f"{each}, of {depth:,}": f"{each}, at {depth:,}: messages/s" for each in OPERATIONS}
        shown[f"CPU of {depth:,}"] = f"the server's CPU for a message, at {depth:,}, µs"
    return {
        **shown,
        "wake-up": "a long poll wakes up within, ms",
        "kept": "there after `kill -9`, of those sent",
        "suite": "cases of the conformance suite",
    }


def cell(column: Column, first: Column, name: str, deep: int) -> str:
    if name not in column.figures:
        load = next((each for each in column.loads if name.endswith(f"of {each.depth:,}")), None)
        return column.words.get(name) or (load.why_not if load is not None else "") or "not measured"
    mine = median(column.figures[name])
    shown = f"{mine:,.1f}" if mine < ROUND else f"{mine:,.0f}"
    if column is first or name not in first.figures:
        return shown
    return f"{shown} ({mine / median(first.figures[name]):.2f})"


def show(columns: Sequence[Column], deep: int) -> None:
    print("| |" + "".join(f" {each.kind.name} |" for each in columns))
    print("|---|" + "---|" * len(columns))
    for name, title in rows(deep).items():
        print(f"| {title} |" + "".join(f" {cell(each, columns[0], name, deep)} |" for each in columns))


def client_cost(server: Server, calls: int = 2_000) -> float:
    """Return the µs of CPU that the client itself takes for sending ten messages in a call."""
    url, begun = server.queue("cost"), time.process_time()
    for _ in range(calls):
        server.call("SendMessageBatch", QueueUrl=url, Entries=TEN)
    return (time.process_time() - begun) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--install", type=Path, metavar="DIR", help="keep what is installed in this folder")
    parser.add_argument("--only", nargs="+", default=[each.name for each in KINDS], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="a few rounds at a depth of 1,000, to see that it works")
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--no-suite", action="store_true", help="leave the conformance suite out, which takes minutes")
    options = parser.parse_args()
    effort = QUICK if options.quick else Effort(rounds=options.rounds, suite=not options.no_suite)
    with tempfile.TemporaryDirectory() as folder:
        there = [each.installed_in(options.install or Path(folder, "installed")) for each in KINDS]
        asked = [each for each in there if each.name in options.only]
        missing = {each.name: why for each in asked if (why := each.missing())}
        for name, why in missing.items():
            print(f"left out: {name}, which cannot be had here: {why}")
        kinds = [each for each in asked if each.name not in missing]
        columns = compare(kinds, effort, Path(folder))
        show(columns, effort.deep)
        with running(kinds[0], Path(folder, "cost")) as server:
            cost = client_cost(server)
    print(
        f"\nPython {sys.version.split()[0]}, {os.cpu_count()} cores; the client takes {cost:.0f} µs of CPU for a call"
    )


if __name__ == "__main__":
    main()
