"""Sharing: which of the calls that wait at the same moment go in one batch."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol

from megaflow import limits


class Waits(Protocol):
    """A message that waits."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    @property
    def group(self) -> str:
        """Its message group, where messages of one go in order; ``""`` where there is no order."""
        ...

    @property
    def apart(self) -> str:
        """What all messages of a batch have in common."""
        ...


def choose(waiting: Sequence[Waits], busy: Container[str], *, max_size: int) -> list[int]:
    """Return the places of those that go next, together: ten or fewer, within *max_size* bytes, in their order.

    It is the first one that may go, and those after it that fit. What is of a *busy* group may not, and nothing goes
    before an earlier one of its group. Where there are no groups, nothing is passed over.
    """
    chosen: list[int] = []
    behind: set[str] = set()
    size = 0
    for place, each in enumerate(waiting):
        if each.group and (each.group in busy or each.group in behind):
            continue
        if not chosen or (size + each.size <= max_size and each.apart == waiting[chosen[0]].apart):
            chosen.append(place)
            size += each.size
            if len(chosen) == limits.BATCH_ENTRIES:
                break
        elif each.group:
            behind.add(each.group)
        else:
            break
    return chosen
