"""The server and the consumers, as processes that can be killed."""

from __future__ import annotations

import random
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.torture.consumer_script import Orders
from tests.torture.settings import EXIT_GRACE, SHUTDOWN_TIMEOUT, without_aws

ROOT: Final = Path(__file__).resolve().parents[2]

_PATIENCE: Final = 60.0
_PORTS: Final = (20_000, 32_000)
"""Below those that the system gives to clients: one of these could take the port while the server is down."""


class Server:
    """``python -m megaflow.local`` on one port and one file, however often it is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._popen: subprocess.Popen[str] | None = None
        self.port = find_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        return self._popen is not None

    def start(self) -> None:
        """Start it, and return when it answers."""
        deadline = time.monotonic() + _PATIENCE
        while not self._try_start():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server did not start: see {self._folder / 'server.log'}")
            time.sleep(0.2)

    def has_died(self) -> bool:
        """Tell whether it ended although nobody killed it."""
        return self._popen is not None and self._popen.poll() is not None

    def kill(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._close()

    def _try_start(self) -> bool:
        command = [sys.executable, "-m", "megaflow.local", "--port", str(self.port)]
        with (self._folder / "server.log").open("a") as log:
            self._popen = subprocess.Popen(
                [*command, "--data", str(self._folder / "queue.db")],
                cwd=ROOT,
                env=without_aws(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._popen.stdout is not None
        ready, _, _ = select.select([self._popen.stdout], [], [], _PATIENCE)
        if ready and self._popen.stdout.readline():
            return True
        self.kill()
        return False

    def _close(self) -> None:
        if self._popen is not None and self._popen.stdout is not None:
            self._popen.stdout.close()
        self._popen = None


class Consumer:
    """One consumer process. It *leaves* once it was asked to."""

    def __init__(self, orders: Orders, log: Path) -> None:
        self.queue = orders.queue
        self.log = log
        self._ready = Path(orders.ready)
        self._unwell = Path(orders.unwell)
        self.started_at = time.monotonic()
        self._asked_at: float | None = None
        with log.open("w") as stream:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.consumer_script", orders.dump()],
                cwd=ROOT,
                env=without_aws(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        self.pid = self._popen.pid

    @property
    def is_ready(self) -> bool:
        """Whether it can be signalled."""
        return self._ready.exists()

    @property
    def is_well(self) -> bool:
        """Whether it has found its store well, and nothing else since."""
        return not self._unwell.exists()

    @property
    def leaves(self) -> bool:
        return self._asked_at is not None

    def stop(self) -> None:
        """Ask it to stop, or do so once more."""
        self._asked_at = self._asked_at or time.monotonic()
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def exit_code(self) -> int | None:
        """Return how it has ended, or None while it has not."""
        return self._popen.poll()

    def last_words(self) -> str:
        """Return the end of its log, and where it is."""
        lines = self.log.read_text(errors="replace").splitlines()
        return f"{lines[-1] if lines else 'nothing'!r} ({self.log})"

    def is_overdue(self) -> bool:
        """Tell whether it takes too long to stop, or to start."""
        if self._asked_at is not None:
            return time.monotonic() > self._asked_at + SHUTDOWN_TIMEOUT + EXIT_GRACE
        return not self.is_ready and time.monotonic() > self.started_at + _PATIENCE


def find_port() -> int:
    """Return a port that nobody listens to."""
    for _ in range(100):
        port = random.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")
