"""A terminal: commands typed into one shell, one after another, each with its exit code and what it printed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Final

from tests.forked import ROOT
from tests.waiting import PATIENCE

_END: Final = "the command has ended with"


class Terminal:
    """A shell of one's own: what a command sets stays for the next one."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            self._lines.put(line.rstrip("\n"))

    def type(self, command: str) -> tuple[int, list[str]]:
        """Type a command, wait for its end, and return its exit code and the lines that it printed."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{command}\nprintf '\\n{_END} %s\\n' $?\n")
        self._shell.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        printed: list[str] = []
        while not (printed and printed[-1].startswith(_END)):
            try:
                printed.append(self._lines.get(timeout=max(0.01, deadline - time.monotonic())))
            except Empty:
                raise AssertionError(f"{command} does not end:\n" + "\n".join(printed)) from None
        return int(printed[-1].removeprefix(_END)), printed[:-1]

    def close(self) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        os.killpg(self._shell.pid, signal.SIGKILL)  # with what it has started in the background
        self._shell.wait()
        self._reader.join()
        self._shell.stdin.close()
        self._shell.stdout.close()


@contextmanager
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    try:
        yield opened
    finally:
        opened.close()
