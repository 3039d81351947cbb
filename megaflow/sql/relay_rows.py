"""Rows of the outbox as relays see them: groups claimed, and what became of rows written down.

A group is claimed by whoever holds the lock of its head, the first row of it that is not sent. So two relays have one
group only where its head has changed meanwhile, as a transaction with an earlier row was committed late; then the
second one has none of it. Each function is one short transaction of its caller's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    String,
    any_,
    bindparam,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    true,
    update,
)

from megaflow.errors import describe_error
from megaflow.logs import get_logger
from megaflow.publishing.later import read_message
from megaflow.sql.clock import now
from megaflow.sql.relay_core import CLAIM
from megaflow.sql.relay_protocol import Row, Settlement
from megaflow.sql.tables import outbox

log = get_logger(__name__)

READY: Final = "ready"
SCHEDULED: Final = "scheduled"
PARKED: Final = "parked"
"""The states of a row: it may be sent, or not yet, or never, as AWS refuses it."""

_MOST_ROWS: Final = 500
_MOST_GROUPS: Final = 100
_MOST_BYTES: Final = 16 * 1024 * 1024
"""What is claimed at once."""

_LOOKS_EVERY: Final = 5.0
"""Seconds: all rows that wait are read for it."""

_ERROR: Final = 1_000
"""Characters of an error that are kept."""


@dataclass(slots=True)
class Claimant:
    """Who claims: *name* is like no other's; *outbox* is whose rows. *seconds* are those of a claim."""

    name: str
    outbox: str
    seconds: float = CLAIM
    after: str = ""
    """The group that was looked at last, so that each has its turn."""

    looks_at: float | None = None
    """From when on the age of the oldest row is looked up; None where nobody wants to know it."""

    age: float | None = None
    """What that was, until somebody has taken note."""


def claim(connection: Connection, claimant: Claimant, began: float) -> list[Row]:
    """Claim rows whose turn it is, and return them in order; *began* is the time now, by the clock of this process."""
    # First, as it writes: on SQLite, nobody else does from here on, as with BEGIN IMMEDIATE.
    connection.execute(_BEGIN, {"name": claimant.outbox})
    if claimant.looks_at is not None and began >= claimant.looks_at:
        claimant.age = connection.execute(_OLDEST, {"name": claimant.outbox}).scalar() or 0.0
        claimant.looks_at = began + _LOOKS_EVERY
    loose = _find_loose(connection, claimant)
    grouped = _find_grouped(connection, claimant)
    if not loose and not grouped:
        return []
    values = {"me": claimant.name, "seconds": claimant.seconds, "ids": loose + [id_ for id_, _ in grouped]}
    taken = sorted(connection.execute(_by_ids(connection).take, values).all())
    lost = {group for id_, group in grouped} - _whole(grouped, {each.id for each in taken})
    if lost:
        _release(connection, claimant.name, [each.id for each in taken if each.group_key in lost])
    read = (_read_or_park(connection, claimant, each, began) for each in taken if each.group_key not in lost)
    return [row for row in read if row is not None]


def settle(connection: Connection, claimant: Claimant, settlement: Settlement) -> None:
    """Write down what became of rows, as far as they are still the claimant's."""
    me = claimant.name
    if settlement.sent:
        connection.execute(_by_ids(connection).delete, {"me": me, "ids": settlement.sent})
    if settlement.parked:
        connection.execute(_PARK, [{"me": me, "row": id_, "why": why[:_ERROR]} for id_, why in settlement.parked])
    if settlement.hidden:
        rows = [{"me": me, "row": row, "seconds": time, "why": why[:_ERROR]} for row, time, why in settlement.hidden]
        connection.execute(_HIDE, rows)
    _release(connection, me, settlement.released)


def _release(connection: Connection, me: str, ids: Sequence[int]) -> None:
    if ids:
        connection.execute(_by_ids(connection).release, {"me": me, "ids": ids})


def _find_loose(connection: Connection, claimant: Claimant) -> list[int]:
    """Lock rows that belong to no group, and return their ids."""
    found = connection.execute(_LOOSE, {"name": claimant.outbox, "most": _MOST_ROWS})
    return _within_size((each.id, each.size) for each in found)


def _find_grouped(connection: Connection, claimant: Claimant) -> list[tuple[int, str]]:
    """Lock the heads of groups, and return the ids of what can go of each, in its order, with the group."""
    heads = _find_heads(connection, claimant)
    locked = connection.execute(_by_ids(connection).lock, {"ids": list(heads)}).scalars().all() if heads else ()
    groups = [heads[id_] for id_ in locked]
    if not groups:
        return []
    ranked: list[tuple[int, int, str, int]] = []
    for group, rows in _read_groups(connection, claimant, groups, max(1, _MOST_ROWS // len(groups))).items():
        # Another one's claim, of which the lock of an earlier head says nothing.
        if not any(each.is_claimed for each in rows):
            ranked += [(rank, each.id, group, each.size) for rank, each in enumerate(rows)]
    ranked.sort()
    return _within_size(((id_, group), size) for _, id_, group, size in ranked)


def _find_heads(connection: Connection, claimant: Claimant) -> dict[int, str]:
    """Return the heads of groups that nobody has claimed, with their groups, from where the last claim has ended on."""
    heads: dict[int, str] = {}
    for after in dict.fromkeys((claimant.after, "")):
        values = {"name": claimant.outbox, "after": after, "most": _MOST_GROUPS - len(heads)}
        heads |= {each.id: each.key for each in connection.execute(_HEADS, values)}
        if len(heads) >= _MOST_GROUPS:
            break
    claimant.after = list(heads.values())[-1] if len(heads) >= _MOST_GROUPS else ""
    return heads


def _read_groups(connection: Connection, claimant: Claimant, groups: Sequence[str], most: int) -> dict[str, list[Any]]:
    """Return the first *most* rows of each group, in order."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    if connection.dialect.name == "postgresql":
        rows: Iterable[Any] = connection.execute(
            _FIRST_OF_ALL, {"name": claimant.outbox, "keys": list(groups), "most": most}
        )
    else:
        rows = (
            row
            for key in groups
            for row in connection.execute(_FIRST, {"name": claimant.outbox, "key": key, "most": most})
        )
    for row in rows:
        found[row.group_key].append(row)
    return {group: sorted(rows, key=lambda row: row.id) for group, rows in found.items()}


def _within_size(rows: Iterable[tuple[Any, int]]) -> list[Any]:
    """Return what can be in hand at once of things and their sizes: the first one however large it is."""
    taken: list[Any] = []
    size = 0
    for each, bytes_ in rows:
        size += bytes_
        if taken and size > _MOST_BYTES:
            break
        taken.append(each)
    return taken


def _whole(grouped: Sequence[tuple[int, str]], taken: set[int]) -> set[str]:
    """Return the groups of which all is *taken* that was to be."""
    return {group for _, group in grouped} - {group for id_, group in grouped if id_ not in taken}


def _read_or_park(connection: Connection, claimant: Claimant, row: Any, began: float) -> Row | None:
    """Return a row; park one that cannot be read, as a later version wrote it, or somebody changed it."""
    try:
        return _read(row, began, claimant.seconds)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others are to go
        why = f"this version cannot read it: {describe_error(error)}"
        log.error("outbox %s: row %d is parked: %s", claimant.outbox, row.id, why)
        connection.execute(_PARK, {"me": claimant.name, "row": row.id, "why": why[:_ERROR]})
        return None


def _read(row: Any, began: float, seconds: float) -> Row:
    message = read_message(row.body, row.options, row.size)
    begins_until, ends = began + seconds / 2, began + seconds
    return Row(row.id, row.group_key, row.destination, message, row.attempts, begins_until, ends)


def _is_free(rows: FromClause) -> Any:
    return or_(rows.c.claimed_until.is_(None), rows.c.claimed_until <= now())


def _ready(rows: FromClause) -> tuple[Any, Any]:
    return rows.c.outbox == bindparam("name"), rows.c.state == READY


def _next_group(after: Any) -> Any:
    """Return the first group after another one: looked up, where to read all rows would take too long."""
    rows = outbox.alias()
    return select(func.min(rows.c.group_key)).where(*_ready(rows), rows.c.group_key > after).scalar_subquery()


def _make_heads() -> Any:
    groups = select(_next_group(bindparam("after", type_=String)).label("key")).cte("groups", recursive=True)
    groups = groups.union_all(select(_next_group(groups.c.key)).where(groups.c.key.is_not(None)))
    rows = outbox.alias()
    first = (
        select(case((_is_free(rows), rows.c.id)))
        .where(*_ready(rows), rows.c.group_key == groups.c.key)
        .order_by(rows.c.id)
        .limit(1)
        .scalar_subquery()
    )
    heads = select(groups.c.key, first.label("id")).where(groups.c.key.is_not(None)).subquery()
    return select(heads.c.key, heads.c.id).where(heads.c.id.is_not(None)).limit(bindparam("most"))


def _make_first(key: Any) -> Any:
    columns = outbox.c.id, outbox.c.group_key, outbox.c.size
    is_claimed = func.coalesce(outbox.c.claimed_until > now(), False).label("is_claimed")
    found = select(*columns, is_claimed).where(*_ready(outbox), outbox.c.group_key == key)
    return found.order_by(outbox.c.id).limit(bindparam("most"))


def _make_first_of_all() -> Any:
    keys = func.unnest(cast(bindparam("keys"), ARRAY(String))).table_valued("key").render_derived()
    rows = _make_first(keys.c.key).lateral()
    return select(rows).select_from(keys.join(rows, true()))


_MINE: Final = outbox.c.claimed_by == bindparam("me")
_ROW: Final = outbox.c.id == bindparam("row")
_FREED: Final = {"claimed_by": None, "claimed_until": None}

_BEGIN: Final = (
    update(outbox)
    .where(outbox.c.outbox == bindparam("name"), outbox.c.not_before <= now(), outbox.c.state == SCHEDULED)
    .values(state=READY, not_before=None)
)
_OLDEST: Final = select(now() - func.min(outbox.c.created_at)).where(*_ready(outbox))
_LOOSE: Final = (
    select(outbox.c.id, outbox.c.size)
    .where(*_ready(outbox), outbox.c.group_key == "", _is_free(outbox))
    .order_by(outbox.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_HEADS: Final = _make_heads()
_FIRST: Final = _make_first(bindparam("key"))
_FIRST_OF_ALL: Final = _make_first_of_all()
_PARK: Final = update(outbox).where(_ROW, _MINE).values(state=PARKED, error=bindparam("why"), **_FREED)
_HIDE: Final = (
    update(outbox)
    .where(_ROW, _MINE)
    .values(
        claimed_by=None,
        claimed_until=now() + bindparam("seconds"),
        attempts=outbox.c.attempts + 1,
        error=bindparam("why"),
    )
)


class _ByIds:
    """The statements about the rows of many ids, which *are_theirs* tells."""

    def __init__(self, are_theirs: ColumnElement[bool]) -> None:
        are_free = are_theirs, outbox.c.state == READY, _is_free(outbox)
        self.lock: Final = select(outbox.c.id).where(*are_free).with_for_update(skip_locked=True)
        self.take: Final = (
            update(outbox)
            .where(*are_free)
            .values(claimed_by=bindparam("me"), claimed_until=now() + bindparam("seconds"))
            .returning(
                outbox.c.id,
                outbox.c.group_key,
                outbox.c.destination,
                outbox.c.body,
                outbox.c.options,
                outbox.c.size,
                outbox.c.attempts,
            )
        )
        self.delete: Final = delete(outbox).where(are_theirs, _MINE)
        self.release: Final = update(outbox).where(are_theirs, _MINE).values(**_FREED)


_LISTED: Final = _ByIds(outbox.c.id.in_(bindparam("ids", expanding=True)))
_IN_ARRAY: Final = _ByIds(outbox.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
"""One parameter for all ids, where a database has arrays: to write them into each statement takes longer than it."""


def _by_ids(connection: Connection) -> _ByIds:
    return _IN_ARRAY if connection.dialect.name == "postgresql" else _LISTED
