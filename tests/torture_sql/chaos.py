"""What befalls the workers, the database and the server, and when: a plan that the seed alone decides."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Act(Enum):
    """What can be done to them."""

    KILL = "kill -9 of a worker"
    STOP = "SIGTERM to a worker"
    PAUSE = "SIGSTOP to a worker"
    KILL_DATABASE = "PostgreSQL killed"
    STOP_DATABASE = "PostgreSQL stopped"
    KILL_SERVER = "kill -9 of the server"


@dataclass(frozen=True, slots=True)
class Blow:
    """One act, *at* seconds after the start, lasting so many *seconds*; *pick*, from 0 to 1, says whom it meets."""

    at: float
    act: Act
    seconds: float
    pick: float


_ACTS: Final = {
    Act.KILL: 10,
    Act.STOP: 3,
    Act.PAUSE: 3,
    Act.KILL_DATABASE: 2,
    Act.STOP_DATABASE: 1,
    Act.KILL_SERVER: 1,
}
_LENGTHS: Final = {
    Act.PAUSE: (0.5, 6.0),
    Act.KILL_DATABASE: (0.0, 2.0),
    Act.STOP_DATABASE: (0.0, 2.0),
    Act.KILL_SERVER: (0.0, 2.0),
}
_GAP: Final = 1.3


def plan_blows(seed: int, seconds: float) -> list[Blow]:
    """Return what happens during so many *seconds*, in order."""
    luck = random.Random(seed)
    blows: list[Blow] = []
    at = luck.expovariate(1 / _GAP)
    while at < seconds:
        [act] = luck.choices(list(_ACTS), list(_ACTS.values()))
        blows.append(Blow(at, act, luck.uniform(*_LENGTHS.get(act, (0.0, 0.0))), luck.random()))
        at += luck.expovariate(1 / _GAP)
    return blows
