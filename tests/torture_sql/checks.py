"""What database and notes must say in the end, and what they show otherwise. No I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.torture_sql.notes import Did, Note

KINDS: Final = ("order", "receipt")
"""Of charges: what a writer has published, and what the handler of that has."""


@dataclass(frozen=True, slots=True)
class Order:
    """A row that was committed."""

    id: str
    queue: str
    customer: str
    number: int


@dataclass(frozen=True, slots=True)
class Charge:
    """A row of what was charged, in the order of *place*."""

    place: int
    kind: str
    id: str
    queue: str
    customer: str
    number: int


@dataclass(frozen=True, slots=True)
class Found:
    """All that is known in the end."""

    orders: Sequence[Order]
    charges: Sequence[Charge]
    notes: Sequence[Note]


def check(found: Found) -> Iterator[str]:
    """Give every violation."""
    yield from _check_committed(found)
    yield from _check_charged(found)
    yield from _check_rolled_back(found)
    yield from _check_order(found)


def _check_committed(found: Found) -> Iterator[str]:
    there = {order.id for order in found.orders}
    for note in found.notes:
        if note.did is Did.COMMITTED and note.id not in there:
            yield f"order {note.id} was committed at {note.at:.3f}, and the database has lost it"
        if note.did is Did.ROLLED_BACK and note.id in there:
            yield f"order {note.id} was rolled back at {note.at:.3f}, and the database has it"


def _check_charged(found: Found) -> Iterator[str]:
    times = Counter((charge.kind, charge.id) for charge in found.charges)
    for order in found.orders:
        for kind in KINDS:
            if (count := times[kind, order.id]) != 1:
                what = "never charged" if not count else f"charged {count} times"
                name = f"{order.queue}: {kind} {order.number} of {order.customer}"
                yield f"{name} was committed and {what}: {_tell(found, order.id)}"


def _check_rolled_back(found: Found) -> Iterator[str]:
    there = {order.id for order in found.orders}
    for charge in found.charges:
        if charge.id not in there:
            yield f"{charge.queue}: {charge.kind} {charge.id} was charged and not committed: {_tell(found, charge.id)}"
    for id_ in {note.id for note in found.notes if note.did is Did.RUNS} - there:
        yield f"order {id_} was sent and not committed: {_tell(found, id_)}"


def _check_order(found: Found) -> Iterator[str]:
    last: dict[tuple[str, str], int] = defaultdict(int)
    seen: set[tuple[str, str]] = set()
    for charge in sorted(found.charges, key=lambda charge: charge.place):
        # Of one that is charged twice, the first time counts.
        if charge.queue != "fifo" or (charge.kind, charge.id) in seen:
            continue
        seen.add((charge.kind, charge.id))
        before = last[charge.kind, charge.customer]
        if charge.number < before:
            name = f"{charge.kind} {charge.number} of {charge.customer}"
            yield f"fifo: {name} was charged after number {before}: {_tell(found, charge.id)}"
        last[charge.kind, charge.customer] = max(before, charge.number)


def _tell(found: Found, id_: str) -> str:
    """Return the history of an order in short."""
    own = [note for note in found.notes if note.id == id_]
    return ", ".join(f"{note.did} {note.kind} {note.pid} at {note.at:.3f}" for note in own) or "nobody noted it"


def summarize(found: Found) -> str:
    """Return in a few words what became of the orders."""
    did = Counter(note.did for note in found.notes)
    by_queue = Counter(order.queue for order in found.orders)
    unknown = did[Did.WRITES] - did[Did.COMMITTED] - did[Did.ROLLED_BACK]
    again = did[Did.RUNS] - len({(note.kind, note.id) for note in found.notes if note.did is Did.RUNS})
    return (
        f"{did[Did.WRITES]} orders written: {len(found.orders)} committed "
        f"({', '.join(f'{count} {queue}' for queue, count in sorted(by_queue.items()))}), "
        f"{did[Did.ROLLED_BACK]} rolled back, of {unknown} the writers do not know it; "
        f"{len(found.charges)} charges and receipts, by {did[Did.RUNS]} runs, {again} of them not the first"
    )
