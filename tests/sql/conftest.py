"""What the tests of SQL share: a PostgreSQL of their own, and an empty database of it for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from tests.postgresql import Postgresql, postgresql
from tests.sql.banks import Bank, sqlite_bank


@pytest.fixture(scope="session")
def server() -> Iterator[Postgresql]:
    """A PostgreSQL, for as long as the tests run. Who kills it starts it again."""
    with postgresql() as server:
        yield server


@pytest.fixture
def database(server: Postgresql) -> str:
    """The name of an empty database; `Postgresql.url` gives its address."""
    return server.create_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine of an empty database: SQLite's, and PostgreSQL's."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("cleared_url")
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def shared_database(server: Postgresql) -> str:
    """The name of a database for tests that clear it behind them: to make one for each takes long."""
    return server.create_database()


@pytest.fixture
def cleared_url(server: Postgresql, shared_database: str) -> Iterator[str]:
    """The address of a database that is empty before the test, and after it."""
    yield server.url(shared_database)
    server.execute("DROP SCHEMA public CASCADE", shared_database)
    server.execute("CREATE SCHEMA public", shared_database)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bank]:
    """A database with a table of charges, in either kind."""
    is_sqlite = request.param == "SQLite"
    bank = sqlite_bank(tmp_path) if is_sqlite else Bank(request.getfixturevalue("cleared_url"))
    yield bank
    bank.engine.dispose()
