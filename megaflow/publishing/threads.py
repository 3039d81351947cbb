"""Threads: an executor whose threads come when there is something to do, and keep no process from its end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from typing_extensions import override

from megaflow.forks import renew_in_child

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Work = tuple[Future[Any], Callable[[], Any]]

_LINGERS: Final = 1.0
"""Seconds after which a thread that has nothing to do ends."""


class Threads(Executor):
    """Up to *most* threads. They are daemons: those of `concurrent.futures` are waited for when a process ends."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._reset()
        renew_in_child(self)

    @override
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call *fn* in one of the threads. A future that is cancelled before it begins is never called."""
        future: Future[_T] = Future()
        with self._wake:
            self._work.append((future, partial(fn, *args, **kwargs)))
            self._wake.notify()
            starts = self._takes_another()
        if starts:
            self._start(future)
        return future

    def allow(self, most: int) -> None:
        """Let there be so many threads from now on."""
        with self._wake:
            self._most = most
            starts = self._takes_another()
        if starts:
            # It starts the next one.
            self._start()

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let threads that have nothing to do end at once. It waits for none."""
        with self._wake:
            self._is_shut = True
            self._wake.notify_all()

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`: the threads, and what they were to do, are the parent's."""
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._work: deque[_Work] = deque()
        self._count = self._idle = 0
        self._is_shut = False

    def _takes_another(self) -> bool:
        """Tell whether to start a thread, and count it."""
        starts = len(self._work) > self._idle and self._count < self._most
        self._count += starts
        return starts

    def _start(self, for_: Future[Any] | None = None) -> None:
        try:
            threading.Thread(target=self._live, name="megaflow-publisher", daemon=True).start()
        except RuntimeError as error:
            with self._wake:
                self._count -= 1
                is_alone = self._count == 0
            # Where there is another thread, it does it later.
            if for_ is not None and is_alone and for_.cancel():
                raise RuntimeError(f"there is no thread to publish with: {error}") from error

    def _live(self) -> None:
        while (work := self._take()) is not None:
            future, call = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it is for whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)
            # What was done may hold what nobody else does.
            del work, future, call

    def _take(self) -> _Work | None:
        with self._wake:
            if not self._work:
                self._idle += 1
                self._wake.wait_for(lambda: self._work or self._is_shut, _LINGERS)
                self._idle -= 1
            if not self._work:
                self._count -= 1
                return None
            work = self._work.popleft()
            starts = self._takes_another()
        if starts:
            self._start()
        return work
