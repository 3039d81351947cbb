"""Forks: what a child process must not inherit is closed in the parent before, and opened again at its next use.

A child that was forked must not use an SQLite connection of its parent's, and must not even close it, as its exit does:
https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_
"""

from __future__ import annotations

import os
import threading
from typing import Final, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What has something open that no child may inherit. Both are called in the thread that forks."""

    def before_fork(self) -> None:
        """Close it, and let no other thread open it again until `after_fork`, which is called whatever this raises."""
        ...

    def after_fork(self) -> None:
        """Let it be opened again; called in the parent and in the child."""
        ...


def close_before_fork(resource: Forkable) -> None:
    """Close *resource* before every fork of this process, as long as it is there."""
    with _lock:
        _resources.add(resource)


_resources: Final[WeakSet[Forkable]] = WeakSet()
_lock: Final = threading.RLock()
_closed: Final[list[Forkable]] = []


def _before_fork() -> None:
    # Held until the fork is over: nothing may be added meanwhile.
    _lock.acquire()
    for resource in tuple(_resources):
        _closed.append(resource)
        resource.before_fork()


def _after_fork() -> None:
    while _closed:
        _closed.pop().after_fork()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
