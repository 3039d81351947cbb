"""The callers of the core: the threads that tell it something, and what each of them does next."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from megaflow.consumer.core.protocol import Input


class Caller(Enum):
    """The thread that tells the core something."""

    MAIN = "main"
    """It waits for the time to pass, and for signals."""

    POLLER = "poller"
    """It handles what the core starts, as long as handlers are quick, and begins to settle what it has handled."""

    WAITING_POLLER = "waiting poller"
    """It looks for the answers to what it has begun to settle, as long as its own question is not answered."""

    ABANDONED_POLLER = "abandoned poller"
    """It ends: nobody waits for its answer any more."""

    WORKER = "worker"
    """It handles what it is woken for."""

    EVENT_LOOP = "event loop"
    """It starts async handlers itself, as long as handlers are quick."""

    HANDLER = "handler"
    """Whichever thread it is, it has handlers to go on with: one with a time limit, or those of the event loop."""

    SETTLER = "settler"
    """It waits for the next message to settle."""

    @property
    def handles_what_is_started(self) -> bool:
        """Whether it handles what the core starts, as long as handlers are quick; else workers are woken for that."""
        return self is Caller.POLLER or self is Caller.EVENT_LOOP

    @property
    def settles_itself(self) -> bool:
        """Whether it begins itself what the core wants settled."""
        return self is Caller.POLLER or self is Caller.WAITING_POLLER


Tell: TypeAlias = Callable[[Input | None, Caller], object]
"""Tells the core an input, None being what has finished, and does what it answers; may be called from any thread."""
