"""What handlers need besides messages: made when needed, closed after use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pytest

from megaflow import App, DependencyError, Message, RegistrationError, RetryLater, Router
from tests.consuming import Queues, running
from tests.waiting import PATIENCE


class Database:
    """Something that is opened, and notes what happens to it."""

    def __init__(self) -> None:
        self.closed = False
        self.heard: BaseException | None = None


class Session:
    def __init__(self, database: Database) -> None:
        self.database = database


class Client:
    """An async context manager."""

    log: list[str]

    async def __aenter__(self) -> Client:
        self.loop = asyncio.get_running_loop()
        self.log = ["opened"]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.log.append("closed")


class Transaction(AbstractContextManager["Transaction"]):
    def __init__(self) -> None:
        self.ended: object = "open"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ended = kind


@dataclass
class Settings:
    """A dataclass that is provided is no model of data."""

    limit: int


def test_what_is_provided_is_made_once_and_shared() -> None:
    app, got = App(), []
    app.provide(Database, Database)

    @app.on_text()
    def first(text: str, database: Database) -> None:
        got.append(database)

    @app.on_text()
    async def second(database: Database, text: str) -> None:
        got.append(database)

    app.process("ping")
    app.process("ping")

    assert len(got) == 4
    assert len(set(map(id, got))) == 1


def test_it_is_not_made_before_it_is_needed() -> None:
    app, made = App(), []

    def make() -> Database:
        made.append(Database())
        return made[-1]

    app.provide(Database, make)

    @app.on_text("ping")
    def handle(text: str, database: Database) -> None: ...

    app.process("pong")

    assert made == []


def test_what_is_made_for_a_message_is_made_for_each_call_of_a_handler_and_closed_after_it() -> None:
    app, said = App(), []

    def open_database() -> Iterator[Database]:
        database = Database()
        said.append("opened")
        yield database
        said.append("closed")

    app.provide(Database, open_database, scope="message")

    @app.on_text()
    def first(text: str, database: Database) -> None:
        said.append("first")

    @app.on_text()
    async def second(text: str, database: Database) -> None:
        said.append("second")

    app.process("ping")

    assert said == ["opened", "first", "closed", "opened", "second", "closed"]


def test_one_that_needs_another_gets_the_same_as_the_handler() -> None:
    app, got = App(), []
    app.provide(Settings, lambda: Settings(3))
    app.provide(Database, Database, scope="message")
    app.provide(Session, Session, scope="message")

    @app.on_data()
    def handle(payload: dict[str, Any], session: Session, database: Database, settings: Settings) -> None:
        got.append((session.database is database, settings.limit))

    app.process({"a": 1})

    assert got == [(True, 3)]


def test_a_transaction_hears_of_what_the_handler_raised() -> None:
    app, transactions = App(retry_on=ConnectionError), []

    def begin() -> Transaction:
        transactions.append(Transaction())
        return transactions[-1]

    app.provide(Transaction, begin, scope="message")

    @app.on_text()
    def handle(text: str, transaction: Transaction) -> None:
        if text == "bad":
            raise ConnectionError(text)

    verdicts = [app.process("good"), app.process("bad")]

    assert [each.ended for each in transactions] == [None, ConnectionError]
    assert [each.fate.value for each in verdicts] == ["deleted", "kept"]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_that_is_swallowed_while_closing_counts_all_the_same(is_async: bool) -> None:
    app = App()

    @contextmanager
    def forgive() -> Iterator[Database]:
        with suppress(ValueError):
            yield Database()

    app.provide(Database, forgive, scope="message")

    def handle(text: str, database: Database) -> None:
        raise ValueError("for good")

    async def ahandle(text: str, database: Database) -> None:
        raise ValueError("for good")

    app.on_text()(ahandle if is_async else handle)

    assert app.process("ping").dead_letters


def test_what_fails_to_close_counts_as_the_handlers_own_failure() -> None:
    app = App(retry_on=ConnectionError)

    def commit() -> Iterator[Database]:
        yield Database()
        raise ConnectionError("commit failed")

    app.provide(Database, commit, scope="message")

    @app.on_text()
    def handle(text: str, database: Database) -> None: ...

    verdict = app.process("ping")

    assert verdict.keeps
    assert str(verdict.outcomes[0].error) == "commit failed"


def test_where_it_cannot_be_made_the_message_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    app, ran = App(), []

    def connect() -> Database:
        raise OSError("no route")

    app.provide(Database, connect)

    @app.on_text()
    def handle(text: str, database: Database) -> None:
        ran.append(text)

    verdict = app.process("ping")

    assert verdict.keeps
    assert ran == []
    assert isinstance(verdict.outcomes[0].error, DependencyError)
    assert str(verdict.outcomes[0].error) == "Database could not be made: OSError: no route"
    assert "no route" in caplog.text


def test_what_makes_it_may_ask_for_later() -> None:
    app = App()

    def connect() -> Database:
        raise RetryLater(after=7)

    app.provide(Database, connect)

    @app.on_text()
    def handle(text: str, database: Database) -> None: ...

    verdict = app.process("ping")

    assert (verdict.keeps, verdict.after) == (True, 7)


def test_close_closes_what_was_made_once_last_things_first_and_it_is_made_anew() -> None:
    app, said = App(), []

    def open_database() -> Iterator[Database]:
        said.append("database opened")
        yield Database()
        said.append("database closed")

    def open_session(database: Database) -> Iterator[Session]:
        said.append("session opened")
        yield Session(database)
        said.append("session closed")

    app.provide(Database, open_database)
    app.provide(Session, open_session)

    @app.on_text()
    def handle(text: str, session: Session) -> None: ...

    app.process("ping")
    app.close()
    app.process("ping")

    opened = ["database opened", "session opened"]
    assert said == [*opened, "session closed", "database closed", *opened]


def test_what_has_to_be_awaited_is_made_and_closed_in_the_event_loop_of_its_handlers() -> None:
    app, clients = App(), []
    app.provide(Client, Client)

    @app.on_text()
    async def first(text: str, client: Client) -> None:
        clients.append(client)

    @app.on_text()
    async def second(text: str, client: Client) -> None:
        clients.append(client)

    app.process("ping")

    assert clients[0] is clients[1]
    assert clients[0].log == ["opened", "closed"]


def test_in_a_running_event_loop_it_is_closed_when_the_app_is_told_to() -> None:
    app, clients = App(), []

    async def connect() -> AsyncIterator[Client]:
        client = Client()
        client.log = ["opened"]
        yield client
        client.log.append("closed")

    app.provide(Client, connect)

    @app.on_text()
    async def handle(text: str, client: Client) -> None:
        clients.append(client)

    async def main() -> list[str]:
        await asyncio.gather(*(app.aprocess("ping") for _ in range(3)))
        open_ = list(clients[0].log)
        await app.aclose()
        return open_

    assert asyncio.run(main()) == ["opened"]
    assert len(set(map(id, clients))) == 1
    assert clients[0].log == ["opened", "closed"]


def test_what_makes_it_may_be_a_context_manager_by_its_decorator() -> None:
    app, clients = App(), []

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        client = Client()
        client.log = ["opened"]
        yield client
        client.log.append("closed")

    app.provide(Client, connect)

    @app.on_text()
    async def handle(text: str, client: Client) -> None:
        clients.append(client)

    app.process("ping")

    assert clients[0].log == ["opened", "closed"]
    with pytest.raises(RegistrationError, match="Client has to be awaited"):

        @app.on_text()
        def sync(text: str, client: Client) -> None: ...


def test_a_consumer_makes_them_and_closes_them_when_it_ends() -> None:
    queues, said, handled = Queues(), [], threading.Barrier(3)
    app = queues.app(concurrency=4)

    def open_database() -> Iterator[Database]:
        said.append("opened")
        yield Database()
        said.append("closed")

    app.provide(Database, open_database)
    app.provide(Client, Client)
    clients = []

    @app.on_text("sync")
    def handle(text: str, database: Database) -> None:
        handled.wait(PATIENCE)

    @app.on_text("async")
    async def ahandle(text: str, client: Client, database: Database) -> None:
        clients.append(client)
        await asyncio.to_thread(handled.wait, PATIENCE)

    app.publish("sync")
    app.publish("async")
    with running(app):
        handled.wait(PATIENCE)
    assert said == ["opened", "closed"]
    assert clients[0].log == ["opened", "closed"]
    assert queues.depth() == (0, 0)


def test_routers_bring_what_they_provide() -> None:
    router, app, got = Router(), App(), []
    router.provide(Settings, lambda: Settings(5))

    @router.on_text()
    def handle(text: str, settings: Settings, database: Database) -> None:
        got.append(settings.limit)

    app.provide(Database, Database)
    app.include(router)
    app.process("ping")

    assert got == [5]


def test_a_parameter_with_a_default_is_filled_only_where_somebody_provides_it() -> None:
    router, got = Router(), []
    fallback = Database()

    @router.on_text()
    def handle(text: str, database: Database = fallback) -> None:
        got.append(database is fallback)

    with_it, without = App(), App()
    with_it.provide(Database, Database)
    for app in (with_it, without):
        app.include(router)
        app.process("ping")

    assert got == [False, True]


def test_a_parameter_that_nobody_can_fill_is_refused_at_registration() -> None:
    app, router = App(), Router()

    def handle(text: str, database: Database) -> None: ...

    router.on_text(handler_name="handle")(handle)

    with pytest.raises(RegistrationError, match=r"'database': give app.provide\(Database, …\) before it is registered"):
        app.on_text()(handle)
    with pytest.raises(RegistrationError, match="handle: nobody can fill the parameter 'database'"):
        app.include(router)
    assert app.handlers == ()


def test_a_sync_handler_cannot_have_what_has_to_be_awaited() -> None:
    app = App()
    app.provide(Client, Client)

    def handle(text: str, client: Client) -> None: ...

    with pytest.raises(RegistrationError, match="is not async, and Client has to be awaited: make it async def"):
        app.on_text()(handle)


def test_what_cannot_be_provided_is_refused() -> None:
    app = App()
    app.provide(Database, Database)

    def needs_nobody_knows(other: Settings) -> Session: ...  # type: ignore[empty-body]
    def needs_a_transaction(transaction: Transaction) -> Session: ...  # type: ignore[empty-body]

    app.provide(Transaction, Transaction, scope="message")

    with pytest.raises(RegistrationError, match="Database is provided already"):
        app.provide(Database, lambda: Database())
    with pytest.raises(RegistrationError, match="what makes Session takes 'other', which nobody provides"):
        app.provide(Session, needs_nobody_knows)
    with pytest.raises(RegistrationError, match="Session is made once, and needs Transaction, which is made for each"):
        app.provide(Session, needs_a_transaction)
    with pytest.raises(RegistrationError, match="scope='request' must be one of 'process', 'message'"):
        app.provide(Session, Session, scope="request")  # type: ignore[arg-type]
    with pytest.raises(RegistrationError, match="what makes Session is a function or a class, not 7"):
        app.provide(Session, 7)  # type: ignore[arg-type]


def test_middleware_stands_around_what_is_made_for_a_message() -> None:
    app, said = App(), []

    def open_database() -> Iterator[Database]:
        said.append("opened")
        yield Database()
        said.append("closed")

    app.provide(Database, open_database, scope="message")

    @app.use
    def note(call_next: Any) -> Any:
        def call(handler: Any, message: Message) -> Any:
            said.append("before")
            answer = call_next(handler, message)
            said.append("after")
            return answer

        return call

    @app.on_text()
    def handle(text: str, database: Database) -> None:
        said.append("handled")

    app.process("ping")

    assert said == ["before", "opened", "handled", "closed", "after"]


def test_many_threads_that_need_it_at_once_get_one() -> None:
    app, made = App(), []
    together = threading.Barrier(8)

    def connect() -> Database:
        made.append(Database())
        return made[-1]

    app.provide(Database, connect)

    @app.on_text()
    def handle(text: str, database: Database) -> None: ...

    def process() -> None:
        together.wait(PATIENCE)
        app.process("ping")

    threads = [threading.Thread(target=process) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)

    assert len(made) == 1
