"""Signals: SIGTERM and SIGINT stop a process, SIGUSR1 pauses it, SIGUSR2 resumes it. Its main thread hears them."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final

from megaflow.errors import UsageError
from megaflow.forks import renew_in_child
from megaflow.logs import get_logger

log = get_logger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_this_thread = threading.local()


@contextmanager
def stopping_on_signals(stop: Callable[[bool], object]) -> Iterator[None]:
    """Call *stop* on SIGTERM and SIGINT, and from the second one on with True.

    Where this is not the main thread nothing can, which the log says, unless the main thread stops this one.
    """
    if threading.current_thread() is not threading.main_thread():
        _say_unheard()
        yield
        return
    seen: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)
        stop(len(seen) > 1)

    taken = _Taken({number: signal.signal(number, note) for number in _SIGNALS})
    try:
        yield
    finally:
        taken.give_back()


@contextmanager
def stopping_on_signals_if(wanted: bool, stop: Callable[[bool], object]) -> Iterator[None]:
    """Do what `stopping_on_signals` does beside an event loop, where it is *wanted*; else warn where nobody does.

    Raises `UsageError` where it is wanted outside the main thread.
    """
    if not wanted:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            log.warning("SIGTERM ends the process in the middle of handlers: nobody hears it; arun(signals=True) does")
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("signals=True needs the main thread: no other one hears signals; call app.stop() instead")
    with stopping_on_signals(stop):
        yield


@contextmanager
def pausing_on_signals(pause: Callable[[], object], resume: Callable[[], object]) -> Iterator[None]:
    """Call *pause* on SIGUSR1 and *resume* on SIGUSR2, where the platform has them, and this is the main thread."""
    asked = {"SIGUSR1": pause, "SIGUSR2": resume}
    known = {getattr(signal, name): call for name, call in asked.items() if hasattr(signal, name)}
    if threading.current_thread() is not threading.main_thread():
        known = {}
    taken = _Taken({number: signal.signal(number, partial(_call, call)) for number, call in known.items()})
    try:
        yield
    finally:
        taken.give_back()


def leave_pauses_to_parent() -> None:
    """Do nothing on SIGUSR1 and SIGUSR2 in this process: its parent hears them, and passes them on."""
    for name in ("SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _hear_nothing)


def _hear_nothing(number: int, _: FrameType | None) -> None:
    # Not SIG_IGN, which the programs that handlers start would have, too.
    pass


def _call(call: Callable[[], object], number: int, _: FrameType | None) -> None:
    call()


class _Taken:
    """The signals that are listened to, and who did *before*: also in a child, which nobody could end otherwise."""

    def __init__(self, before: Mapping[int, signal._HANDLER]) -> None:
        self._before = before
        renew_in_child(self)

    def give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    _after_fork_in_child = give_back


@contextmanager
def stopped_by_another_thread() -> Iterator[None]:
    """Say nothing of signals that are not heard in this thread: another one hears them, and stops what runs here."""
    _this_thread.is_stopped_by_another = True
    try:
        yield
    finally:
        _this_thread.is_stopped_by_another = False


def _say_unheard() -> None:
    if getattr(_this_thread, "is_stopped_by_another", False):
        return
    # Whoever handles SIGTERM can be thought to know; where nobody does, it ends handlers in the middle of their work.
    is_cut = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    log.log(
        logging.WARNING if is_cut else logging.INFO,
        "SIGTERM and SIGINT are not heard in this thread, only in the main one: call app.stop() when they come, as "
        "loop.add_signal_handler(signal.SIGTERM, app.stop) does in an event loop%s",
        ". As it is, SIGTERM ends the process in the middle of handlers" if is_cut else "",
    )
