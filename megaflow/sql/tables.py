"""The tables: one `metadata` for all of them, for ``create_tables()`` and Alembic. Times are seconds of the epoch."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Double, MetaData, String, Table, Text

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
