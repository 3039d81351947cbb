"""What the tests of SQL share: a PostgreSQL of their own, and an empty database of it for each test."""

from collections.abc import Iterator

import pytest

from tests.postgresql import Postgresql, postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[Postgresql]:
    """A PostgreSQL, for as long as the tests run. Who kills it starts it again."""
    with postgresql() as server:
        yield server


@pytest.fixture
def database(server: Postgresql) -> str:
    """The name of an empty database; `Postgresql.url` gives its address."""
    return server.create_database()
