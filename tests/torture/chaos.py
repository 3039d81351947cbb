"""What befalls the processes and the network, and when: a plan that the seed alone decides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Act(Enum):
    """What can be done to them."""

    KILL_CONSUMER = "kill -9 of a consumer"
    STOP_CONSUMERS = "SIGTERM to the consumers of a queue"
    KILL_SERVER = "kill -9 of the server"
    RESET = "all connections reset"
    STALL = "the network stalls"
    DELAY = "the network is slow"
    CUT = "answers are cut in half"
    LOCK_STORE = "somebody else writes to the store"
    SHUT_STORE = "nobody can read or write the store"
    MOVE_STORE = "the folder of the store is moved away, and somebody writes to it"
    FAIL_DISK = "the disk takes no writes from the consumers of a queue"


STORE_ACTS: Final = frozenset({Act.LOCK_STORE, Act.SHUT_STORE, Act.MOVE_STORE, Act.FAIL_DISK})


@dataclass(frozen=True, slots=True)
class Blow:
    """One act, *at* seconds after the start, lasting so many *seconds*; *pick*, from 0 to 1, says whom it meets."""

    at: float
    act: Act
    seconds: float
    pick: float


_FAIR: Final = {
    Act.KILL_CONSUMER: 3,
    Act.STOP_CONSUMERS: 2,
    Act.LOCK_STORE: 2,
    Act.SHUT_STORE: 1,
    Act.MOVE_STORE: 2,
    Act.FAIL_DISK: 3,
}
_FOUL: Final = {
    Act.KILL_CONSUMER: 2,
    Act.STOP_CONSUMERS: 1,
    Act.KILL_SERVER: 2,
    Act.RESET: 3,
    Act.STALL: 2,
    Act.DELAY: 1,
    Act.CUT: 3,
    Act.LOCK_STORE: 1,
    Act.MOVE_STORE: 1,
    Act.FAIL_DISK: 1,
}
_LENGTHS: Final = {
    Act.KILL_SERVER: (0.0, 2.0),
    Act.STALL: (0.5, 5.0),
    Act.DELAY: (1.0, 3.0),
    Act.CUT: (0.3, 2.0),
    Act.LOCK_STORE: (1.0, 12.0),
    Act.SHUT_STORE: (4.0, 14.0),
    Act.MOVE_STORE: (1.0, 8.0),
    Act.FAIL_DISK: (0.5, 10.0),
}
_TWICE: Final = 0.4
"""Of the stops, those that are repeated at once."""

_FOUL_SPELL: Final = (8.0, 16.0)
_FAIR_SPELL: Final = (18.0, 26.0)
"""Without faults of network and server, and long enough to tell what a consumer loses without any."""

_FOUL_GAP: Final = 1.2
_FAIR_GAP: Final = 3.0


def plan_blows(seed: int, seconds: float) -> list[Blow]:
    """Return what happens during so many *seconds*, in order; it begins with a foul spell.

    What befalls a store does so in fair spells, too: it explains nothing but that a consumer waits.
    """
    luck = random.Random(seed)
    blows: list[Blow] = []
    at, foul = 0.0, True
    while at < seconds:
        end = min(seconds, at + luck.uniform(*(_FOUL_SPELL if foul else _FAIR_SPELL)))
        blows += _spell(luck, at, end, foul=foul)
        at, foul = end, not foul
    return sorted(blows, key=lambda blow: blow.at)


def _spell(luck: random.Random, at: float, end: float, *, foul: bool) -> Iterator[Blow]:
    acts = _FOUL if foul else _FAIR
    while True:
        at += luck.expovariate(1 / (_FOUL_GAP if foul else _FAIR_GAP))
        if at >= end:
            return
        [act] = luck.choices(list(acts), list(acts.values()))
        blow = Blow(at, act, luck.uniform(*_LENGTHS.get(act, (0.0, 0.0))), luck.random())
        yield blow
        if act is Act.STOP_CONSUMERS and luck.random() < _TWICE:
            yield Blow(at + luck.uniform(0.0, 0.5), act, 0.0, blow.pick)
