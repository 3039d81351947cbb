"""What handlers make of messages, decided by the seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tests.torture.ledger import Key
from tests.torture.settings import VISIBILITY_TIMEOUTS

FATAL_SHARE: Final = 0.04
LATER_SHARE: Final = 0.08
ERROR_SHARE: Final = 0.05

SLOW_SHARE: Final = 0.04
"""Of the runs, those that outlive every visibility timeout; 0 for a consumer that does not extend leases."""

_SLOW: Final = (1.2 * max(VISIBILITY_TIMEOUTS), 2.2 * max(VISIBILITY_TIMEOUTS))
_QUICK: Final = (0.0, 0.06)


class Outcome(Enum):
    """How a run ends."""

    FINISH = "finish"
    LATER = "later"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a handler: it works for so many *seconds*, and asks to see the message again *after* some."""

    seconds: float
    outcome: Outcome
    after: float


def fails_for_good(seed: int, key: Key) -> bool:
    """Tell whether a message is one that every handler that finishes finds to be beyond help."""
    return _draw(seed, *key).random() < FATAL_SHARE


def plan_run(seed: int, key: Key, receive_count: int) -> Run:
    """Return how the handler fares with this delivery of a message."""
    luck = _draw(seed, *key, receive_count)
    outcomes = (Outcome.LATER, Outcome.ERROR, Outcome.FINISH)
    shares = (LATER_SHARE, ERROR_SHARE, 1 - LATER_SHARE - ERROR_SHARE)
    [outcome] = luck.choices(outcomes, shares)
    seconds = luck.uniform(*(_SLOW if luck.random() < SLOW_SHARE else _QUICK))
    return Run(seconds, outcome, after=luck.choice((0.0, 0.5, 1.0)))


def _draw(seed: int, *what: object) -> random.Random:
    # From text, which is the same number in every process.
    return random.Random(f"{seed} {what}")
