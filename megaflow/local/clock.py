"""The clock that a test can move."""

from __future__ import annotations

import time
from collections.abc import Callable

from megaflow.errors import UsageError


class Clock:
    """The time of *source*, and as much more as it was moved: ``Account(clock=Clock())``.

    Example:
        >>> from megaflow.local import Account, Clock
        >>> account = Account(clock=Clock())
        >>> account.advance(30)
    """

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._moved = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._source() + self._moved

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass at once.

        Raises:
            UsageError: they are fewer than none; time does not go back.
        """
        if not 0 <= seconds < float("inf"):
            raise UsageError(f"a clock moves on by some seconds, not by {seconds}")
        self._moved += seconds
