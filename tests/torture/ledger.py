"""The ledger: one line for everything that happened, from every process, in one order.

It is written through a pipe, since the disk of whoever writes may fail.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import threading
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

_PIPE_SIZE: Final = 1 << 20
_LOOK_AGAIN: Final = 0.05


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

    ASKED = "asked"
    """A consumer is about to ask its store what is remembered of a message."""

    CLAIMING = "claiming"
    """A consumer is about to ask its store whose turn it is, by the idempotency key of a message."""

    REMEMBERED = "remembered"
    """A store has taken that a handler has finished a message; the consumer may know it, or be killed before."""

    KEY_DONE = "key done"
    """A store has taken that a handler has done its work for the idempotency key of a message."""

    FAILED = "failed"
    """A store has failed with what a consumer asked, but for a renewal, without which it goes on."""

    UNWELL = "unwell"
    """A consumer has checked its store in vain."""

    WELL = "well"
    """A consumer has found its store well."""

    REFUSED = "refused"
    """A consumer ends, as its store could not be opened or written at the start."""

    OUT = "out"
    """From now on a consumer can write nothing to its store."""

    HEALED = "healed"
    """It is about to be able to do so again."""

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
    work: str = ""
    """The message, by the name that a store has for it."""

    received: int = 0
    """What a consumer has received until then, where it uses its store."""

    most: int = 0
    """How many runs of this handler a consumer may have at once; 0 is as many as there are."""

    @property
    def key(self) -> Key:
        """The message, by its producer's name for it."""
        return Key(self.group, self.number)


class Ledger:
    """Appends to *path*, a pipe or a file. May be used from any thread, and by many processes at once."""

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
        work: str = "",
        received: int = 0,
        most: int = 0,
        pid: int | None = None,
    ) -> None:
        """Append one line at once: it is there whole, whatever becomes of the process."""
        now, pid = time.monotonic(), os.getpid() if pid is None else pid
        about = (queue, key.group, key.number, message_id, receive_count, seconds, text, work, received, most)
        entry = Entry(what, now, pid, *about)
        os.write(self._fd, f"{json.dumps(asdict(entry))}\n".encode())

    def close(self) -> None:
        os.close(self._fd)


class LedgerPipe:
    """A pipe at *path*, whose lines go into the *file* until it is closed; those who write have closed it before."""

    def __init__(self, path: Path, file: Path) -> None:
        os.mkfifo(path, 0o600)
        # To write as well: it does not end while nobody else does.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._file = file
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, name="torture-ledger", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write down what is left."""
        self._ends.set()
        self._thread.join()
        os.close(self._fd)

    def _pass_on(self) -> None:
        with self._file.open("ab", buffering=0) as file:
            while self._is_readable() or not self._ends.is_set():
                if self._is_readable():
                    file.write(os.read(self._fd, _PIPE_SIZE))

    def _is_readable(self) -> bool:
        return bool(select.select([self._fd], [], [], _LOOK_AGAIN)[0])


def read_entries(path: Path) -> list[Entry]:
    """Return what the ledger says, in the order in which it happened."""
    with path.open(encoding="utf-8") as lines:
        return [_read_entry(line) for line in lines]


def _read_entry(line: str) -> Entry:
    said = json.loads(line)
    return Entry(**said | {"what": What(said["what"])})
