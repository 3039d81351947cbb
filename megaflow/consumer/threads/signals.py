"""Signals: SIGTERM and SIGINT ask a process to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


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

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
