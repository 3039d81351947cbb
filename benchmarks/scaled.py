"""The app that `benchmarks.scale` runs in several processes, and the board on which each says how far it is.

The environment says what it is: `Scaled` writes it there, and reads it.
"""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.sqs import connect
from megaflow import App, SqliteStore
from megaflow.app import parts_of
from megaflow.telemetry.metrics import Told

VARIABLE = "MEGAFLOW_BENCHMARKS_SCALE"
_ENTRY = struct.Struct("qd")


@dataclass(frozen=True)
class Scaled:
    """What is run: so many processes, which take turns to take a server, and each a core where *pinned*.

    Args:
        board: A folder.
        wait: Seconds that each handler waits.
        store: The file in which progress is kept; ``""`` for none.
    """

    processes: int
    servers: Sequence[str]
    queue: str = ""
    board: str = ""
    pinned: bool = False
    wait: float = 0.0
    store: str = ""

    def variables(self) -> dict[str, str]:
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}

    def make_app(self) -> App:
        """Return the app; a parent that only watches its children gets no place on the board."""
        consumes = self.processes == 1 or multiprocessing.parent_process() is not None
        place, entry = make_entry(Path(self.board)) if consumes else (0, None)
        if self.pinned and consumes:
            os.sched_setaffinity(0, {cores()[place % len(cores())]})
        store = SqliteStore(self.store) if self.store else None
        app = App(self.queue, client=connect(self.servers[place % len(self.servers)]), progress=store)
        app.on_data({"type": "order.placed"})(self.handle if self.wait else do_nothing)
        if entry is not None:
            count_deleted(app, entry)
        return app

    def handle(self, data: dict[str, Any]) -> None:
        time.sleep(self.wait)


def do_nothing(data: dict[str, Any]) -> None:
    """Handle a message."""


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def make_entry(board: Path) -> tuple[int, mmap.mmap]:
    """Return the next free place on the board, and the entry there: a file in memory, which others read."""
    place = 0
    while True:
        try:
            with (board / str(place)).open("x+b") as file:
                file.write(bytes(_ENTRY.size))
                file.flush()
                return place, mmap.mmap(file.fileno(), _ENTRY.size)
        except FileExistsError:
            place += 1


def read_board(board: Path) -> list[tuple[int, float]]:
    """Return how many messages each process has deleted, and the seconds of CPU it has taken."""
    found = [file.read_bytes() for file in board.iterdir()]
    return [_ENTRY.unpack(each) for each in found if len(each) == _ENTRY.size]


def count_deleted(app: App, entry: mmap.mmap) -> None:
    outlets = parts_of(app).outlets
    note, total = outlets.note, 0

    def note_and_count(queue: str, counts: Mapping[Told, int], *values: Mapping[Told, Sequence[float]]) -> None:
        nonlocal total
        note(queue, counts, *values)
        if deleted := counts.get(("deleted",)):
            total += deleted
            _ENTRY.pack_into(entry, 0, total, time.process_time())

    outlets.note = note_and_count  # type: ignore[assignment, method-assign]


if VARIABLE in os.environ:
    app = Scaled(**json.loads(os.environ[VARIABLE])).make_app()
