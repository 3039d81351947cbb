"""Rates: how many calls of a handler may begin within a second, a minute or an hour, as ``"100/m"`` says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from megaflow.errors import ConfigurationError

MOST: Final = 1_000_000
"""Calls: when each of them began is remembered."""

_PERIODS: Final[Mapping[str, float]] = {"s": 1.0, "m": 60.0, "h": 3_600.0}
_RATE: Final = re.compile(r"([0-9]{1,7})/([smh])")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls within so many seconds, whenever those begin."""

    calls: int
    seconds: float

    def __str__(self) -> str:
        """Say it as it is given: ``100/m``."""
        return f"{self.calls}/{next(name for name, seconds in _PERIODS.items() if seconds == self.seconds)}"


def read_rate(given: object) -> Rate:
    """Return the rate that *given* says; raise `ConfigurationError` where it says none."""
    found = _RATE.fullmatch(given) if isinstance(given, str) else None
    if found is None or not 1 <= int(found[1]) <= MOST:
        raise ConfigurationError(
            f"rate={given!r} must be a number of calls from 1 to {MOST:,} within a second, a minute or an hour: "
            '"100/s", "100/m" or "100/h"'
        )
    return Rate(int(found[1]), _PERIODS[found[2]])
