"""What the tests of stores share: a PostgreSQL, as the tests of SQL have it."""

from tests.sql.conftest import cleared_url, server, shared_database

__all__ = ["cleared_url", "server", "shared_database"]
