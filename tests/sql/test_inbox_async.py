"""The inbox of async handlers: the same, awaited, in the event loop of the handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError

from megaflow import App, ConfigurationError, HandlerTimeoutError, Outcome, ProcessStatus, RegistrationError, UsageError
from megaflow.sql import Inbox
from megaflow.testing import TestClient
from tests.consuming import Queues, running
from tests.sql.banks import Bank, charges
from tests.sql.test_inbox import received
from tests.waiting import wait_until

pytest.importorskip("greenlet", reason="async SQLAlchemy needs greenlet, which is not installed")

from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

CHARGE = charges.insert()


@asynccontextmanager
async def opened(bank: Bank) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(bank.async_url)
    try:
        yield engine
    finally:
        await engine.dispose()


def app_of(inbox: Inbox, **options: Any) -> App:
    app = App(**options)
    app.provide(AsyncSession, inbox)
    return app


async def do_nothing(session: AsyncSession) -> None: ...


def charging(app: App, then: Callable[[AsyncSession], Awaitable[Any]] = do_nothing, **options: Any) -> list[str]:
    called: list[str] = []

    @app.on_text(handler_name="charge", **options)
    async def charge_text(what: str, session: AsyncSession) -> Any:
        called.append(what)
        await session.execute(CHARGE.values(what=what))
        return await then(session)

    return called


async def process(app: App, body: str, **message: Any) -> Outcome:
    [outcome] = (await app.aprocess(received(body, **message))).outcomes
    return outcome


def run_on(bank: Bank, test: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    """Run *test* with an engine of an event loop."""
    bank.inbox()

    async def run() -> None:
        async with opened(bank) as engine:
            await test(engine)

    asyncio.run(run())


def test_an_async_handler_runs_once(bank: Bank) -> None:
    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine))
        called = charging(app)

        outcomes = [await process(app, "a") for _ in range(2)]

        assert [each.skipped for each in outcomes] == ["", "done earlier"]
        assert [each.status for each in outcomes] == [ProcessStatus.DONE] * 2
        assert called == ["a"]

    run_on(bank, test)

    assert bank.charged() == ["a"]
    assert bank.keys() == ["message:1"]


def test_an_async_sessionmaker_makes_the_sessions(bank: Bank) -> None:
    class OwnSession(AsyncSession):
        pass

    async def test(engine: AsyncEngine) -> None:
        app, got = App(), []
        app.provide(OwnSession, Inbox(async_sessionmaker(engine, class_=OwnSession)))

        @app.on_text()
        async def handle(what: str, session: OwnSession) -> None:
            got.append(isinstance(session, OwnSession))
            await session.execute(CHARGE.values(what=what))

        await process(app, "a")
        assert got == [True]

    run_on(bank, test)

    assert bank.charged() == ["a"]


def test_session_and_connection_are_of_one_transaction(bank: Bank) -> None:
    async def test(engine: AsyncEngine) -> None:
        inbox, app = Inbox(engine), App()
        app.provide(AsyncSession, inbox)
        app.provide(AsyncConnection, inbox)
        same: list[bool] = []

        @app.on_text()
        async def handle(what: str, session: AsyncSession, connection: AsyncConnection) -> None:
            same.append((await session.connection()).sync_connection is connection.sync_connection)
            await connection.execute(CHARGE.values(what=what))

        await process(app, "a")
        assert same == [True]

    run_on(bank, test)

    assert bank.charged() == ["a"]


def test_what_is_not_done_rolls_back(bank: Bank) -> None:
    async def later(session: AsyncSession) -> ProcessStatus:
        return ProcessStatus.RETRY_LATER

    async def fail(session: AsyncSession) -> None:
        raise ValueError("no")

    async def test(engine: AsyncEngine) -> None:
        for then, status in ((later, ProcessStatus.RETRY_LATER), (fail, ProcessStatus.FATAL_ERROR)):
            app = app_of(Inbox(engine))
            charging(app, then)
            assert (await process(app, "a")).status is status

    run_on(bank, test)

    assert (bank.charged(), bank.rows()) == ([], [])


def test_a_handler_that_took_too_long_is_cancelled_and_rolled_back(bank: Bank) -> None:
    async def hang(session: AsyncSession) -> None:
        await asyncio.Event().wait()

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine))
        charging(app, hang, timeout=0.3)

        outcome = await process(app, "a")

        assert isinstance(outcome.error, HandlerTimeoutError)
        # What was rolled back holds nothing up.
        again = app_of(Inbox(engine))
        charging(again)
        assert (await process(again, "a")).skipped == ""

    run_on(bank, test)

    assert bank.charged() == ["a"]


def test_a_task_that_is_cancelled_rolls_back(bank: Bank) -> None:
    async def test(engine: AsyncEngine) -> None:
        app, within = app_of(Inbox(engine)), asyncio.Event()

        async def hang(session: AsyncSession) -> None:
            within.set()
            await asyncio.Event().wait()

        charging(app, hang)
        task = asyncio.create_task(process(app, "a"))
        await within.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_on(bank, test)

    assert (bank.charged(), bank.rows()) == ([], [])


@pytest.mark.parametrize("what", ["commit", "rollback", "close"])
def test_an_async_handler_may_not_end_the_transaction(bank: Bank, what: str) -> None:
    async def end(session: AsyncSession) -> None:
        await getattr(session, what)()

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine))
        charging(app, end)

        outcome = await process(app, "a")

        assert (outcome.status, type(outcome.error)) == (ProcessStatus.RETRIABLE_ERROR, UsageError)

    run_on(bank, test)

    assert (bank.charged(), bank.rows()) == ([], [])


def test_an_async_handler_that_rolls_back_behind_sqlalchemy_s_back_is_not_done(bank: Bank) -> None:
    async def end(session: AsyncSession) -> None:
        await session.execute(text("ROLLBACK"))

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine))
        charging(app, end)

        outcome = await process(app, "a")

        assert outcome.status is ProcessStatus.RETRIABLE_ERROR
        assert "has ended the transaction" in str(outcome.error)

    run_on(bank, test)

    assert (bank.charged(), bank.rows()) == ([], [])


def test_an_async_handler_may_not_begin_another_but_a_savepoint(bank: Bank) -> None:
    async def begin(session: AsyncSession) -> None:
        async with session.begin_nested():
            await session.execute(CHARGE.values(what="nested"))
        async with session.begin():
            pass

    async def save(session: AsyncSession) -> None:
        async with session.begin_nested():
            await session.execute(CHARGE.values(what="nested"))

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine))
        charging(app, begin)
        assert "use begin_nested()" in str((await process(app, "a")).error)
        app = app_of(Inbox(engine))
        charging(app, save)
        assert (await process(app, "b")).status is ProcessStatus.DONE

    run_on(bank, test)

    assert bank.charged() == ["b", "nested"]


def test_a_handler_that_goes_on_after_a_statement_failed_loses_nothing_in_silence(bank: Bank) -> None:
    # PostgreSQL answers COMMIT with ROLLBACK then, and no error.
    async def go_on(session: AsyncSession) -> None:
        with pytest.raises(Exception, match="nothing_of_the_kind"):
            await session.execute(text("SELECT * FROM nothing_of_the_kind"))

    outcomes: list[Outcome] = []

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine))
        charging(app, go_on)
        outcomes.append(await process(app, "a"))

    run_on(bank, test)

    assert outcomes[0].status is (ProcessStatus.DONE if bank.is_sqlite else ProcessStatus.RETRIABLE_ERROR)
    assert bank.charged() == (["a"] if bank.is_sqlite else [])


def test_the_second_of_two_at_once_waits(bank: Bank) -> None:
    async def test(engine: AsyncEngine) -> None:
        inbox, within, may_go_on = Inbox(engine), asyncio.Event(), asyncio.Event()

        async def wait(session: AsyncSession) -> None:
            within.set()
            await may_go_on.wait()

        one, other = app_of(inbox), app_of(inbox)
        charging(one, wait)
        called = charging(other)
        first = asyncio.create_task(process(one, "a"))
        await within.wait()
        second = asyncio.create_task(process(other, "a"))
        await asyncio.sleep(0)
        may_go_on.set()

        assert ((await first).skipped, (await second).skipped) == ("", "done earlier")
        assert called == []

    run_on(bank, test)

    assert bank.charged() == ["a"]


def test_who_waits_too_long_comes_again_later(bank: Bank) -> None:
    async def test(engine: AsyncEngine) -> None:
        inbox, within, may_go_on = Inbox(engine), asyncio.Event(), asyncio.Event()

        async def wait(session: AsyncSession) -> None:
            within.set()
            await may_go_on.wait()

        one, other = app_of(inbox), app_of(inbox, visibility_timeout=1)
        charging(one, wait)
        charging(other)
        first = asyncio.create_task(process(one, "a"))
        await within.wait()

        assert (await process(other, "a")).status is ProcessStatus.RETRY_LATER
        may_go_on.set()
        assert (await first).status is ProcessStatus.DONE

    run_on(bank, test)

    assert bank.charged() == ["a"]


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_what_others_are_in_the_way_of_comes_again_later(server: Any, database: str, state: str) -> None:
    bank = Bank(server.url(database))

    async def fail(session: AsyncSession) -> None:
        await session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"))

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine), retry_on=())
        charging(app, fail)
        assert (await process(app, "a")).status is ProcessStatus.RETRY_LATER

    run_on(bank, test)

    bank.engine.dispose()


def test_a_connection_that_is_lost_is_not_the_message_s_fault(server: Any, database: str) -> None:
    bank = Bank(server.url(database))

    async def lose(session: AsyncSession) -> None:
        process_id = await session.scalar(text("SELECT pg_backend_pid()"))
        server.execute(f"SELECT pg_terminate_backend({process_id}, 10000)")

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine), retry_on=())
        charging(app, lose)
        assert (await process(app, "a")).status is ProcessStatus.RETRIABLE_ERROR

    run_on(bank, test)

    assert (bank.charged(), bank.rows()) == ([], [])
    bank.engine.dispose()


def test_a_connection_that_is_lost_within_a_statement_is_told_by_the_database_s_error(
    server: Any, database: str
) -> None:
    bank = Bank(server.url(database))

    async def lose(session: AsyncSession) -> None:
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async def test(engine: AsyncEngine) -> None:
        app = app_of(Inbox(engine), retry_on=())
        charging(app, lose)
        outcome = await process(app, "a")
        assert outcome.status is ProcessStatus.RETRIABLE_ERROR
        assert isinstance(outcome.error, DBAPIError)

    run_on(bank, test)

    assert (bank.charged(), bank.rows()) == ([], [])
    bank.engine.dispose()


def test_tables_are_made_by_async_engines_with_and_without_an_event_loop(bank: Bank) -> None:
    engine = create_async_engine(bank.async_url)
    inbox = Inbox(engine)

    inbox.create_tables()
    inbox.check()

    async def again() -> None:
        await inbox.acreate_tables()
        with pytest.raises(UsageError, match=r"await acreate_tables\(\)"):
            inbox.create_tables()
        await engine.dispose()

    asyncio.run(again())
    assert bank.rows() == []


def test_an_async_app_does_not_begin_without_the_table(bank: Bank) -> None:
    app = Queues().app()
    app.provide(AsyncSession, Inbox(create_async_engine(bank.async_url)))
    charging(app)

    with pytest.raises(ConfigurationError, match="the table megaflow_inbox is not there"):
        app.run()


def test_a_consumer_runs_them_in_its_own_event_loop(bank: Bank) -> None:
    bank.inbox()
    queues = Queues()
    app = queues.app(concurrency=4)
    engine = create_async_engine(bank.async_url)
    app.provide(AsyncSession, Inbox(engine))

    async def make() -> AsyncIterator[Engine]:
        yield Engine(engine)
        await engine.dispose()

    app.provide(Engine, make)
    called: list[str] = []

    @app.on_text()
    async def handle(what: str, session: AsyncSession, used: Engine) -> None:
        called.append(what)
        await session.execute(CHARGE.values(what=what))

    for number in range(10):
        for _ in range(2):
            app.publish(f"{number}", attributes={"megaflow-id": str(number)})

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert sorted(called) == bank.charged() == [str(number) for number in range(10)]


class Engine:
    """An engine that is closed where it was used."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine


def test_a_plain_handler_does_not_get_what_is_awaited(bank: Bank) -> None:
    app = app_of(Inbox(create_async_engine(bank.async_url)))

    with pytest.raises(RegistrationError, match="make it async def"):

        @app.on_text()
        def handle(what: str, session: AsyncSession) -> None: ...


def test_the_test_client_runs_them(bank: Bank) -> None:
    bank.inbox()
    engine = create_async_engine(bank.async_url, poolclass=NullPool)
    app = app_of(Inbox(engine))
    called = charging(app, idempotency_key=lambda what: what)

    with TestClient(app) as client:
        client.publish("a")
        client.publish("a")

    assert called == bank.charged() == ["a"]
