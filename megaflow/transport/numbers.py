"""Numbers and times in what queues say of themselves and of their messages.

AWS writes them as text without a fraction; servers that stand in for it have other ways, too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

_from_timestamp: Final = datetime.fromtimestamp

_MILLISECONDS: Final = 1e11
"""A time from here on is in milliseconds; in seconds it would be in the year 5138."""


def read_whole(said: Any, otherwise: int) -> int:
    """Return the whole number that is *said*; *otherwise*, where there is none. Raises `ValueError` for other text."""
    try:
        return int(said)  # as nearly all can be read
    except (TypeError, ValueError):
        return int(float(said)) if said else otherwise


def read_time(said: Any) -> datetime | None:
    """Return the time that is *said*, in seconds or milliseconds since the epoch; None where it cannot be read."""
    try:
        since = float(said)
        return _from_timestamp(since / 1000 if since >= _MILLISECONDS else since, UTC)
    except (OSError, OverflowError, TypeError, ValueError):
        return None
