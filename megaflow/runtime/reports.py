"""Reports: what children tell the process that has started them of their metrics, by a pipe, a line at a time.

A line has what has changed since the one before, as it is now: what is lost with a child that is killed is what it
counted since its last line. A line that is not whole is not read.
"""

from __future__ import annotations

import json
import os
import threading
from multiprocessing.connection import Connection
from typing import Final

from megaflow.logs import get_logger
from megaflow.telemetry.metrics import Measurements, Series, merge, without_gauges

log = get_logger(__name__)

BETWEEN: Final = 0.5
"""Seconds between two reports."""

_LAST: Final = 1.0
"""Seconds that a child waits at its end for its last report to be taken."""

_READ: Final = 1 << 16


class Reporter:
    """Reports *measurements* to *pipe*, from a thread of its own: a parent that does not read holds up nothing else."""

    def __init__(self, measurements: Measurements, pipe: Connection) -> None:
        measurements.is_read = True
        self._measurements = measurements
        self._pipe = pipe
        self._reported: Series = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report_forever, name="megaflow-reports", daemon=True)

    def __enter__(self) -> None:
        """Begin to report."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Report the last, if the parent takes it."""
        self._ended.set()
        self._thread.join(_LAST)

    def _report_forever(self) -> None:
        try:
            while not self._ended.wait(BETWEEN):
                self._report()
            self._report()
        except OSError as error:
            log.debug("the parent takes no more reports: %s", str(error))

    def _report(self) -> None:
        now = self._measurements.read_own()
        changed = [[*key, value] for key, value in now.items() if self._reported.get(key) != value]
        self._reported = now
        if changed:
            line = json.dumps(changed, separators=(",", ":")).encode() + b"\n"
            while line:
                line = line[os.write(self._pipe.fileno(), line) :]


class Reported:
    """What one child has reported through *pipe*."""

    def __init__(self, pipe: Connection) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe: Final = pipe
        self.series: Series = {}
        self._unread = b""

    def take(self) -> bool:
        """Take what has come, without waiting for more; tell whether more may come."""
        try:
            while more := os.read(self.pipe.fileno(), _READ):
                *lines, self._unread = (self._unread + more).split(b"\n")
                for line in lines:
                    self.series |= {tuple(key): value for *key, value in json.loads(line)}
        except BlockingIOError:
            return True
        except (OSError, ValueError) as error:
            log.warning("a process can report no more metrics: %s", str(error))
        return False


class Reports:
    """The reports of all children, those that have ended among them. One thread takes them, any may `read`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Series = {}
        self._reported: dict[int, Reported] = {}

    def begin(self, place: int, pipe: Connection) -> None:
        """Take what the child at *place* reports from now on."""
        with self._lock:
            self._reported[place] = Reported(pipe)

    @property
    def pipes(self) -> list[Connection]:
        """Where more may come."""
        return [each.pipe for each in self._reported.values() if not each.pipe.closed]

    def take(self) -> None:
        """Take what has come, from whichever child."""
        with self._lock:
            for each in self._reported.values():
                if not (each.pipe.closed or each.take()):
                    each.pipe.close()

    def end(self, place: int) -> None:
        """Take the last of a child that has ended, and keep all but its gauges."""
        with self._lock:
            reported = self._reported.pop(place, None)
            if reported is not None:
                if not reported.pipe.closed:
                    reported.take()
                    reported.pipe.close()
                self._ended = merge([self._ended, without_gauges(reported.series)])

    def read(self) -> Series:
        """Return what all children together have counted and measured; gauges are those of the living."""
        with self._lock:
            return merge([self._ended, *(each.series for each in self._reported.values())])

    def close_in_child(self) -> None:
        """Close what a process that was forked has of the pipes."""
        self._lock = threading.Lock()
        for each in self._reported.values():
            each.pipe.close()
