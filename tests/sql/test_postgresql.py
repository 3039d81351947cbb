"""The PostgreSQL of the tests: what it has stays when it is killed, and each test has a database of its own."""

from __future__ import annotations

from tests.postgresql import Postgresql


def test_what_was_committed_stays_when_it_is_killed(server: Postgresql, database: str) -> None:
    server.execute("CREATE TABLE kept (number INTEGER)", database)

    server.restart()

    server.execute("INSERT INTO kept VALUES (1)", database)


def test_no_test_sees_what_another_has_made(server: Postgresql) -> None:
    first, second = server.create_database(), server.create_database()

    server.execute("CREATE TABLE made (number INTEGER)", first)

    server.execute("CREATE TABLE made (number INTEGER)", second)
