"""Writers: each transaction writes some orders of one customer, publishes them, and commits or rolls back."""

from __future__ import annotations

import random
import threading
import uuid
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, insert, select, update
from sqlalchemy.exc import DBAPIError

from tests.torture_sql.brief import Brief, group_of, make_app, make_outbox
from tests.torture_sql.notes import Did, Notes
from tests.torture_sql.tables import CUSTOMERS, customers, orders

_ROLLED_BACK: Final = 0.25
_MOST_ORDERS: Final = 3
_PAUSE: Final = 0.15
_LINGERS: Final = 0.03
"""Seconds that a transaction stays open at most: so long others of its customer wait, and it can be killed."""


class Writer:
    """Writes to one queue until it is stopped, beside others that do."""

    def __init__(self, brief: Brief, notes: Notes) -> None:
        self._queue = brief.queue
        self._notes = notes
        self._hold = Path(brief.hold)
        self._luck = random.Random(brief.luck)
        self._engine: Engine = create_engine(brief.database)
        self._outbox = make_outbox(brief, make_app(brief), self._engine)
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.wait(self._luck.uniform(0, 2 * _PAUSE)):
            if not self._hold.exists():
                self._try_to_write()

    def stop(self) -> None:
        self._ends.set()

    def _try_to_write(self) -> None:
        try:
            with self._engine.connect() as connection:
                self._write(connection)
        except DBAPIError:
            # The database is away. Of a commit under way nobody knows what became, but the database.
            self._ends.wait(_PAUSE)

    def _write(self, connection: Connection) -> None:
        luck, is_customer = self._luck, customers.c.customer == self._luck.choice(CUSTOMERS)
        row = (customers.c.queue == self._queue) & is_customer
        # Locked, so that no other transaction of this customer overlaps: its messages have an order.
        found = connection.execute(select(customers).where(row).with_for_update()).one()
        numbers = range(found.last + 1, found.last + 1 + luck.randint(1, _MOST_ORDERS))
        ids = [self._place(connection, found.customer, number) for number in numbers]
        connection.execute(update(customers).where(row).values(last=numbers[-1]))
        self._ends.wait(luck.uniform(0, _LINGERS))
        if luck.random() < _ROLLED_BACK:
            connection.rollback()
            self._note(Did.ROLLED_BACK, ids)
        else:
            connection.commit()
            self._note(Did.COMMITTED, ids)

    def _place(self, connection: Connection, customer: str, number: int) -> str:
        id_ = uuid.uuid4().hex
        order = {"id": id_, "customer": customer, "number": number}
        self._note(Did.WRITES, [id_])
        connection.execute(insert(orders).values(order | {"queue": self._queue}))
        self._outbox.publish(connection, order | {"kind": "order"}, **group_of(self._queue, customer))
        return id_

    def _note(self, did: Did, ids: list[str]) -> None:
        for id_ in ids:
            self._notes.add(did, "order", id_)
