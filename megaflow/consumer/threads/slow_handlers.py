"""Slow handlers: other threads go on where one takes longer than handlers have taken of late.

To wake a thread costs more than a quick handler does, so where handlers were quick nobody is woken for the next
message. The main thread looks every few milliseconds whether they still are.
"""

from __future__ import annotations

import math
from typing import Final

from megaflow.consumer.threads.pollers import Pollers
from megaflow.consumer.threads.settlers import Settlers
from megaflow.consumer.threads.workers import Workers

_SLOW: Final = 0.004
"""Seconds: a handler that takes longer is slow."""

_LONGEST_PAUSE: Final = 4 * _SLOW
"""Seconds: as long as all handlers are quick, the pause between two looks doubles up to this."""


class SlowHandlerWatch:
    """Looks whether a handler is slow, from the start of a message until nothing waits to be handled or told.

    `note_start` is called by one thread at a time, `pause` and `look` by the main thread alone.
    """

    def __init__(self, pollers: Pollers, workers: Workers, settlers: Settlers) -> None:
        self._pollers = pollers
        self._workers = workers
        self._settlers = settlers
        self._pause = _SLOW
        # Both without a lock: `note_start` sets the first before it asks for the second, and `look` clears the second
        # before it asks for the first. So where they meet, one of them sees the other: at worst there is a look more.
        self._has_started = False
        self._is_on = False

    @property
    def pause(self) -> float:
        """Seconds until the next look; infinity where there is nothing to look at."""
        return self._pause if self._is_on else math.inf

    def note_start(self) -> bool:
        """Take note that messages were started; tell whether the main thread has to be woken for the next look."""
        self._has_started = True
        if self._is_on:
            return False
        self._is_on = True
        return True

    def look(self) -> bool:
        """Let other threads go on where a handler is slow; tell whether something is finished that nobody has told."""
        is_slow = self._pollers.replace_slow(_SLOW)
        if is_slow:
            self._settlers.let_others_wait()
        is_held_up = is_slow or self._workers.are_held_up(_SLOW)
        if is_held_up:
            self._workers.wake_for_the_rest()
        self._is_on = False
        has_started, self._has_started = self._has_started, False
        if has_started or (self._workers.are_waited_for and not is_held_up):
            self._is_on = True
        # Each look takes its time from the handlers.
        longer = min(2 * self._pause, _LONGEST_PAUSE)
        self._pause = _SLOW if is_slow or not self._workers.are_quick else longer
        return is_held_up and self._workers.have_finished
