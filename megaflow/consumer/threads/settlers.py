"""The threads that settle messages: they delete them, hide them, extend their leases, or dead-letter them.

A poller begins itself to settle what it has handled, and looks for the answer after the next messages; where it has to
wait for these, one of the threads here waits for the answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeAlias, TypeVar

from megaflow.consumer.core.protocol import DeadLetter, Extend, Settled, Settlement
from megaflow.consumer.threads.workers import Tell
from megaflow.wire.pending import Pending

_THREADS: Final = 2
"""For deletes and hides, for extensions, and for dead letters: a slow one holds up none of the others."""

_Task: TypeAlias = Settlement | Pending[Settled]
_Waiting = TypeVar("_Waiting")


class Settlers:
    """Settle messages, and *tell* what came of it. *begin* begins to."""

    def __init__(self, begin: Callable[[Settlement], Pending[Settled]], tell: Tell) -> None:
        self._begin = begin
        self._tell = tell
        self._deletes: SimpleQueue[_Task | None] = SimpleQueue()
        """Hides as well."""

        self._extensions: SimpleQueue[_Task | None] = SimpleQueue()
        self._dead_letters: SimpleQueue[_Task | None] = SimpleQueue()
        self._own: deque[Settlement] = deque()
        """What the thread that tells the core begins itself."""

        self._under_way: deque[Pending[Settled]] = deque()

    def start(self) -> None:
        """Start the threads."""
        for tasks in (self._deletes, self._extensions, self._dead_letters) * _THREADS:
            settle = partial(self._settle_forever, tasks)
            threading.Thread(target=settle, name="megaflow-settler", daemon=True).start()

    def settle(self, action: Settlement, *, here: bool = False) -> None:
        """Let a thread settle messages: with *here* the one that calls, at its next `begin`."""
        if isinstance(action, Extend):
            self._extensions.put(action)
        elif isinstance(action, DeadLetter):
            self._dead_letters.put(action)
        elif here:
            self._own.append(action)
        else:
            self._deletes.put(action)

    def begin(self) -> None:
        """Begin what the calling thread settles itself."""
        while (action := _pop(self._own)) is not None:
            begun = self._begin(action)
            if begun.is_under_way:
                self._under_way.append(begun)
            else:
                self._deletes.put(begun)

    def collect(self) -> list[Settled]:
        """Return what came of what was begun, as far as that is there; for the rest other threads wait."""
        settled = []
        while (begun := _pop(self._under_way)) is not None:
            if begun.is_answered:
                settled.append(begun.result())
            else:
                self._deletes.put(begun)
        return settled

    def share(self) -> None:
        """Let other threads wait for what was begun: the calling one has something else to wait for."""
        while (begun := _pop(self._under_way)) is not None:
            self._deletes.put(begun)

    def close(self) -> None:
        """Let the threads go, as soon as they are done."""
        for tasks in (self._deletes, self._extensions, self._dead_letters) * _THREADS:
            tasks.put(None)

    def _settle_forever(self, tasks: SimpleQueue[_Task | None]) -> None:
        while (task := tasks.get()) is not None:
            begun = task if isinstance(task, Pending) else self._begin(task)
            self._tell(begun.result(), helps=False)


def _pop(waiting: deque[_Waiting]) -> _Waiting | None:
    try:
        return waiting.popleft()
    except IndexError:
        # Another thread may have taken the last one.
        return None
