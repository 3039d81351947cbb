"""Outages of a store, real ones, for which nobody needs to be root: locks, a folder moved away, a disk that fails."""

from __future__ import annotations

import fcntl
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

from megaflow import SqliteStore
from tests.torture.chaos import Act
from tests.torture.ledger import Ledger, What

_PATIENCE: Final = 5.0
"""Seconds to wait for those who write before locking them out."""

_LOOK_AGAIN: Final = 0.005
_IN_USE: Final = (510, 0x4000_0002)
"""How many bytes of the file whoever uses it locks, and from which on: https://www.sqlite.org/fileformat2.html"""

_WAL_LOCKS: Final = (8, 120)
"""The same for the locks in the ``-shm`` file: https://www.sqlite.org/walformat.html#wal_locks"""


class StoreFaults:
    """What befalls the store of a *queue*, in an SQLite file: one thing at a time, for a while. For one thread."""

    def __init__(self, folder: Path, queue: str, ledger: Ledger) -> None:
        self._folder = folder
        self._queue = queue
        self._ledger = ledger
        self._harmed: Sequence[int] = ()
        self._undo = ExitStack()
        self._ends_at = 0.0
        self._is_harmed = False
        self.healed_at = 0.0
        """When the latest outage was over, by the monotonic clock."""

    @property
    def path(self) -> Path:
        """The file of the store."""
        return self._folder / "store.db"

    @property
    def is_harmed(self) -> bool:
        """Whether something befalls it now."""
        return self._is_harmed

    @property
    def address(self) -> str:
        """Where consumers find the store."""
        return str(self.path)

    def tell(self, act: Act) -> str:
        """Say what befalls it."""
        return act.value

    def make(self) -> None:
        """Make the store."""
        self._folder.mkdir(parents=True)
        with SqliteStore(self.path) as store:
            store.check()

    def harm(self, act: Act, seconds: float, pids: Sequence[int]) -> bool:
        """Let something befall the store, or the processes *pids* that use it; tell whether that could be done."""
        if self._is_harmed:
            return False
        try:
            self._undo = self._begin(act, pids)
        except (sqlite3.OperationalError, OSError):
            # So busy that nobody can get in, or nobody uses it.
            return False
        self._is_harmed, self._ends_at = True, time.monotonic() + seconds
        self._harmed = pids
        self._note(What.OUT)
        return True

    def tick(self) -> None:
        """End what has lasted long enough."""
        if self._is_harmed and time.monotonic() >= self._ends_at:
            self.heal()

    def heal(self) -> None:
        """End what befalls it."""
        if self._is_harmed:
            self._note(What.HEALED)
            self._undo.close()
            self._is_harmed, self.healed_at = False, time.monotonic()

    def close(self) -> None:
        """End all of it."""
        self.heal()

    def _note(self, what: What) -> None:
        for pid in self._harmed:
            self._ledger.note(what, queue=self._queue, pid=pid)

    def _begin(self, act: Act, pids: Iterable[int]) -> ExitStack:
        with ExitStack() as undo:
            if act is Act.FAIL_DISK:
                for pid in pids:
                    undo.callback(partial(_let_write, pid, _stop_writes(pid)))
            elif act is Act.SHUT_STORE:
                undo.callback(_lock_all(self.path))
            else:
                undo.callback(_lock_writes(self.path))
            if act is Act.MOVE_STORE:
                away = self._folder.rename(self._folder.with_name(f"{self._folder.name}.away"))
                undo.callback(away.rename, self._folder)
            return undo.pop_all()


def _lock_writes(path: Path) -> Callable[[], None]:
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except BaseException:
        connection.close()
        raise
    # What is begun is taken back.
    return connection.close


def _lock_all(path: Path) -> Callable[[], None]:
    """Take every lock that a reader or a writer would need, as one more who has the file open."""
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as undo:
        # Else the last one to close it would make new locks for the next.
        fcntl.lockf(_open(path, undo), fcntl.LOCK_SH | fcntl.LOCK_NB, *_IN_USE)
        locks = _open(path.with_name(f"{path.name}-shm"), undo)
        while not _try_lock(locks):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(_LOOK_AGAIN)
        return undo.pop_all().close


def _open(path: Path, undo: ExitStack) -> int:
    fd = os.open(path, os.O_RDWR)
    undo.callback(os.close, fd)
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, *_WAL_LOCKS)
    except BlockingIOError:
        return False
    return True


def _stop_writes(pid: int) -> tuple[int, int]:
    """Let no write to a file succeed in a process, and return what its limits were."""
    try:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    except ProcessLookupError:
        return resource.RLIM_INFINITY, resource.RLIM_INFINITY
    return soft, hard


def _let_write(pid: int, limits: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
