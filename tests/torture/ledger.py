"""The ledger: one line for everything that happened, from every process, in one order."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Key(NamedTuple):
    """What a producer calls a message. A standard queue has one group, the empty one."""

    group: str
    number: int


class What(StrEnum):
    """What can happen."""

    SENDING = "sending"
    """It is sent for the first time; until `SENT` follows it may or may not be in the queue."""

    SENT = "sent"
    START = "start"
    END = "end"
    FATAL = "fatal"
    LATER = "later"
    ERROR = "error"
    CANCELLED = "cancelled"
    """How a run can end, said by the handler right before it returns or raises."""

    STOP = "stop"
    """A consumer is about to get a SIGTERM."""

    GONE = "gone"
    """A consumer has ended, or is about to and handles nothing any more."""

    FAULT = "fault"
    """For so many seconds nobody can rely on the network or on the server."""

    LATE = "late"
    """A process did not get on for so many seconds: the machine is busy with something else."""


RUN_ENDS = frozenset({What.END, What.FATAL, What.LATER, What.ERROR, What.CANCELLED})
COMPLETIONS = frozenset({What.END, What.FATAL})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. Times are in seconds of the machine's monotonic clock, which all processes share."""

    what: What
    at: float
    pid: int
    queue: str = ""
    group: str = ""
    number: int = -1
    message_id: str = ""
    receive_count: int = 0
    seconds: float = 0.0
    text: str = ""

    @property
    def key(self) -> Key:
        """The message, by its producer's name for it."""
        return Key(self.group, self.number)


class Ledger:
    """Appends to the file *path*. May be used from any thread, and by many processes at once."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(
        self,
        what: What,
        *,
        queue: str = "",
        key: Key = Key("", -1),  # noqa: B008 - it is immutable
        message_id: str = "",
        receive_count: int = 0,
        seconds: float = 0.0,
        text: str = "",
        pid: int | None = None,
    ) -> None:
        """Append one line at once: it is there whole, whatever becomes of the process."""
        now, pid = time.monotonic(), os.getpid() if pid is None else pid
        entry = Entry(what, now, pid, queue, key.group, key.number, message_id, receive_count, seconds, text)
        os.write(self._fd, f"{json.dumps(asdict(entry))}\n".encode())

    def close(self) -> None:
        os.close(self._fd)


def read_entries(path: Path) -> list[Entry]:
    """Return what the ledger says, in the order in which it happened."""
    with path.open(encoding="utf-8") as lines:
        return [_read_entry(line) for line in lines]


def _read_entry(line: str) -> Entry:
    said = json.loads(line)
    return Entry(**said | {"what": What(said["what"])})
