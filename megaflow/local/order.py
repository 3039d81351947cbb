"""Order of receiving: first in, first out within message groups, and fair queues."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from math import inf
from random import Random
from typing import Final, Protocol, TypeAlias, TypeVar


class Order(Protocol):
    """The messages of a queue that are waiting to be received, by number."""

    def add(self, number: int, group: str) -> None:
        """Let *number* wait."""

    def take(self) -> Iterator[int]:
        """Give out numbers in the order of receiving; each is held from then on."""

    def put_back(self, number: int, group: str) -> None:
        """Let a number wait again that was held."""

    def hold(self, number: int, group: str) -> None:
        """Hold a number that was given out before: its message was restored."""

    def release(self, number: int, group: str) -> None:
        """Forget a number that was held: its message is gone."""

    def remove(self, number: int, group: str) -> None:
        """Forget a number that was waiting: its message is gone."""

    def shuffle(self, random: Random) -> None:
        """Mix the next few numbers, where the type of queue allows any order; at a cost that no depth changes."""

    def clear(self) -> None:
        """Forget all numbers."""


_FRONT: Final = 16
"""How far ``shuffle`` reaches: more than one receive takes, so that what it mixes may come in the next one."""

_Line: TypeAlias = "OrderedDict[int | str, None]"
"""Tenants in the order of their turns: a group by its name, a message without one by its number."""

_Key = TypeVar("_Key")


def _shuffle_front(line: OrderedDict[_Key, None], random: Random) -> None:
    front = list(islice(line, _FRONT))
    random.shuffle(front)
    for key in front:
        line.move_to_end(key, last=False)


@dataclass(slots=True)
class _Tenant:
    """The messages of one group on a standard queue: those that wait, next one first, and how many are held."""

    waiting: OrderedDict[int, None] = field(default_factory=OrderedDict)
    held: int = 0


class _Busy:
    """The groups that wait while some of them are held, in a line for each number held.

    A number stays in the heap when its line is gone, until it comes up or until half of the heap is such waste.
    """

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._heap: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def enter(self, name: str, held: int) -> None:
        """Let a group wait behind those of which as many are held."""
        if held not in self._lines:
            self._lines[held] = OrderedDict()
            heappush(self._heap, held)
            self._drop_waste()
        self._lines[held][name] = None

    def leave(self, name: int | str, held: int) -> None:
        """Take a group out of its line."""
        line = self._lines[held]
        del line[name]
        if not line:
            del self._lines[held]

    def first(self) -> _Line:
        """Return the line of those with the fewest held."""
        return self._lines[self._fewest()] if self._lines else OrderedDict()

    def pop(self) -> int | str:
        """Take out the group that is next."""
        held = self._fewest()
        name = next(iter(self._lines[held]))
        self.leave(name, held)
        return name

    def clear(self) -> None:
        """Take out all groups."""
        self._lines.clear()
        self._heap.clear()

    def _fewest(self) -> int:
        while self._heap[0] not in self._lines:
            heappop(self._heap)
        return self._heap[0]

    def _drop_waste(self) -> None:
        if len(self._heap) > 2 * len(self._lines) + 64:
            self._heap = sorted(self._lines)


class Arrival:
    """A standard queue: by arrival, but fair to groups; what was given back comes last.

    A group is a tenant, and so is each message without a group. Next is the tenant with the fewest messages held; of
    those with equally many, the one that has had so many for longest. So without groups the order is that of arrival,
    and a tenant is passed over only while some of its own are held. AWS starts to do so when a tenant has 30 messages
    in flight and a tenth of all; here it shows from the first message on.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
    """

    def __init__(self) -> None:
        # An OrderedDict, because a plain dict looks at every hole before its first key.
        self._quiet: _Line = OrderedDict()
        """Tenants of whom none is held."""

        self._busy = _Busy()
        self._groups: dict[str, _Tenant] = {}

    def add(self, number: int, group: str) -> None:
        """Let *number* wait behind the others of its group."""
        if group:
            self._add_to(group, number)
        else:
            self._quiet[number] = None

    def take(self) -> Iterator[int]:
        """Give out a number of the tenant that is next, one after another."""
        quiet, busy = self._quiet, self._busy
        while True:
            if quiet:
                tenant, _ = quiet.popitem(last=False)
            elif busy:
                tenant = busy.pop()
            else:
                return
            yield tenant if isinstance(tenant, int) else self._take_from(tenant)

    def put_back(self, number: int, group: str) -> None:
        """Let *number* wait behind the others of its group."""
        if group:
            self._count(group, -1)
            self._add_to(group, number)
        else:
            self._quiet[number] = None

    def hold(self, number: int, group: str) -> None:
        """Count one more of *group* as held."""
        if group:
            self._find(group)
            self._count(group, +1)

    def release(self, number: int, group: str) -> None:
        """Count one less of *group* as held."""
        if group:
            self._count(group, -1)

    def remove(self, number: int, group: str) -> None:
        """Forget *number*."""
        if group:
            self._remove_from(group, number)
        else:
            del self._quiet[number]

    def shuffle(self, random: Random) -> None:
        """Mix the tenants that are next, and what is next of each of them."""
        line = self._quiet or self._busy.first()
        _shuffle_front(line, random)
        for tenant in islice(line, _FRONT):
            if isinstance(tenant, str):
                _shuffle_front(self._groups[tenant].waiting, random)

    def clear(self) -> None:
        """Forget all numbers."""
        self._quiet.clear()
        self._busy.clear()
        self._groups.clear()

    def _find(self, name: str) -> _Tenant:
        if name not in self._groups:
            self._groups[name] = _Tenant()
        return self._groups[name]

    def _add_to(self, name: str, number: int) -> None:
        group = self._find(name)
        if not group.waiting:
            self._enter(name, group.held)
        group.waiting[number] = None

    def _take_from(self, name: str) -> int:
        group = self._groups[name]
        number = group.waiting.popitem(last=False)[0]
        group.held += 1
        if group.waiting:
            self._enter(name, group.held)
        return number

    def _remove_from(self, name: str, number: int) -> None:
        group = self._groups[name]
        del group.waiting[number]
        if not group.waiting:
            self._leave(name, group.held)
            self._drop_if_empty(name, group)

    def _count(self, name: str, more: int) -> None:
        group = self._groups[name]
        if group.waiting:
            self._leave(name, group.held)
            self._enter(name, group.held + more)
        group.held += more
        self._drop_if_empty(name, group)

    def _enter(self, name: str, held: int) -> None:
        if held:
            self._busy.enter(name, held)
        else:
            self._quiet[name] = None

    def _leave(self, name: str, held: int) -> None:
        if held:
            self._busy.leave(name, held)
        else:
            del self._quiet[name]

    def _drop_if_empty(self, name: str, group: _Tenant) -> None:
        if not group.waiting and not group.held:
            del self._groups[name]


@dataclass(slots=True)
class _Group:
    """The messages of one group: those that wait and those that are held, as heaps.

    What is gone from one of them stays in its heap until it comes up.
    """

    waiting: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)


class Groups:
    """A FIFO queue: each group in the order of sending, and nothing of a group behind one of it that is held.

    What comes before all that is held is given out; of three in flight, the first that is given back comes again at
    once, and the last only when those before it are gone or given back, too. One call of ``take`` gives as many of one
    group as are wanted before it goes on to the next group.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._free: OrderedDict[str, None] = OrderedDict()
        """Groups whose next one may be given out, the one that waits longest first."""

        self._held: set[int] = set()
        """Of all groups."""

        self._removed: set[int] = set()
        """Those that are gone and still in the heap of those that wait."""

    def add(self, number: int, group: str) -> None:
        """Let *number* wait in its place within *group*."""
        heappush(self._find(group).waiting, number)
        self._settle(group)

    def take(self) -> Iterator[int]:
        """Give out the numbers of one free group after another, up to one that was held before."""
        while self._free:
            name = self._free.popitem(last=False)[0]
            group = self._groups[name]
            end = group.held[0] if group.held else inf
            while group.waiting and group.waiting[0] < end:
                number = heappop(group.waiting)
                self._put_in_hand(number, group)
                # The one before may have been released meanwhile, which freed the group.
                self._free.pop(name, None)
                yield number

    def put_back(self, number: int, group: str) -> None:
        """Let *number* wait in its old place."""
        self._held.discard(number)
        self.add(number, group)

    def hold(self, number: int, group: str) -> None:
        """Hold *number*, and so what is behind it."""
        self._put_in_hand(number, self._find(group))
        self._settle(group)

    def release(self, number: int, group: str) -> None:
        """Forget *number*, which frees what is next where no earlier one is held."""
        self._held.discard(number)
        self._settle(group)

    def remove(self, number: int, group: str) -> None:
        """Forget *number*."""
        self._removed.add(number)
        self._settle(group)

    def shuffle(self, random: Random) -> None:
        """Do nothing: a FIFO queue keeps its order."""

    def clear(self) -> None:
        """Forget all numbers."""
        for part in (self._groups, self._free, self._held, self._removed):
            part.clear()

    def _find(self, name: str) -> _Group:
        if name not in self._groups:
            self._groups[name] = _Group()
        return self._groups[name]

    def _put_in_hand(self, number: int, group: _Group) -> None:
        self._held.add(number)
        heappush(group.held, number)
        self._drop_gone(group)

    def _drop_gone(self, group: _Group) -> None:
        while group.waiting and group.waiting[0] in self._removed:
            self._removed.discard(heappop(group.waiting))
        while group.held and group.held[0] not in self._held:
            heappop(group.held)

    def _settle(self, name: str) -> None:
        group = self._groups[name]
        self._drop_gone(group)
        if group.waiting and not (group.held and group.held[0] < group.waiting[0]):
            self._free.setdefault(name)
        else:
            self._free.pop(name, None)
        if not group.waiting and not group.held:
            del self._groups[name]
