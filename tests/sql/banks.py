"""A bank for tests: a table of charges in SQLite or PostgreSQL, and an inbox of the same database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, event, insert, select

from megaflow.sql import Inbox
from megaflow.sql.tables import inbox as inbox_table

charges = Table("charges", MetaData(), Column("what", String, primary_key=False))


def made_by_another(engine: Engine, table: Table) -> None:
    """Let somebody else make *table* once *engine* has found that it is not there, and is about to make it."""
    another = create_engine(engine.url)

    def make(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if f"CREATE TABLE {table.name}" in statement:
            table.create(another, checkfirst=True)
            another.dispose()

    event.listen(engine, "before_cursor_execute", make)


@dataclass
class Bank:
    """A database with charges."""

    url: str
    timeout: float = 3.0
    """Seconds that SQLite waits for others."""

    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = create_engine(self.url, connect_args={"timeout": self.timeout} if self.is_sqlite else {})
        charges.create(self.engine, checkfirst=True)

    def inbox(self, **options: Any) -> Inbox:
        made = Inbox(self.engine, **options)
        made.create_tables()
        return made

    @property
    def async_url(self) -> str:
        return self.url.replace("sqlite:", "sqlite+aiosqlite:").replace("+psycopg:", "+asyncpg:")

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def charged(self) -> list[str]:
        """Return what was charged, in order of names."""
        with self.engine.begin() as connection:
            return sorted(connection.scalars(select(charges.c.what)))

    def rows(self) -> list[tuple[str, str, str]]:
        """Return what stands in the inbox."""
        columns = inbox_table.c
        with self.engine.begin() as connection:
            found = connection.execute(select(columns.queue, columns.handler, columns.key)).all()
        return sorted((row.queue, row.handler, row.key) for row in found)

    def keys(self) -> list[str]:
        return [key for _, _, key in self.rows()]

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """Note the statements that are sent meanwhile."""
        said: list[str] = []

        def note(*args: Any) -> None:
            said.append(args[2])

        event.listen(self.engine, "before_cursor_execute", note)
        try:
            yield said
        finally:
            event.remove(self.engine, "before_cursor_execute", note)


def charge(session: Any, what: str) -> None:
    """Charge within a session, or a connection."""
    session.execute(insert(charges).values(what=what))


def sqlite_bank(folder: Path) -> Bank:
    return Bank(f"sqlite:///{folder / 'bank.db'}")
