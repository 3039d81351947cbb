"""What the tests of stores share: a PostgreSQL, as the tests of SQL have it."""

from tests.sql.conftest import database, server

__all__ = ["database", "server"]
