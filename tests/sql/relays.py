"""Relays for a test's while, and the databases that they have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, func, select

from megaflow.sql import Outbox
from megaflow.sql.tables import outbox as table
from tests.publishing.queue_server import QueueServer, queue_server
from tests.waiting import PATIENCE, wait_until

SQLITE, POSTGRESQL = "sqlite", "postgresql"


def file_url(folder: Path, driver: str = "") -> str:
    """Return the address of an SQLite database."""
    return f"sqlite{driver}:///{folder / 'outbox.db'}"


@pytest.fixture
def queue() -> Iterator[QueueServer]:
    """Queues that note what is sent to them."""
    with queue_server() as server:
        yield server


@pytest.fixture(name="engine")
def engine_of_a_file(tmp_path: Path) -> Iterator[Engine]:
    """An engine of an empty SQLite database."""
    engine = create_engine(file_url(tmp_path))
    yield engine
    engine.dispose()


@contextmanager
def relaying(outbox: Outbox, count: int = 1, engine: Engine | None = None) -> Iterator[None]:
    """Run so many relays."""
    with ExitStack() as stack:
        for _ in range(count):
            thread = threading.Thread(target=outbox.relay, args=() if engine is None else (engine,), daemon=True)
            thread.start()
            stack.callback(thread.join, PATIENCE)
        wait_until(lambda: len(outbox._runs._running) == count)
        stack.callback(outbox.stop)
        yield


def rows_of(engine: Engine, *columns: str, state: str | None = None) -> list[Any]:
    """Return what stands in the outbox, in order."""
    wanted = [table.c[name] for name in columns or ("id",)]
    query = select(*wanted).order_by(table.c.id)
    with engine.connect() as connection:
        return list(connection.execute(query if state is None else query.where(table.c.state == state)))


def count_of(engine: Engine) -> int:
    """Return how many rows stand in the outbox."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


@contextmanager
def seeing_statements(engine: Engine) -> Iterator[list[str]]:
    """Note the statements that are executed."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
