"""What a relay's core and its drivers say to each other: rows, what is to be done, and what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from megaflow.publishing.outgoing import Prepared


@dataclass(frozen=True, slots=True)
class Row:
    """A row that was claimed: its message, and the *group* that keeps its order, ``""`` where none does."""

    id: int
    group: str
    destination: str
    message: Prepared
    attempts: int
    """How often it was tried before."""

    begins_until: float
    """Until when a call with it may begin, by the clock of this process."""

    ends: float
    """When the claim ends."""


@dataclass(frozen=True, slots=True)
class Call:
    """Rows that are sent together."""

    destination: str
    rows: Sequence[Row]
    until: float
    """When it must have ended."""


@dataclass(slots=True)
class Settlement:
    """What becomes of rows, by their ids."""

    sent: list[int] = field(default_factory=list)
    parked: list[tuple[int, str]] = field(default_factory=list)
    """With the error for which AWS refuses it."""

    hidden: list[tuple[int, float, str]] = field(default_factory=list)
    """With the seconds until it is tried again, and the error."""

    released: list[int] = field(default_factory=list)
    ends_groups: bool = False
    """Whether it has the last one in hand of a group, of which there may be more."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.sent) + len(self.parked) + len(self.hidden) + len(self.released)

    def add(self, other: Settlement) -> None:
        """Take *other* in."""
        self.sent += other.sent
        self.parked += other.parked
        self.hidden += other.hidden
        self.released += other.released
        self.ends_groups |= other.ends_groups


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim rows, and say which with `RelayCore.note_claimed`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for an answer, or to be woken, so many *seconds* at most."""

    seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to be done."""


Action: TypeAlias = Claim | Call | Settlement | Wait | End
