"""Faults that are planted in workers, to see that they are found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Insert, delete, select

from megaflow.publishing.batches import EntryAnswer
from megaflow.sql import relay, relay_rows
from megaflow.sql.relay_protocol import Call, Row
from megaflow.sql.relay_rows import Claimant
from megaflow.sql.tables import inbox, outbox
from megaflow.sql.transactions import InboxTransaction

_PAUSE: Final = 0.2
"""Seconds between what should be one, so that a blow falls in between on every machine."""


class Plant(StrEnum):
    """What is wrong."""

    NONE = "none"
    DELETES_FIRST = "deletes-first"
    """A relay deletes rows, and then sends them."""

    INBOX_APART = "inbox-apart"
    """The row of the inbox is written in a transaction of its own, after the one of the effects."""

    CLAIMS_ROWS = "claims-rows"
    """A relay claims rows, whoever has others of their group."""


def plant(what: Plant) -> None:
    """Make this process do it wrong."""
    if what is Plant.DELETES_FIRST:
        relay.claim = _claim_and_delete  # type: ignore[attr-defined]
        relay.Sender._send = _send_later  # type: ignore[method-assign]
    elif what is Plant.INBOX_APART:
        InboxTransaction.begin = _look_for_row  # type: ignore[method-assign]
        InboxTransaction.end = _write_row_later  # type: ignore[method-assign]
    elif what is Plant.CLAIMS_ROWS:
        relay_rows._find_grouped = _find_rows


def _claim_and_delete(connection: Connection, claimant: Claimant, began: float) -> list[Row]:
    rows = relay_rows.claim(connection, claimant, began)
    connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
    return rows


def _send_later(self: relay.Sender, call: Call) -> list[EntryAnswer]:
    time.sleep(_PAUSE)
    return _send(self, call)


def _look_for_row(self: InboxTransaction, statement: Insert, row: Mapping[str, Any]) -> bool:
    is_new = _begin(self, statement, row)
    if is_new:
        self._connection.execute(delete(inbox).where(*(each == row[each.name] for each in inbox.primary_key.columns)))
    return is_new


def _write_row_later(self: InboxTransaction, *, commit: bool) -> None:
    engine, row = self._connection.engine, self._row
    _end(self, commit=commit)
    if commit:
        time.sleep(_PAUSE)
        with engine.begin() as connection:
            connection.execute(inbox.insert().values({each.name: row[each.name] for each in inbox.columns}))


def _find_rows(connection: Connection, claimant: Claimant) -> list[tuple[int, str]]:
    mine = outbox.c.outbox == claimant.outbox, outbox.c.state == relay_rows.READY, outbox.c.group_key != ""
    rows = select(outbox.c.id, outbox.c.group_key).where(*mine, relay_rows._is_free(outbox)).order_by(outbox.c.id)
    return [(id_, group) for id_, group in connection.execute(rows.limit(1).with_for_update(skip_locked=True))]


_send: Final = relay.Sender._send
_begin: Final = InboxTransaction.begin
_end: Final = InboxTransaction.end
