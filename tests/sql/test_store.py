"""`SqlStore`: what is special to it; the tests of stores have what all of them do."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import Table, create_engine, event, func, select

from megaflow import Claim, ConfigurationError, Ended, MemoryStore, ProcessStatus
from megaflow.sql import SqlStore, metadata
from megaflow.sql.tables import keys, progress
from tests.consuming import Queues, running
from tests.examples import examples
from tests.sql.banks import Bank, made_by_another
from tests.stores.test_stores import DONE, Clock, Step, play, steps
from tests.waiting import PATIENCE, wait_until


def store_of(bank: Bank, **options: Any) -> SqlStore:
    store = SqlStore(bank.engine, **options)
    store.create_tables()
    return store


def size(bank: Bank) -> tuple[int, ...]:
    with bank.engine.begin() as connection:
        return tuple(connection.scalar(select(func.count()).select_from(each)) or 0 for each in (progress, keys))


@settings(max_examples=examples(30))
@given(steps=steps)
def test_sql_says_what_memory_says(steps: list[Step], tmp_path_factory: pytest.TempPathFactory) -> None:
    clock = Clock()
    bank = Bank(f"sqlite:///{tmp_path_factory.mktemp('stores') / 's.db'}")
    memory, sql = MemoryStore(keep_for=30, clock=clock), store_of(bank, keep_for=30, clock=clock)

    for step in steps:
        here, there = clock.now, play(memory, clock, step)
        clock.now = here
        assert play(sql, clock, step) == there, step

    bank.engine.dispose()


def test_progress_is_kept_as_long_as_sqs_keeps_a_message_at_the_most(bank: Bank) -> None:
    clock = Clock()
    store = store_of(bank, clock=clock)
    store.save("m1", "reserve", DONE)

    clock.now += 14 * 86_400 - 1
    assert store.load("m1") == {"reserve": DONE}
    clock.now += 1

    assert store.load("m1") == {}


def test_it_does_not_grow_with_what_has_expired(bank: Bank) -> None:
    clock = Clock()
    store = store_of(bank, keep_for=10, clock=clock)
    store.save("expires", "reserve", DONE)
    store.claim("expires", "one", 10)
    clock.now += 10

    for each in store._sweeping:
        each._writes = 999
    store.claim("another", "one", 10)
    assert size(bank) == (1, 2)
    store.save("m1", "reserve", DONE)

    assert size(bank) == (1, 1)


def test_who_sweeps_waits_for_nobody(server: Any, database: str) -> None:
    bank, clock = Bank(server.url(database)), Clock()
    store = store_of(bank, keep_for=10, clock=clock)
    for name in ("one", "other"):
        store.save(name, "reserve", DONE)
    clock.now += 10

    with bank.engine.begin() as connection:
        connection.execute(select(progress).where(progress.c.work == "one").with_for_update())
        SqlStore(bank.engine, clock=clock).save("third", "reserve", DONE)

        assert size(bank)[0] == 2
    bank.engine.dispose()


def test_an_error_text_that_cannot_be_stored_is_kept_with_escapes(bank: Bank) -> None:
    store = store_of(bank)

    store.save("m1", "reserve", Ended(ProcessStatus.FATAL_ERROR, "\ud800 \0"))

    assert store.load("m1")["reserve"].error == "\\ud800 \\x00"


def test_a_key_is_claimed_by_one_of_many_processes(bank: Bank) -> None:
    store, other = store_of(bank), SqlStore(create_engine(bank.url))
    claims: list[Claim] = []
    both = threading.Barrier(2)

    def claim(by: SqlStore, owner: str) -> None:
        for number in range(20):
            both.wait(PATIENCE)
            claims.append(by.claim(str(number), owner, 60))

    threads = [threading.Thread(target=claim, args=(by, name)) for by, name in ((store, "a"), (other, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    other._engine.dispose()
    assert sorted(each.name for each in claims) == ["BUSY"] * 20 + ["TAKEN"] * 20


def test_a_check_leaves_nothing_behind(bank: Bank) -> None:
    store = store_of(bank)

    store.check()

    assert size(bank) == (0, 0)


def test_a_check_without_tables_says_how_they_are_made(bank: Bank) -> None:
    with pytest.raises(ConfigurationError, match=r"SqlStore: the table megaflow_progress is not there.*create_tables"):
        SqlStore(bank.engine).check()


def test_a_check_says_that_a_column_is_missing(bank: Bank) -> None:
    store = store_of(bank)
    with bank.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE megaflow_progress RENAME COLUMN error TO mistake")

    with pytest.raises(ConfigurationError, match="not as it is to be"):
        store.check()


def test_a_check_says_that_the_user_may_not_write(server: Any, database: str) -> None:
    bank = Bank(server.url(database))
    store_of(bank)
    server.execute("DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database)
    reader = create_engine(bank.url.replace("megaflow@", "reader@"))

    with pytest.raises(ConfigurationError, match="check what the user of the database may do"):
        SqlStore(reader).check()

    reader.dispose()
    bank.engine.dispose()


def test_a_check_lets_pass_what_passes_by_itself(bank: Bank) -> None:
    store = store_of(bank)

    def fail(*args: object) -> None:
        raise OSError("it is away")

    event.listen(bank.engine, "begin", fail)

    with pytest.raises(OSError, match="it is away"):
        store.check()
    event.remove(bank.engine, "begin", fail)


def test_tables_that_two_make_at_once_are_made(bank: Bank) -> None:
    failed: list[BaseException] = []
    both = threading.Barrier(4)

    def make() -> None:
        both.wait(PATIENCE)
        try:
            SqlStore(bank.engine).create_tables()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert failed == []
    SqlStore(bank.engine).check()


@pytest.mark.parametrize("table", [progress, keys])
def test_tables_of_which_another_makes_one_meanwhile_are_made(table: Table, bank: Bank) -> None:
    made_by_another(bank.engine, table)

    SqlStore(bank.engine).create_tables()

    SqlStore(bank.engine).check()


def test_the_metadata_is_for_migrations(bank: Bank) -> None:
    metadata.create_all(bank.engine)

    SqlStore(bank.engine).check()
    assert {"megaflow_progress", "megaflow_keys", "megaflow_inbox"} <= set(metadata.tables)
    assert all(name.startswith("megaflow_") for name in metadata.tables)


def test_closing_it_leaves_the_engine_as_it_is(bank: Bank) -> None:
    with store_of(bank) as store:
        store.save("m1", "reserve", DONE)

    assert bank.engine.pool.status()
    assert store.load("m1") == {"reserve": DONE}


@pytest.mark.parametrize("engine", [None, "sqlite://"])
def test_what_is_no_engine_is_refused(engine: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be an Engine of SQLAlchemy"):
        SqlStore(engine)


def test_an_async_engine_is_refused() -> None:
    asyncio_of = pytest.importorskip("sqlalchemy.ext.asyncio", exc_type=ImportError)
    engine: Any = asyncio_of.create_async_engine("sqlite+aiosqlite://")

    with pytest.raises(ConfigurationError, match="which is not async"):
        SqlStore(engine)


@pytest.mark.parametrize("keep_for", [0, -1, math.inf])
def test_a_time_to_keep_that_is_none_is_refused(keep_for: float) -> None:
    with pytest.raises(ConfigurationError, match="keep_for"):
        SqlStore(create_engine("sqlite://"), keep_for=keep_for)


def test_a_consumer_remembers_in_it(bank: Bank) -> None:
    queues = Queues()
    app, called = queues.app(progress=store_of(bank), backoff=lambda count: 0), list[str]()

    @app.on_text(idempotency_key=lambda what: what)
    def charge(what: str) -> None:
        called.append(what)

    @app.on_text()
    def fail_once(what: str) -> ProcessStatus:
        called.append("again")
        return ProcessStatus.DONE if called.count("again") > 1 else ProcessStatus.RETRY_LATER

    app.publish("a")

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert sorted(called) == ["a", "again", "again"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_was_forked_has_connections_of_its_own(bank: Bank) -> None:
    store = store_of(bank)
    store.save("m1", "parent", DONE)

    child = os.fork()
    if not child:
        try:
            store.save("m1", "child", DONE)
        finally:
            os._exit(len(store.load("m1")))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    store.save("m1", "parent again", DONE)

    assert code == 2
    assert set(store.load("m1")) == {"parent", "child", "parent again"}
