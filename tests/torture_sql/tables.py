"""The shop's tables: what was committed, and what was charged. No constraint keeps a double out of the charges."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, insert

metadata: Final = MetaData()

CUSTOMERS: Final = tuple(f"customer-{number}" for number in range(8))
"""Each is a message group on FIFO."""

customers: Final = Table(
    "customers",
    metadata,
    Column("queue", String, primary_key=True),
    Column("customer", String, primary_key=True),
    Column("last", Integer, nullable=False),
)
"""The number of each one's last order. Who writes orders of a customer locks the row."""

orders: Final = Table(
    "orders",
    metadata,
    Column("id", String, primary_key=True),
    Column("queue", String, nullable=False),
    Column("customer", String, nullable=False),
    Column("number", Integer, nullable=False),
)
"""Written in the transaction that publishes them."""

charges: Final = Table(
    "charges",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=True),
    Column("kind", String, nullable=False),
    Column("id", String, nullable=False),
    Column("queue", String, nullable=False),
    Column("customer", String, nullable=False),
    Column("number", Integer, nullable=False),
)
"""Written by the handlers, in the order of *place*: what was charged for each order, and the receipt for it."""


def create(connection: Connection, queues: tuple[str, ...]) -> None:
    """Make the tables, with all customers of each queue."""
    metadata.create_all(connection)
    rows: list[dict[str, Any]] = [
        {"queue": queue, "customer": customer, "last": 0} for queue in queues for customer in CUSTOMERS
    ]
    connection.execute(insert(customers), rows)
