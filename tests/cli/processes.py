"""Commands that run until they are told to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from queue import Empty, Queue
from typing import IO, Final

from tests.forked import ROOT, Program
from tests.waiting import PATIENCE

MEGAFLOW: Final = ("-m", "megaflow")


class Process:
    """A command that runs, and what it says, line by line."""

    def __init__(self, process: Program | subprocess.Popen[bytes], stream: IO[str]) -> None:
        self._process = process
        self._stream = stream
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
def piped(*arguments: str) -> Iterator[Program]:
    """Run a command of ours with a pipe for what it says and one for its errors, and kill it at the end."""
    with Program(*MEGAFLOW, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            yield program
        finally:
            program.kill()


@contextmanager
def running(*arguments: str, program: Sequence[str] = MEGAFLOW) -> Iterator[Process]:
    """Run a command of ours, or another *program* in Python."""
    started = Program(*program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert started.stdout is not None
    with _killed_at_the_end(Process(started, started.stdout)) as process:
        yield process


@contextmanager
def running_command(*command: str) -> Iterator[Process]:
    """Run a command that is none of ours, or that has to be started as users start it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert started.stdout is not None
    # A carriage return is not to pass for the end of a line.
    with _killed_at_the_end(Process(started, TextIOWrapper(started.stdout, "utf-8", newline="\n"))) as process:
        yield process


@contextmanager
def _killed_at_the_end(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.kill()
