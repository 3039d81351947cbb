"""Which of the messages that can be seen is received next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol


class Order(Protocol):
    """The messages of a queue that are waiting to be received, by number."""

    def add(self, number: int, group: str) -> None:
        """Let *number* wait."""

    def take(self) -> Iterator[int]:
        """Give out numbers in the order of receiving; each is held from then on."""

    def put_back(self, number: int, group: str) -> None:
        """Let a number wait again that was held."""

    def release(self, group: str) -> None:
        """Forget a number of *group* that was held: its message is gone."""

    def remove(self, number: int, group: str) -> None:
        """Forget a number that was waiting: its message is gone."""

    def clear(self) -> None:
        """Forget all numbers."""


class Arrival:
    """A standard queue: first come, first served; what was given back comes last."""

    def __init__(self) -> None:
        # An OrderedDict, because a plain dict looks at every hole before its first key.
        self._waiting: OrderedDict[int, None] = OrderedDict()

    def add(self, number: int, group: str) -> None:
        """Let *number* wait."""
        self._waiting[number] = None

    def take(self) -> Iterator[int]:
        """Give out the numbers by arrival."""
        while self._waiting:
            yield self._waiting.popitem(last=False)[0]

    def put_back(self, number: int, group: str) -> None:
        """Let *number* wait behind the others."""
        self._waiting[number] = None

    def release(self, group: str) -> None:
        """Do nothing: a standard queue holds nobody up."""

    def remove(self, number: int, group: str) -> None:
        """Forget *number*."""
        del self._waiting[number]

    def clear(self) -> None:
        """Forget all numbers."""
        self._waiting.clear()


@dataclass(slots=True)
class _Group:
    """The messages of one group: those that wait, lowest number first, and how many are held."""

    waiting: list[int] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)
    held: int = 0

    def drop_removed(self) -> None:
        while self.waiting and self.waiting[0] in self.removed:
            self.removed.discard(heappop(self.waiting))


class Groups:
    """A FIFO queue: each group in the order of sending, and nothing of a group while one of it is held.

    One call of ``take`` gives as many of one group as are wanted before it goes on to the next group.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._free: OrderedDict[str, None] = OrderedDict()
        """Groups of which some wait and none is held, the one that waits longest first."""

    def add(self, number: int, group: str) -> None:
        """Let *number* wait in its place within *group*."""
        heappush(self._groups.setdefault(group, _Group()).waiting, number)
        self._settle(group)

    def take(self) -> Iterator[int]:
        """Give out the numbers of one free group after another."""
        while self._free:
            name = self._free.popitem(last=False)[0]
            group = self._groups[name]
            while group.waiting:
                number = heappop(group.waiting)
                group.held += 1
                group.drop_removed()
                # The one before may have been released meanwhile, which freed the group.
                self._free.pop(name, None)
                yield number

    def put_back(self, number: int, group: str) -> None:
        """Let *number* wait in its old place."""
        heappush(self._groups[group].waiting, number)
        self.release(group)

    def release(self, group: str) -> None:
        """Free *group* where this was the last of it that was held."""
        self._groups[group].held -= 1
        self._settle(group)

    def remove(self, number: int, group: str) -> None:
        """Forget *number*."""
        self._groups[group].removed.add(number)
        self._groups[group].drop_removed()
        self._settle(group)

    def clear(self) -> None:
        """Forget all numbers."""
        self._groups.clear()
        self._free.clear()

    def _settle(self, name: str) -> None:
        group = self._groups[name]
        if group.waiting and not group.held:
            self._free.setdefault(name)
        else:
            self._free.pop(name, None)
        if not group.waiting and not group.held:
            del self._groups[name]
