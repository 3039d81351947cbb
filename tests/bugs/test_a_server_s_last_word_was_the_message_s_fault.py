"""A handler of an inbox met PostgreSQL's end before the connection was closed, and its message was taken for hopeless.

SQLAlchemy says that a connection is lost once it is closed. Between the server's last word and that, drivers raise
other errors: with the codes of a server that ends, or, in asyncpg, one without any code.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from sqlalchemy.orm import Session

from megaflow import App, ProcessStatus
from megaflow.messages.message import open_message
from tests.sql.banks import Bank, charge
from tests.sql.conftest import database as database
from tests.sql.conftest import server as server


class InternalClientError(Exception):
    """As asyncpg calls it, which is not there for each Python."""


STATE: Final = InternalClientError("cannot switch to state 12; another operation (2) is in progress")


def process(bank: Bank, fails: Any) -> ProcessStatus:
    app = App(retry_on=())
    app.provide(Session, bank.inbox())

    @app.on_text()
    def fail(what: str, session: Session) -> None:
        charge(session, what)
        fails(session)

    [outcome] = app.process(open_message("a", id="1")).outcomes
    return outcome.status


@pytest.mark.parametrize("code", ["57P01", "57P02", "57P03", "08003", "08006"])
def test_what_a_server_says_that_ends_is_worth_another_try(server: Any, database: str, code: str) -> None:
    bank = Bank(server.url(database))
    ends = text(f"DO $$ BEGIN RAISE EXCEPTION 'the server ends' USING ERRCODE = '{code}'; END $$")

    status = process(bank, lambda session: session.execute(ends))

    assert status is ProcessStatus.RETRIABLE_ERROR
    assert (bank.charged(), bank.rows()) == ([], [])
    bank.engine.dispose()


@pytest.mark.parametrize("error", [STATE, InternalError("INSERT", {}, STATE)], ids=["as it is", "by SQLAlchemy"])
def test_what_asyncpg_says_of_a_connection_that_ends_is_worth_another_try(
    server: Any, database: str, error: Exception
) -> None:
    bank = Bank(server.url(database))

    def fail(session: Session) -> None:
        raise error

    assert process(bank, fail) is ProcessStatus.RETRIABLE_ERROR
    assert bank.rows() == []
    bank.engine.dispose()


def test_an_error_of_the_statement_is_the_handler_s(server: Any, database: str) -> None:
    bank = Bank(server.url(database))

    status = process(bank, lambda session: session.execute(text("SELECT 1 / 0")))

    assert status is ProcessStatus.FATAL_ERROR
    bank.engine.dispose()
