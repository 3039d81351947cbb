"""The clock that a test can move."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from megaflow.errors import UsageError

_END: Final = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
"""Nothing that a message lives on for goes beyond what a date can say."""


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
            UsageError: they are fewer than none, as time does not go back, or lead beyond the year 9000.
        """
        if not 0 <= seconds < _END - self():
            raise UsageError(f"a clock moves on by some seconds, up to the year 9000, not by {seconds}")
        self._moved += seconds
