"""Signals: SIGTERM and SIGINT ask a process to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from megaflow.forks import renew_in_child


@contextmanager
def stopping_on_signals(stop: Callable[[bool], object]) -> Iterator[None]:
    """Call *stop* on SIGTERM and SIGINT, and from the second one on with True; only where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)
        stop(len(seen) > 1)

    taken = _Taken({number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)})
    try:
        yield
    finally:
        taken.give_back()


class _Taken:
    """The signals that are listened to, and who did *before*: also in a child, which nobody could end otherwise."""

    def __init__(self, before: Mapping[int, signal._HANDLER]) -> None:
        self._before = before
        renew_in_child(self)

    def give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    after_fork_in_child = give_back
