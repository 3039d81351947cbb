"""The tables: one `metadata` for all of them, for ``create_tables()`` and Alembic. Times are seconds of the epoch."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text

metadata: Final = MetaData()
"""What stands in the database. Hand it to Alembic beside your own: ``target_metadata = [Base.metadata, metadata]``."""

progress: Final = Table(
    "megaflow_progress",
    metadata,
    Column("work", String, primary_key=True),
    Column("handler", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("error", Text, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)
"""How handlers ended, for `SqlStore`."""

keys: Final = Table(
    "megaflow_keys",
    metadata,
    Column("key", String, primary_key=True),
    Column("owner", String),
    Column("expires_at", Double, nullable=False, index=True),
)
"""Idempotency keys, for `SqlStore`: nobody owns one that is done."""

inbox: Final = Table(
    "megaflow_inbox",
    metadata,
    Column("queue", String, primary_key=True),
    Column("handler", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
)
"""What handlers have done, each row written in the transaction that did it, for `Inbox`."""

outbox: Final = Table(
    "megaflow_outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("outbox", String, nullable=False),
    Column("state", String, nullable=False),
    Column("group_key", String, nullable=False),
    Column("destination", String, nullable=False),
    Column("megaflow_id", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("not_before", Double),
    Column("claimed_by", String),
    Column("claimed_until", Double),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Index("ix_megaflow_outbox_line", "outbox", "state", "group_key", "id"),
    Index("ix_megaflow_outbox_not_before", "outbox", "not_before"),
    # An id is never used again: what was claimed by it may be another row then.
    sqlite_autoincrement=True,
)
"""Messages that are to be sent once their transaction is committed, for `Outbox`. Their order is that of their ids."""
