"""Notes: a line in a file for whatever a process does, which is there whole whatever becomes of the process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Did(StrEnum):
    """What can be noted of an order."""

    WRITES = "writes"
    """It is about to be written, in a transaction whose end nobody knows yet."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"
    """The writer was told so. One that is killed in between is not; the database knows."""

    RUNS = "runs"
    """A handler has got it."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line. Times are in seconds of the machine's monotonic clock."""

    at: float
    pid: int
    did: Did
    kind: str
    id: str


class Notes:
    """Appends to *path*. May be used from any thread, and by many processes at once."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, did: Did, kind: str, id_: str) -> None:
        os.write(self._fd, f"{time.monotonic():.3f} {os.getpid()} {did} {kind} {id_}\n".encode())


def read_notes(path: Path) -> list[Note]:
    """Return what was noted, in the order in which it happened."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Note(float(at), int(pid), Did(did), kind, id_) for at, pid, did, kind, id_ in map(str.split, lines)]
