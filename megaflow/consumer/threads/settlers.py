"""Settlers: the threads that delete and hide messages, extend their leases, and dead-letter them.

A poller begins itself to delete or hide what it has handled, and looks for the answer after its next poll; where it has
to wait for that one, a settler waits for the answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeAlias, TypeVar

from megaflow.consumer.core.protocol import DeadLetter, Extend, Settled, Settlement
from megaflow.consumer.threads.caller import Caller, Tell
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
        # Both without a lock: to append and to pop are one step each, and whoever pops a thing goes on with it alone. A
        # poller may take what another one has put there, and does the same with it.
        self._own: deque[Settlement] = deque()
        """What a poller begins itself."""

        self._under_way: deque[Pending[Settled]] = deque()
        """What pollers have begun, and no settler waits for."""

    def start(self) -> None:
        """Start the threads."""
        for tasks in (self._deletes, self._extensions, self._dead_letters) * _THREADS:
            settle = partial(self._settle_forever, tasks)
            threading.Thread(target=settle, name="megaflow-settler", daemon=True).start()

    def settle(self, action: Settlement, caller: Caller) -> None:
        """Let a settler settle messages; what a poller can begin itself, it does at its next `begin_own`."""
        if isinstance(action, Extend):
            self._extensions.put(action)
        elif isinstance(action, DeadLetter):
            self._dead_letters.put(action)
        elif caller is Caller.POLLER:
            self._own.append(action)
        else:
            self._deletes.put(action)

    def begin_own(self) -> None:
        """Begin what the calling poller settles itself."""
        while (action := _pop(self._own)) is not None:
            pending = self._begin(action)
            if pending.is_under_way:
                self._under_way.append(pending)
            else:
                self._deletes.put(pending)

    def take_settled(self) -> list[Settled]:
        """Return what came of what pollers have begun, as far as it is answered; for the rest settlers wait."""
        settled = []
        while (pending := _pop(self._under_way)) is not None:
            if pending.is_answered:
                settled.append(pending.result())
            else:
                self._deletes.put(pending)
        return settled

    def let_others_wait(self) -> None:
        """Let settlers wait for what pollers have pending: the calling thread has something else to do."""
        while (pending := _pop(self._under_way)) is not None:
            self._deletes.put(pending)

    def close(self) -> None:
        """Let the threads go, as soon as they are done."""
        for tasks in (self._deletes, self._extensions, self._dead_letters) * _THREADS:
            tasks.put(None)

    def _settle_forever(self, tasks: SimpleQueue[_Task | None]) -> None:
        while (task := tasks.get()) is not None:
            pending = task if isinstance(task, Pending) else self._begin(task)
            self._tell(pending.result(), Caller.SETTLER)


def _pop(waiting: deque[_Waiting]) -> _Waiting | None:
    try:
        return waiting.popleft()
    except IndexError:
        # Another thread may have taken the last one.
        return None
