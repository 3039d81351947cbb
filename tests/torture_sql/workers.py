"""Workers as processes that can be killed, stopped, and held up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Final

from tests.torture.settings import EXIT_GRACE, SHUTDOWN_TIMEOUT
from tests.torture_sql.brief import Brief
from tests.torture_sql.worker import work

_PATIENCE: Final = 120.0

# Forked from a process that has imported everything: to start one is cheap, however often they are killed.
_processes: Final = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([work.__module__, "tests.torture_sql.run", "boto3", "psycopg", "asyncpg"])


class Worker:
    """One worker process. It *leaves* once it was asked to."""

    def __init__(self, brief: Brief, log: Path) -> None:
        self.brief = brief
        self._log = log
        self._started_at = time.monotonic()
        self._asked_at: float | None = None
        self._paused_until: float | None = None
        self._process = _processes.Process(target=work, args=(brief, log))
        self._process.start()

    def __str__(self) -> str:
        return f"{self.brief.role} {self._process.pid} ({self.brief.queue})"

    @property
    def is_ready(self) -> bool:
        """Whether it can be signalled."""
        return Path(self.brief.ready).exists()

    @property
    def leaves(self) -> bool:
        return self._asked_at is not None

    @property
    def is_paused(self) -> bool:
        return self._paused_until is not None

    def stop(self) -> None:
        """Ask it to stop."""
        self._asked_at = self._asked_at or time.monotonic()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def pause(self, seconds: float) -> None:
        """Hold it up, until `go_on` finds that it is time."""
        self._signal(signal.SIGSTOP)
        self._paused_until = time.monotonic() + seconds

    def go_on(self, *, now: bool = False) -> None:
        """Let it go on where it was held up long enough, or *now*."""
        if self._paused_until is not None and (now or time.monotonic() > self._paused_until):
            self._signal(signal.SIGCONT)
            self._paused_until = None

    def exit_code(self) -> int | None:
        """Return how it has ended, or None while it has not."""
        return self._process.exitcode

    def last_words(self) -> str:
        """Return the end of its log, and where it is."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return f"{lines[-1] if lines else 'nothing'!r} ({self._log})"

    def is_overdue(self) -> bool:
        """Tell whether it takes too long to stop, or to start."""
        if self._asked_at is not None:
            return time.monotonic() > self._asked_at + SHUTDOWN_TIMEOUT + EXIT_GRACE
        return not self.is_ready and time.monotonic() > self._started_at + _PATIENCE

    def _signal(self, number: signal.Signals) -> None:
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, number)
