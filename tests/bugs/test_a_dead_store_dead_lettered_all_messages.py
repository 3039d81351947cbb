"""A progress store that failed made each message a failure: in half a minute all were dead-lettered, none handled."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from megaflow import (
    App,
    Claim,
    ConfigurationError,
    DynamoDbStore,
    Ended,
    MemoryStore,
    ProcessStatus,
    Reject,
    SqliteStore,
    Store,
    StoreError,
)
from megaflow.stores import sqlite
from tests.consuming import Queues, running
from tests.waiting import wait_until

BODIES = [f"order {number}" for number in range(30)]


@pytest.fixture
def queues() -> Queues:
    queues = Queues(max_receive_count=5)
    queues.app().publish_batch(BODIES)
    return queues


class Orders:
    """An app that handles them, and how often it did."""

    def __init__(self, queues: Queues, **options: Any) -> None:
        self.app = queues.app(concurrency=4, backoff=lambda count: 0.0, **options)
        self.ran: Counter[str] = Counter()
        self.app.on_text(handler_name="handle")(self._handle)

    def _handle(self, text: str) -> None:
        self.ran[text] += 1


def check_that_nothing_happened(queues: Queues, orders: Orders) -> None:
    """Nothing was received, handled or dead-lettered: the next receive is the first one of each."""
    assert not orders.ran
    assert queues.depth() == (30, 0)
    assert set(queues.receive_counts()) == {1}


def check_that_each_ran_once(queues: Queues, orders: Orders) -> None:
    assert orders.ran == Counter(BODIES)
    assert queues.receive_dead_letters() == []
    assert orders.app.metrics.snapshot().get("kept", 0) == 0


# What cannot be opened or written at the start


def make_folder(path: Path) -> None:
    path.mkdir()


def make_text_file(path: Path) -> None:
    path.write_text("not a database, " * 100)


def make_other_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE progress (of TEXT)")


def refuse_writes(path: Path) -> None:
    """Let every write to a store fail from now on, as a disk that is full does; reads are answered."""
    with SqliteStore(path) as store:
        store.claim("make", "the file", 0.0)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TRIGGER full BEFORE INSERT ON progress BEGIN SELECT RAISE(ABORT, 'disk full'); END;"
        )


def take_writes_again(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER full")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (make_folder, "it is a folder; give the path of a file"),
        (make_text_file, "it is no SQLite database; give another path, or move it away"),
        (make_other_table, "it does not take what a store writes; give another path"),
        (refuse_writes, r"it does not take what a store writes; .*\(disk full\)"),
    ],
)
def test_a_file_that_is_no_store_ends_run_before_anything_is_received(
    queues: Queues, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "progress.db"
    spoil(path)
    orders = Orders(queues, progress=SqliteStore(path))

    with pytest.raises(ConfigurationError, match=said) as raised:
        orders.app.run()

    assert str(path) in str(raised.value)
    check_that_nothing_happened(queues, orders)


def test_a_missing_folder_is_said_and_not_made(queues: Queues, tmp_path: Path) -> None:
    orders = Orders(queues, progress=SqliteStore(tmp_path / "missing" / "progress.db"))

    with pytest.raises(ConfigurationError, match=r"there is no folder .*missing; make it, or give another path"):
        orders.app.run()

    assert list(tmp_path.iterdir()) == []
    check_that_nothing_happened(queues, orders)


def test_a_path_that_no_file_can_have_is_said_to_be_one(queues: Queues) -> None:
    orders = Orders(queues, progress=SqliteStore("a\0b"))

    with pytest.raises(ConfigurationError, match="no path has a NUL in it"):
        orders.app.run()


def test_a_store_of_keys_is_checked_as_well(queues: Queues, tmp_path: Path) -> None:
    orders = Orders(queues, idempotency=SqliteStore(tmp_path))

    with pytest.raises(ConfigurationError, match="it is a folder"):
        orders.app.run()


def test_a_file_that_may_only_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every file can be written, so it is opened as one that cannot."""
    store = SqliteStore(tmp_path / "progress.db")
    store.check()
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options)
    )

    with pytest.raises(ConfigurationError, match="it cannot be written; check the permissions of the file, its folder"):
        store.check()
    store.close()


# Outages


def test_a_store_that_takes_no_writes_for_a_while_has_every_handler_run_once(
    queues: Queues, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "megaflow")
    path = tmp_path / "progress.db"
    orders = Orders(queues, progress=SqliteStore(path))
    was_spoilt, spoiling = threading.Event(), threading.Lock()

    @orders.app.use
    def spoil_once(call_next: Any) -> Any:
        def call(handler: Any, message: Any) -> Any:
            # The others wait: none of them is remembered any more.
            with spoiling:
                if not was_spoilt.is_set():
                    refuse_writes(path)
                    was_spoilt.set()
            return call_next(handler, message)

        return call

    with running(orders.app):
        wait_until(lambda: "nothing is received or begun until the store is well" in caplog.text)
        health, ran = orders.app.health(), orders.ran.copy()
        received = orders.app.metrics.snapshot()["received"]
        assert not health.ready
        assert health.live
        assert "a store fails, so nothing is received: " in health.problems[0]
        assert "disk full" in health.problems[0]
        assert sum(ran.values()) <= 4
        assert queues.depth()[0] == 30 - received
        take_writes_again(path)
        wait_until(lambda: queues.depth() == (0, 0))
        assert orders.app.health().ready

    check_that_each_ran_once(queues, orders)
    levels = [each.levelname for each in caplog.records if "the store is well" in each.getMessage()]
    assert levels == ["ERROR", "WARNING"]
    # A thread that was asked to stop may have used the store once more.
    orders.app.close()


def test_a_store_that_is_locked_at_the_start_is_waited_for(
    queues: Queues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT", 0.01)
    path = tmp_path / "progress.db"
    with SqliteStore(path) as store:
        store.check()
    orders = Orders(queues, progress=SqliteStore(path))

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with running(orders.app):
            wait_until(lambda: "database is locked" in caplog.text)
            assert not orders.app.health().ready
            assert queues.depth() == (30, 0)
            other.execute("ROLLBACK")
            wait_until(lambda: queues.depth() == (0, 0))

    check_that_each_ran_once(queues, orders)


def test_a_damaged_part_of_a_file_is_an_outage_although_its_other_parts_take_writes(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    store = SqliteStore(path)
    store.check()
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = [(f"key {number}", "o" * 100, 1e12) for number in range(2_000)]
        connection.executemany("INSERT INTO keys VALUES (?, ?, ?)", rows)
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 5)
    store.check()
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        all(store.claim(f"key {number}", "another", 1.0) for number in range(2_000))

    with pytest.raises(ConfigurationError, match="it is damaged; move it away"):
        store.check()
    store.close()


class Away:
    """A store without a check of its own, of which some methods fail for a while."""

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self._store = MemoryStore()

    def load(self, work: str) -> Mapping[str, Ended]:
        self._ask("load")
        return self._store.load(work)

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self._ask("save")
        self._store.save(work, handler, ended)

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        self._ask("claim")
        return self._store.claim(key, owner, seconds)

    def renew(self, key: str, owner: str, seconds: float) -> None:
        self._store.renew(key, owner, seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        self._ask("complete")
        self._store.complete(key, owner, seconds)

    def release(self, key: str, owner: str) -> None:
        self._store.release(key, owner)

    def _ask(self, what: str) -> None:
        if what in self.failing:
            raise OSError("no route to the database")


def test_a_store_of_your_own_that_is_away_at_the_start_is_waited_for(queues: Queues) -> None:
    store = Away("load", "save", "claim")
    orders = Orders(queues, progress=store)

    with running(orders.app):
        wait_until(lambda: "no route to the database" in str(orders.app.health()))
        assert queues.depth() == (30, 0)
        store.failing.clear()
        wait_until(lambda: queues.depth() == (0, 0))

    check_that_each_ran_once(queues, orders)


def test_a_store_of_keys_that_cannot_be_claimed_is_waited_for(queues: Queues) -> None:
    store, ran = Away("claim"), Counter[str]()
    app = queues.app(idempotency=store)
    app.on_text(handler_name="keyed", idempotency_key=lambda text: text)(lambda text: ran.update([text]))

    with running(app):
        wait_until(lambda: "no route to the database" in str(app.health()))
        assert queues.depth() == (30, 0)
        store.failing.clear()
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == Counter(BODIES)


@pytest.mark.parametrize("is_async", [False, True])
def test_what_was_done_is_remembered_without_being_done_again(is_async: bool) -> None:
    """Two handlers, a store that fails after the first: that one is not called again, and the second one is."""
    queues, store, ran = Queues(max_receive_count=5), Away(), list[str]()
    app = queues.app(progress=store)

    def first(text: str) -> None:
        ran.append("first")
        store.failing.add("save")

    async def first_async(text: str) -> None:
        first(text)

    app.on_text(handler_name="first")(first_async if is_async else first)
    app.on_text(handler_name="second")(lambda text: ran.append("second"))
    queues.app().publish("ping")

    with running(app):
        wait_until(lambda: "no route to the database" in str(app.health()))
        assert ran == ["first"]
        assert app.health().in_hand == 1
        store.failing.clear()
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == ["first", "second"]
    assert app.metrics.snapshot()["received"] == 1


def test_a_consumer_that_must_end_gives_back_what_it_could_not_remember(caplog: pytest.LogCaptureFixture) -> None:
    queues, store, ran = Queues(max_receive_count=5), Away(), list[str]()
    app = queues.app(progress=store, shutdown_timeout=0.1)

    @app.on_text(handler_name="handle")
    def handle(text: str) -> None:
        ran.append(text)
        store.failing.add("save")

    queues.app().publish("ping")
    with running(app):
        wait_until(lambda: "no route to the database" in str(app.health()))

    assert "what came of it could not be stored; it comes again" in caplog.text
    wait_until(lambda: queues.depth() == (1, 0))
    assert ran == ["ping"]


def test_one_message_that_no_store_takes_holds_up_nobody(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call fails, whoever asks; all others are handled meanwhile, and it comes again at last."""
    monkeypatch.setattr("megaflow.consumer.core.core._FIRST_PAUSE", 0.01)
    store = MemoryStore()
    save = store.save

    def refuse_one(work: str, handler: str, ended: Ended) -> None:
        if ended.error.endswith("poison"):
            raise ValueError("too large")
        save(work, handler, ended)

    monkeypatch.setattr(store, "save", refuse_one)
    app, done = queues.app(progress=store, backoff=lambda count: 60.0), Counter[str]()

    @app.on_text(handler_name="handle")
    def handle(text: str) -> None:
        if text == "poison":
            raise Reject("poison")
        done.update([text])

    queues.app().publish("poison")
    with running(app):
        wait_until(lambda: app.metrics.snapshot().get("kept") == 1)
        wait_until(lambda: queues.depth() == (0, 1))

    assert done == Counter(BODIES)


# DynamoDB


class Table:
    """A client of DynamoDB that answers with one error, until it is well."""

    class exceptions:  # noqa: N801 - as boto3 has it
        ConditionalCheckFailedException = KeyError

    def __init__(self, code: str, *, operations: tuple[str, ...] = ("GetItem", "UpdateItem")) -> None:
        self.code = code
        self.operations = operations
        self.asked: set[str] = set()

    def get_item(self, **parameters: Any) -> Mapping[str, Any]:
        return self._answer("GetItem")

    def update_item(self, **parameters: Any) -> Mapping[str, Any]:
        return self._answer("UpdateItem")

    def _answer(self, operation: str) -> Mapping[str, Any]:
        self.asked.add(operation)
        if self.code and operation in self.operations:
            raise ClientError({"Error": {"Code": self.code, "Message": f"{self.code}, it said"}}, operation)
        return {}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ResourceNotFoundException", "there is no such table in this region and account; create_table"),
        ("ValidationException", "its partition key is to be id, a text"),
        ("AccessDeniedException", "access is refused; .* dynamodb:GetItem and dynamodb:UpdateItem on the table"),
        ("ExpiredTokenException", "access is refused; check the credentials"),
    ],
)
@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"])
def test_a_table_that_cannot_be_used_ends_run_before_anything_is_received(
    queues: Queues, code: str, said: str, operation: str
) -> None:
    orders = Orders(queues, progress=DynamoDbStore("progress", client=Table(code, operations=(operation,))))

    with pytest.raises(ConfigurationError, match=said) as raised:
        orders.app.run()

    assert "DynamoDbStore('progress')" in str(raised.value)
    check_that_nothing_happened(queues, orders)


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"]
)
@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"])
def test_a_table_that_is_throttled_is_waited_for(queues: Queues, code: str, operation: str) -> None:
    table = Table(code, operations=(operation,))
    orders = Orders(queues, progress=DynamoDbStore("progress", client=table))

    with running(orders.app):
        wait_until(lambda: code in str(orders.app.health()))
        assert queues.depth() == (30, 0)
        table.code = ""
        wait_until(lambda: queues.depth() == (0, 0))

    check_that_each_ran_once(queues, orders)


def test_a_table_that_is_not_there_is_said_by_its_own_error(queues: Queues, moto_url: str) -> None:
    client = boto3.client(
        "dynamodb",
        endpoint_url=moto_url,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    orders = Orders(queues, progress=DynamoDbStore("not-there", client=client))

    with pytest.raises(ConfigurationError, match=r"DynamoDbStore\('not-there'\): there is no such table"):
        orders.app.run()


# Elsewhere


def test_without_a_consumer_what_a_store_fails_with_is_seen_at_once() -> None:
    app = App(progress=Away("load"))
    app.on_text(handler_name="handle")(lambda text: None)

    verdict = app.process("ping")

    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, StoreError)


def test_constructors_touch_nothing(tmp_path: Path) -> None:
    stores: list[Store] = [SqliteStore(tmp_path / "a" / "b.db"), DynamoDbStore("nowhere"), MemoryStore()]

    App(progress=stores[0], idempotency=stores[1])

    assert list(tmp_path.iterdir()) == []


def test_an_error_text_that_is_no_unicode_is_stored(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        store.save("work", "handle", Ended(ProcessStatus.FATAL_ERROR, "no \ud800"))

        assert store.load("work")["handle"].error == "no \\ud800"


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    with SqliteStore(path) as store:
        store.check()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM progress").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (0,)
