"""Programs in processes of their own, each forked from one that has imported what most of them need.

To start Python, and to import megaflow and boto3, takes ten times as long as what most of them do. Where the start
itself is tested, as with an extra that is missing, a program needs a `subprocess`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[1]
_PROCESSES: Final = multiprocessing.get_context("forkserver")


class Program:
    """A script, a module after ``-m``, or code after ``-c``, with the part of `subprocess.Popen` that tests use.

    *stdout* and *stderr* may be ``subprocess.PIPE``, and *stderr* ``subprocess.STDOUT``.
    """

    def __init__(
        self,
        *arguments: str,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.returncode: int | None = None
        self.stdout, out = _open(stdout, 1)
        self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _open(stderr, 2)
        told = (arguments, str(cwd or Path.cwd()), dict(os.environ if env is None else env), (out, err))
        self._process = _PROCESSES.Process(target=_run, args=told)
        _PROCESSES.set_forkserver_preload(["tests.preloaded"])
        with chdir(ROOT):  # where what is preloaded is found
            self._process.start()
        out.close()
        err.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended."""
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and return what it has said to stdout and stderr."""
        with ThreadPoolExecutor(2) as readers:
            said = [readers.submit(stream.read) for stream in (self.stdout, self.stderr) if stream is not None]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            texts = [each.result() for each in said]
        return texts.pop(0) if self.stdout else "", texts.pop(0) if self.stderr else ""

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def run(
    *arguments: str, cwd: str | Path | None = None, env: Mapping[str, str] | None = None, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and return what it has said."""
    with Program(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=env) as program:
        out, err = program.communicate(timeout)
        return subprocess.CompletedProcess(arguments, program.wait(), out, err)


def _open(wanted: int | None, inherited: int) -> tuple[IO[str] | None, Connection]:
    """Return what to read from, and what the program is to write to."""
    if wanted is None:
        return None, Connection(os.dup(inherited), readable=False)
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader:
        return os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="surrogateescape", newline="\n"), writer


def _run(arguments: Sequence[str], cwd: str, environment: Mapping[str, str], streams: tuple[Connection, ...]) -> None:
    """Be that program: in the new process."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
    for stream in set(streams):
        stream.close()
    sys.stdout = os.fdopen(1, "w", 1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    first, *rest = arguments
    if first == "-m":
        sys.argv[:] = rest
        sys.path.insert(0, cwd)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        sys.path.insert(0, cwd)
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[:] = arguments
        sys.path.insert(0, str(Path(first).parent.absolute()))
        runpy.run_path(first, run_name="__main__")
