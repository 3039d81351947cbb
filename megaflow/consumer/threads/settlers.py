"""Settlers: the threads that delete and hide messages, extend their leases, and dead-letter them.

A poller begins itself to delete or hide what it has handled, and looks for the answer while it waits for its next poll,
and after that; where this takes longer, a settler waits for the answer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias, TypeVar

from megaflow.consumer.core.protocol import DeadLetter, Extend, Settled, Settlement
from megaflow.consumer.threads.caller import Caller, Tell
from megaflow.wire.pending import Pending

_THREADS: Final = 2
"""For deletes and hides, for extensions, and for dead letters: a slow one holds up none of the others."""

_SOON: Final = 0.002
"""Seconds within which a poller that is busy comes to what others have to settle: it costs least there."""


class _Look(Enum):
    """A task for a settler: to look soon what pollers have left."""

    SOON = "soon"


_Task: TypeAlias = Settlement | Pending[Settled] | _Look
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
        """What a poller begins itself, or a settler that finds it there."""

        self._is_looked_after = False
        """Whether a settler is about to look at that: it clears this first, so that nothing is missed."""

        self._under_way: deque[Pending[Settled]] = deque()
        """What pollers have begun, and no settler waits for."""

    def start(self) -> None:
        """Start the threads."""
        for tasks in (self._deletes, self._extensions, self._dead_letters) * _THREADS:
            settle = partial(self._settle_forever, tasks)
            threading.Thread(target=settle, name="megaflow-settler", daemon=True).start()

    def settle(self, action: Settlement, caller: Caller) -> None:
        """Let messages be settled: by a poller, where it comes to that soon, else by a settler."""
        if isinstance(action, Extend):
            self._extensions.put(action)
        elif isinstance(action, DeadLetter):
            self._dead_letters.put(action)
        else:
            self._own.append(action)
            if not (caller.settles_itself or self._is_looked_after):
                self._is_looked_after = True
                self._deletes.put(_Look.SOON)

    def begin_own(self) -> None:
        """Begin what the calling poller settles itself."""
        while (action := _pop(self._own)) is not None:
            pending = self._begin(action)
            if pending.is_under_way:
                self._under_way.append(pending)
            else:
                self._deletes.put(pending)

    @property
    def are_looked_for(self) -> bool:
        """Whether pollers have begun something whose answer no settler waits for."""
        return bool(self._under_way)

    def take_settled(self, *, looks_again: bool = False) -> list[Settled]:
        """Return what came of what pollers have begun, as far as it is answered.

        Unless the calling one *looks_again*, settlers wait for the rest.
        """
        settled, rest = [], []
        while (pending := _pop(self._under_way)) is not None:
            if pending.is_answered:
                settled.append(pending.result())
            elif looks_again:
                rest.append(pending)
            else:
                self._deletes.put(pending)
        self._under_way += rest
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
            self._do(task)
        # What a look has begun comes behind what lets the threads go.
        with suppress(Empty):
            while (task := tasks.get_nowait()) is not None:
                self._do(task)
            tasks.put(None)

    def _do(self, task: _Task) -> None:
        if task is _Look.SOON:
            time.sleep(_SOON)
            self._is_looked_after = False
            while (action := _pop(self._own)) is not None:
                self._deletes.put(self._begin(action))
        else:
            pending = task if isinstance(task, Pending) else self._begin(task)
            self._tell(pending.result(), Caller.SETTLER)


def _pop(waiting: deque[_Waiting]) -> _Waiting | None:
    try:
        return waiting.popleft()
    except IndexError:
        # Another thread may have taken the last one.
        return None
