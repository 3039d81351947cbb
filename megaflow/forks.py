"""Forks: what a child must not inherit is closed before, or let go of in the child, which the parent never notices.

A child that was forked must not use an SQLite connection of its parent's, and must not even close it, as its exit does:
https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_
A socket is one for both: who shuts it down ends it for the other too, who closes it does not. A lock that another
thread held at the fork is held for ever in the child, where that thread is not.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress
from typing import Final, NoReturn, Protocol
from weakref import WeakSet

from megaflow.logs import get_logger

log = get_logger(__name__)

generation = 0
"""How often this process's line has forked, up to here: it is another one in a child than in its parent."""


class Forkable(Protocol):
    """What has something open that no child may inherit. Both are called in the thread that forks."""

    def _before_fork(self) -> None:
        """Close it, and let no other thread open it again until `_after_fork`, which is called whatever this raises."""
        ...

    def _after_fork(self) -> None:
        """Let it be opened again; called in the parent and in the child."""
        ...


class Inherited(Protocol):
    """What a child may have, but not as its parent has it."""

    def _after_fork_in_child(self) -> None:
        """Let go of what is the parent's, without a word to anybody, and make locks anew; the only thread calls it."""
        ...


def close_before_fork(resource: Forkable) -> None:
    """Close *resource* before every fork of this process, as long as it is there."""
    with _lock:
        _resources.add(resource)


def renew_in_child(resource: Inherited) -> None:
    """Let *resource* be told in every child that is forked, as long as it is there."""
    with _lock:
        _inherited.add(resource)


def let_go(sock: socket.socket) -> None:
    """Close this process's end of an inherited socket, and nothing else: no farewell of TLS, and no end for others."""
    descriptor = sock.detach()
    if descriptor >= 0:
        os.close(descriptor)


def end_child(error: BaseException | None) -> NoReturn:
    """End this process, a child that came back from where it was forked: what goes on there is its parent's alone.

    *error* is what it came back with; that of ``sys.exit`` says what it exits with.
    """
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        log.warning("a handler has forked, and its child came back: it ends, as its parent goes on", exc_info=error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)


_resources: Final[WeakSet[Forkable]] = WeakSet()
_inherited: Final[WeakSet[Inherited]] = WeakSet()
_lock: Final = threading.RLock()
_closed: Final[list[Forkable]] = []


def _before_fork() -> None:
    # Held until the fork is over: nothing may be added meanwhile.
    _lock.acquire()
    for resource in tuple(_resources):
        _closed.append(resource)
        resource._before_fork()  # noqa: SLF001 - no name for users


def _after_fork() -> None:
    while _closed:
        _closed.pop()._after_fork()  # noqa: SLF001 - no name for users
    _lock.release()


def _after_fork_in_child() -> None:
    global generation
    generation += 1
    for resource in tuple(_inherited):
        resource._after_fork_in_child()  # noqa: SLF001 - no name for users
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
