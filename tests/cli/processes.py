"""Commands that run until they are told to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from queue import Empty, Queue
from typing import Final

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
MEGAFLOW: Final = (sys.executable, "-m", "megaflow")


class Process:
    """A command that runs, and what it says, line by line."""

    def __init__(self, *arguments: str, command: Sequence[str] = MEGAFLOW) -> None:
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        # A carriage return is not to pass for the end of a line.
        self._stream = TextIOWrapper(self._process.stdout, "utf-8", newline="\n")
        self._lines: Queue[str] = Queue()
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line.rstrip("\n"))

    def wait_for(self, wanted: str) -> str:
        """Return the next line in which *wanted* is found, a regular expression."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"{wanted!r} was not said, but:\n" + "\n".join(self.said)) from None
            self.said.append(line)
            if re.search(wanted, line):
                return line

    def wait_for_all(self, *wanted: str) -> None:
        """Return once it has said all of *wanted*, each a regular expression, in whatever order."""
        for each in wanted:
            if not any(re.search(each, line) for line in self.said):
                self.wait_for(each)

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Press Ctrl-C, or send another signal that means the same."""
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop it as a user does, and return its exit code."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Return its exit code once it has ended."""
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._stream.close()


@contextmanager
def piped(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command with a pipe for each of its streams, and kill it at the end."""
    command = [sys.executable, "-m", "megaflow", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running(*arguments: str, command: Sequence[str] = MEGAFLOW) -> Iterator[Process]:
    process = Process(*arguments, command=command)
    try:
        yield process
    finally:
        process.kill()
