"""A connection lost within a handler of an inbox was told as ``UsageError: invalidate() is not the handler's``.

SQLAlchemy calls `Connection.invalidate` by itself, with the error, once it finds that the server is gone. Neither the
handler nor a circuit breaker saw the error of the database, and the log blamed the handler.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from megaflow import App, ProcessStatus
from megaflow.messages.message import open_message
from tests.sql.banks import Bank, charge
from tests.sql.conftest import database as database
from tests.sql.conftest import server as server

ENDS = text("SELECT pg_terminate_backend(pg_backend_pid())")


def test_the_outcome_has_the_error_of_the_database(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    app = App(retry_on=())
    app.provide(Session, bank.inbox())

    @app.on_text()
    def lose(what: str, session: Session) -> None:
        charge(session, what)
        session.execute(ENDS)

    [outcome] = app.process(open_message("a", id="1")).outcomes

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert isinstance(outcome.error, DBAPIError)
    assert outcome.error.connection_invalidated
    assert bank.charged() == []
    bank.engine.dispose()


def test_the_handler_can_see_it(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    seen: list[Exception] = []
    app = App(retry_on=())
    app.provide(Connection, bank.inbox())

    @app.on_text()
    def lose(what: str, connection: Connection) -> None:
        try:
            connection.execute(ENDS)
        except DBAPIError as error:
            seen.append(error)

    [outcome] = app.process(open_message("a", id="1")).outcomes

    assert len(seen) == 1
    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert bank.keys() == []
    bank.engine.dispose()
