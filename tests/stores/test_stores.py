"""Stores of progress and idempotency keys: one contract, for each of them, and what is special to some."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import NullPool, create_engine

from megaflow import (
    App,
    AwsOptions,
    Claim,
    ConfigurationError,
    DynamoDbStore,
    Ended,
    MemoryStore,
    ProcessStatus,
    SqliteStore,
    Store,
    UsageError,
)
from megaflow.sql import SqlStore
from megaflow.stores.store import close_store
from megaflow.transport.session import AwsSettings
from tests.consuming import Queues, run_until
from tests.examples import examples
from tests.waiting import PATIENCE

DONE = Ended(ProcessStatus.DONE)
FAILED = Ended(ProcessStatus.FATAL_ERROR, "ValueError: expired")
CREDENTIALS: AwsOptions = {
    "region_name": "us-east-1",
    "aws_access_key_id": "testing",
    "aws_secret_access_key": "testing",
}


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dynamodb(moto_url: str) -> Any:
    return boto3.client("dynamodb", endpoint_url=moto_url, **CREDENTIALS)


@pytest.fixture
def table(dynamodb: Any) -> Iterator[str]:
    name = f"progress-{os.urandom(4).hex()}"
    DynamoDbStore(name, client=dynamodb).create_table()
    yield name
    dynamodb.delete_table(TableName=name)


@pytest.fixture(params=["memory", "sqlite", "dynamodb", "sql in SQLite", "sql in PostgreSQL"])
def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[Store]:
    store: MemoryStore | SqliteStore | DynamoDbStore | SqlStore
    if request.param == "memory":
        store = MemoryStore(keep_for=100, clock=clock)
    elif request.param == "sqlite":
        store = SqliteStore(tmp_path / "progress.db", keep_for=100, clock=clock)
    elif request.param == "dynamodb":
        table, client = request.getfixturevalue("table"), request.getfixturevalue("dynamodb")
        store = DynamoDbStore(table, client=client, keep_for=100, clock=clock)
    else:
        url = f"sqlite:///{tmp_path / 'progress.db'}"
        if request.param == "sql in PostgreSQL":
            url = request.getfixturevalue("cleared_url")
        # Nothing stays open that somebody would have to close.
        store = SqlStore(create_engine(url, poolclass=NullPool), keep_for=100, clock=clock)
        store.create_tables()
    with store:
        yield store


# Progress


def test_nothing_is_known_of_work_that_nobody_has_begun(store: Store) -> None:
    assert store.load("queue m1") == {}


def test_what_handlers_ended_with_is_remembered_by_their_names(store: Store) -> None:
    store.save("queue m1", "app.reserve", DONE)
    store.save("queue m1", "app.charge", FAILED)
    store.save("queue m2", "app.reserve", FAILED)

    assert store.load("queue m1") == {"app.reserve": DONE, "app.charge": FAILED}
    assert store.load("queue m2") == {"app.reserve": FAILED}


def test_progress_is_forgotten_after_its_time(store: Store, clock: Clock) -> None:
    store.save("queue m1", "reserve", DONE)
    clock.now += 99
    assert store.load("queue m1") == {"reserve": DONE}

    clock.now += 1

    assert store.load("queue m1") == {}


def test_progress_is_kept_on_from_the_last_that_was_saved(store: Store, clock: Clock) -> None:
    store.save("queue m1", "reserve", DONE)
    clock.now += 60
    store.save("queue m1", "reserve", DONE)
    clock.now += 60

    store.save("queue m2", "reserve", DONE)

    assert store.load("queue m1") == {"reserve": DONE}


def test_handlers_that_save_at_once_lose_nothing_of_each_other(store: Store) -> None:
    names = [f"handler {number}" for number in range(8)]
    threads = [threading.Thread(target=store.save, args=("queue m1", name, DONE)) for name in names]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.load("queue m1") == dict.fromkeys(names, DONE)


# Idempotency keys


def test_a_key_is_held_by_one_at_a_time(store: Store) -> None:
    assert store.claim("k", "one", 10) is Claim.TAKEN
    assert store.claim("k", "other", 10) is Claim.BUSY
    assert store.claim("another", "other", 10) is Claim.TAKEN


def test_a_key_that_ran_is_done_for_its_time(store: Store, clock: Clock) -> None:
    store.claim("k", "one", 10)
    store.complete("k", "one", 50)

    assert store.claim("k", "other", 10) is Claim.DONE
    assert store.claim("k", "one", 10) is Claim.DONE
    clock.now += 49
    assert store.claim("k", "other", 10) is Claim.DONE
    clock.now += 1
    assert store.claim("k", "other", 10) is Claim.TAKEN


def test_an_attempt_that_died_frees_its_key_in_time(store: Store, clock: Clock) -> None:
    store.claim("k", "one", 10)

    clock.now += 9
    assert store.claim("k", "other", 10) is Claim.BUSY
    clock.now += 1

    assert store.claim("k", "other", 10) is Claim.TAKEN


def test_the_same_owner_takes_up_an_attempt_that_died_at_once(store: Store) -> None:
    store.claim("k", "one", 10)

    assert store.claim("k", "one", 10) is Claim.TAKEN


def test_a_claim_can_be_renewed_by_its_owner_only(store: Store, clock: Clock) -> None:
    store.claim("k", "one", 10)
    clock.now += 5

    store.renew("k", "one", 10)
    store.renew("k", "other", 1_000)
    store.renew("unknown", "one", 10)

    clock.now += 9
    assert store.claim("k", "other", 10) is Claim.BUSY
    clock.now += 2
    assert store.claim("k", "other", 10) is Claim.TAKEN


def test_a_claim_is_released_by_its_owner_only(store: Store) -> None:
    store.claim("k", "one", 10)

    store.release("k", "other")
    store.release("unknown", "one")
    assert store.claim("k", "other", 10) is Claim.BUSY
    store.release("k", "one")

    assert store.claim("k", "other", 10) is Claim.TAKEN


def test_a_key_that_ran_is_not_released(store: Store) -> None:
    store.claim("k", "one", 10)
    store.complete("k", "one", 50)

    store.release("k", "one")

    assert store.claim("k", "other", 10) is Claim.DONE


def test_what_ran_is_remembered_although_its_claim_was_lost(store: Store, clock: Clock) -> None:
    store.claim("k", "slow", 10)
    clock.now += 11
    store.claim("k", "other", 100)

    store.complete("k", "slow", 50)

    assert store.claim("k", "third", 10) is Claim.DONE


def test_of_many_that_claim_a_key_at_once_one_gets_it(store: Store) -> None:
    taken: list[Claim] = []
    threads = [
        threading.Thread(target=lambda owner=owner: taken.append(store.claim("k", owner, 10)))
        for owner in map(str, range(8))
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claim.value for claim in taken) == ["busy"] * 7 + ["taken"]


Step = tuple[str, str, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "renew", "complete", "release", "save", "load", "wait"]),
        st.sampled_from("kl"),
        st.sampled_from("xyz"),
    ),
    max_size=30,
)


def play(store: Store, clock: Clock, step: Step) -> object:
    """Do one thing with a store, and return what it says."""
    what, name, who = step
    if what == "wait":
        clock.now += 4
        return None
    asked: dict[str, tuple[object, ...]] = {"save": (name, who, DONE), "load": (name,), "release": (name, who)}
    ask: Callable[..., object] = getattr(store, what)
    return ask(*asked.get(what, (name, who, 10)))


@settings(max_examples=examples(150))
@given(steps=steps)
def test_sqlite_says_what_memory_says(steps: list[Step], tmp_path_factory: pytest.TempPathFactory) -> None:
    clock = Clock()
    path = tmp_path_factory.mktemp("stores") / "s.db"
    memory = MemoryStore(keep_for=30, clock=clock)

    with SqliteStore(path, keep_for=30, clock=clock) as sqlite:
        for step in steps:
            here, there = clock.now, play(memory, clock, step)
            clock.now = here
            assert play(sqlite, clock, step) == there, step


# What is special


def test_memory_does_not_grow_with_what_has_expired(clock: Clock) -> None:
    store = MemoryStore(keep_for=10, clock=clock)

    for number in range(1_000):
        clock.now += 1
        store.save(f"queue {number}", "reserve", DONE)
        store.claim(str(number), "one", 10)

    assert len(store._work) == 10
    assert len(store._keys) == 10
    assert len(store._expiries) == 20


def test_sqlite_does_not_grow_with_what_has_expired(clock: Clock) -> None:
    def size(store: SqliteStore) -> tuple[int, ...]:
        tables = ("progress", "keys")
        return tuple(store._open().execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables)

    with SqliteStore(":memory:", keep_for=10, clock=clock) as store:
        store.save("expires", "reserve", DONE)
        store.claim("expires", "one", 10)
        clock.now += 10

        for number in range(998):
            store.save("queue m1", str(number), DONE)
        assert size(store) == (999, 1)
        store.save("queue m1", "last", DONE)

        assert size(store) == (999, 0)


def test_sqlite_waits_ten_seconds_for_another_process_that_writes() -> None:
    with SqliteStore(":memory:") as store:
        assert store._open().execute("PRAGMA busy_timeout").fetchone() == (10_000,)


@pytest.mark.parametrize("make", [MemoryStore, lambda **options: SqliteStore(":memory:", **options)])
def test_progress_is_kept_as_long_as_sqs_keeps_a_message_at_the_most(make: Callable[..., Store], clock: Clock) -> None:
    store = make(clock=clock)
    store.save("queue m1", "reserve", DONE)

    clock.now += 14 * 24 * 3_600 - 1
    assert store.load("queue m1") == {"reserve": DONE}
    clock.now += 1

    assert store.load("queue m1") == {}
    close_store(store)


def test_an_sqlite_file_is_opened_when_it_is_needed(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        assert list(tmp_path.iterdir()) == []

        store.save("queue m1", "reserve", DONE)

        with SqliteStore(tmp_path / "progress.db") as other:
            assert other.load("queue m1") == {"reserve": DONE}


_CHILD = """
import sys
from megaflow import Ended, ProcessStatus, SqliteStore
store = SqliteStore(sys.argv[1])
taken = sum(store.claim(str(number), sys.argv[2], 3600).value == "taken" for number in range(200))
for number in range(50):
    store.save("queue m1", f"{sys.argv[2]} {number}", Ended(ProcessStatus.DONE))
print(taken, flush=True)
if sys.argv[2] == "dies":
    sys.stdin.read()
"""


def test_an_sqlite_file_is_shared_by_processes(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in "abc"
    ]

    taken = [int(child.communicate()[0]) for child in children]

    assert sum(taken) == 200
    with SqliteStore(path) as store:
        assert len(store.load("queue m1")) == 150


def test_what_an_sqlite_store_has_answered_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    command = [sys.executable, "-c", _CHILD, str(path), "dies"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "200\n"
        child.send_signal(signal.SIGKILL)

    with SqliteStore(path) as store:
        assert len(store.load("queue m1")) == 50


def test_what_nobody_can_read_is_not_taken_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    with SqliteStore(path) as store:
        store.save("queue m1", "reserve", DONE)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE progress SET status = 'odd'")

        with pytest.raises(UsageError, match="a handler ended with 'odd'"):
            store.load("queue m1")


def test_a_table_that_is_missing_is_dynamodbs_own_error(dynamodb: Any) -> None:
    store = DynamoDbStore("nowhere", client=dynamodb)

    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        store.load("queue m1")


def test_a_dynamodb_store_makes_its_own_client_with_what_it_was_given(table: str, moto_url: str) -> None:
    with DynamoDbStore(table, **CREDENTIALS | {"endpoint_url": moto_url}) as store:
        store.save("queue m1", "reserve", DONE)

        assert store.load("queue m1") == {"reserve": DONE}
        assert "testing" not in repr(store)


class NoTable:
    """A client of DynamoDB that notes what it is asked, for a table in which there is nothing."""

    exceptions = SimpleNamespace(ConditionalCheckFailedException=type("Conditional", (Exception,), {}))

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.is_taken = False
        self.closed = 0

    def get_item(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(("get_item", asked))
        return {}

    def update_item(self, **asked: Any) -> None:
        self.asked.append(("update_item", asked))
        if self.is_taken:
            raise self.exceptions.ConditionalCheckFailedException

    def create_table(self, **asked: Any) -> None:
        self.asked.append(("create_table", asked))

    def get_waiter(self, name: str) -> Any:
        self.asked.append((name, {}))
        return self

    def wait(self, **asked: Any) -> None:
        self.asked.append(("wait", asked))

    def update_time_to_live(self, **asked: Any) -> None:
        self.asked.append(("update_time_to_live", asked))

    def close(self) -> None:
        self.closed += 1


def test_dynamodb_is_waited_for_until_the_table_is_there_and_told_to_delete_what_has_expired() -> None:
    client = NoTable()

    DynamoDbStore("t", client=client).create_table()

    assert [name for name, _ in client.asked] == ["create_table", "table_exists", "wait", "update_time_to_live"]
    assert client.asked[-1][1] == {
        "TableName": "t",
        "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires_at"},
    }


def test_what_was_written_a_moment_ago_is_read_from_dynamodb() -> None:
    client = NoTable()
    store = DynamoDbStore("t", client=client)
    client.is_taken = True

    store.load("queue m1")
    claim = store.claim("k", "one", 10)

    assert claim is Claim.BUSY, "it was taken, and released just now"
    assert [asked["ConsistentRead"] for name, asked in client.asked if name == "get_item"] == [True, True]


def test_a_check_of_dynamodb_reads_and_writes(clock: Clock) -> None:
    client = NoTable()

    DynamoDbStore("t", client=client, clock=clock).check()

    (read, of_read), (written, of_write) = client.asked
    assert (read, written) == ("get_item", "update_item")
    assert of_read["Key"] == of_write["Key"] == {"id": {"S": "work megaflow check"}}
    assert of_write["ExpressionAttributeValues"] == {":now": {"N": "1000000.000"}}


def test_a_client_that_a_dynamodb_store_has_made_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = NoTable()
    store = DynamoDbStore("t", region_name="us-east-1")
    monkeypatch.setattr(AwsSettings, "create_client", lambda *asked: client)
    store.close()
    assert client.closed == 0

    store.load("queue m1")
    store.close()
    store.close()

    assert client.closed == 1


def went_through(store: SqliteStore) -> bool:
    """Tell whether SQLite waited for the disk with the latest write: https://www.sqlite.org/pragma.html"""
    assert store._open().execute("PRAGMA journal_mode").fetchone() == ("wal",)
    return bool(store._open().execute("PRAGMA synchronous").fetchone() == (2,))


def test_sqlite_writes_progress_through_to_the_disk_once_a_second(tmp_path: Path, clock: Clock) -> None:
    with SqliteStore(tmp_path / "progress.db", clock=clock) as store:
        waits = []
        for seconds in (0.0, 0.5, 0.49, 0.01, 0.5, 60.0, 0.0):
            clock.now += seconds
            store.save("queue m1", str(clock.now), DONE)
            waits.append(went_through(store))

    assert waits == [True, False, False, True, False, True, False]


def test_sqlite_writes_each_key_that_is_done_through_to_the_disk(tmp_path: Path, clock: Clock) -> None:
    with SqliteStore(tmp_path / "progress.db", clock=clock) as store:
        for key in ("one", "two"):
            store.claim(key, "owner", 60)
            assert not went_through(store), "who had a key when the power failed has it no more"
            store.complete(key, "owner", 60)
            assert went_through(store)

        store.save("queue m1", "answer", DONE)

        assert not went_through(store), "the key has taken all with it, a moment ago"


def test_where_sqlite_has_no_log_each_write_waits_for_the_disk(clock: Clock) -> None:
    with SqliteStore(":memory:", clock=clock) as store:
        for handler in "ab":
            store.save("queue m1", handler, DONE)

        assert store._open().execute("PRAGMA journal_mode").fetchone() != ("wal",)
        assert store._open().execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_clock_that_is_set_back_keeps_no_progress_from_the_disk(tmp_path: Path, clock: Clock) -> None:
    with SqliteStore(tmp_path / "progress.db", clock=clock) as store:
        store.save("queue m1", "answer", DONE)
        clock.now -= 3_600

        store.save("queue m2", "answer", DONE)

        assert went_through(store)


def test_progress_that_could_not_be_written_counts_for_nothing(tmp_path: Path, clock: Clock) -> None:
    with SqliteStore(tmp_path / "progress.db", clock=clock) as store:
        store._open().execute("CREATE TRIGGER no BEFORE INSERT ON progress BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(sqlite3.DatabaseError):
            store.save("queue m1", "answer", DONE)
        store._open().execute("DROP TRIGGER no")

        store.save("queue m1", "answer", DONE)

        assert went_through(store)


def test_a_file_that_is_opened_anew_is_written_through_as_before(tmp_path: Path, clock: Clock) -> None:
    with SqliteStore(tmp_path / "progress.db", clock=clock) as store:
        store.complete("key", "owner", 60)
        store.close()

        store.complete("other", "owner", 60)

        assert went_through(store)


def test_a_check_of_sqlite_waits_for_the_disk(tmp_path: Path, clock: Clock) -> None:
    with SqliteStore(tmp_path / "progress.db", clock=clock) as store:
        for _ in range(2):
            store.save("queue m1", "answer", DONE)
        assert not went_through(store)

        store.check()

        assert went_through(store)


def test_a_check_of_a_store_in_memory_forgets_nothing() -> None:
    with SqliteStore(":memory:") as store:
        store.save("queue m1", "answer", Ended(ProcessStatus.DONE))

        store.check()

        assert store.load("queue m1") == {"answer": Ended(ProcessStatus.DONE)}


def test_a_check_of_sqlite_leaves_nothing_behind(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        store.check()

        for table in ("progress", "keys"):
            assert store._open().execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize("table", ["progress", "keys"])
def test_a_check_of_sqlite_writes_to_both_tables(table: str, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        store._open().execute(
            f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )

        with pytest.raises(ConfigurationError, match="not this one"):
            store.check()


def test_a_check_of_sqlite_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        connection = store._open()
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON keys BEGIN SELECT RAISE(ABORT, 'no'); END")

        with pytest.raises(ConfigurationError):
            store.check()

        assert store._open().execute("SELECT COUNT(*) FROM progress").fetchone() == (0,)


def test_sqlite_looks_through_all_of_its_file_only_where_a_part_was_found_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked: list[bool] = []
    monkeypatch.setattr(SqliteStore, "_look_for_damage", lambda store: looked.append(True))
    with SqliteStore(tmp_path / "progress.db") as store:
        for _ in range(2):
            store.check()
        assert looked == []

        store._is_suspect = True
        for _ in range(2):
            store.check()

    assert looked == [True], "it was found well"


def test_a_key_that_is_freed_just_as_sqlite_looks_who_has_it_is_busy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(SqliteStore, "_execute", lambda store, *asked: [])

    with SqliteStore(tmp_path / "progress.db") as store:
        assert store.claim("k", "one", 10) is Claim.BUSY


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux shows which files a process has open")
def test_a_file_that_is_no_database_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "progress.db"
    path.write_bytes(b"no database at all" * 100)

    with SqliteStore(path) as store, pytest.raises(sqlite3.DatabaseError):
        store.load("queue m1")

    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert [link for link in links if link.startswith(str(tmp_path))] == []


def test_an_error_text_that_cannot_be_encoded_is_kept_with_escapes(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        store.save("queue m1", "reserve", Ended(ProcessStatus.FATAL_ERROR, "\ud800"))

        assert store.load("queue m1")["reserve"].error == "\\ud800"


# Closing


def test_a_closed_store_forgets_nothing_and_opens_again(store: Store) -> None:
    store.save("queue m1", "reserve", DONE)
    store.claim("k", "one", 10)

    for _ in range(2):
        close_store(store)
        close_store(store)

        assert store.load("queue m1") == {"reserve": DONE}
        assert store.claim("k", "other", 10) is Claim.BUSY


def test_a_store_is_closed_at_the_end_of_a_with(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        store.save("queue m1", "reserve", DONE)
        assert len(list(tmp_path.iterdir())) > 1

    # Whoever closes a database last writes its log back.
    assert [path.name for path in tmp_path.iterdir()] == ["progress.db"]


def test_a_store_that_cannot_be_closed_is_left_alone() -> None:
    close_store(cast("Store", object()))


def test_a_client_that_a_dynamodb_store_was_given_stays_open(table: str, dynamodb: Any, moto_url: str) -> None:
    own = DynamoDbStore(table, **CREDENTIALS | {"endpoint_url": moto_url})
    given = DynamoDbStore(table, client=dynamodb)
    own.save("queue m1", "reserve", DONE)
    before = own._client

    own.close()
    given.close()

    assert given._client is dynamodb
    assert own.load("queue m1") == {"reserve": DONE}
    assert own._client is not before
    own.close()


class Noted(MemoryStore):
    """A store that notes when it is used and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self.noted.append("saved")
        super().save(work, handler, ended)

    def close(self) -> None:
        self.noted.append("closed")


def test_an_app_closes_its_stores_at_the_end_of_run() -> None:
    progress, keys, queues, done = Noted(), Noted(), Queues(), threading.Event()
    app = queues.app(progress=progress, idempotency=keys)
    app.on_text()(lambda text: done.set())
    app.publish("hello")

    run_until(app, done)

    assert progress.noted == ["saved", "closed"]
    assert keys.noted == ["closed"]


@pytest.mark.parametrize("close", [App.close, lambda app: asyncio.run(app.aclose())])
def test_an_app_that_is_closed_closes_its_stores(close: Callable[[App], None]) -> None:
    progress, keys = Noted(), Noted()
    app = App(progress=progress, idempotency=keys)

    close(app)

    assert progress.noted == keys.noted == ["closed"]


def test_a_store_that_fails_to_close_is_logged_and_the_other_one_closed(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryStore):
        def close(self) -> None:
            raise OSError("disk gone")

    keys = Noted()

    App(progress=Failing(), idempotency=keys).close()

    assert keys.noted == ["closed"]
    assert "Failing could not be closed" in caplog.text


_FORKING = """
import os, sys, threading
from megaflow import Ended, ProcessStatus, SqliteStore
path, done = sys.argv[1], Ended(ProcessStatus.DONE)
store, ending = SqliteStore(path), threading.Event()
def files_open():
    links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return [link for link in links if link.startswith(path)]
def save(name):
    number = 0
    while not ending.is_set():
        store.save("queue m1", f"{name} {number}", done)
        number += 1
threads = [threading.Thread(target=save, args=(f"parent {thread}",)) for thread in range(3)]
for thread in threads:
    thread.start()
for fork in range(20):
    child = os.fork()
    if not child:
        inherited = files_open()
        store.save("queue m1", f"child {fork}", done)
        store.close()
        os._exit(len(inherited))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
ending.set()
for thread in threads:
    thread.join()
children = [name for name in store.load("queue m1") if name.startswith("child")]
store.close()
print(len(children), len(files_open()))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux shows which files a process has open")
def test_a_forked_child_inherits_no_connection_and_can_use_the_store(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKING, str(tmp_path / "progress.db")]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr) == ("20 0\n", "")


_FORKING_AT_WORK = """
import os, threading, time
from megaflow import MemoryStore
at_work, may_go_on = threading.Event(), threading.Event()
def tell_time():
    if threading.current_thread() is not threading.main_thread():
        at_work.set()
        may_go_on.wait()
    return time.time()
store = MemoryStore(clock=tell_time)
thread = threading.Thread(target=store.claim, args=("key", "thread", 60))
thread.start()
at_work.wait()
child = os.fork()
if not child:
    print(store.claim("key", "child", 60).name, flush=True)
    os._exit(0)
os.waitpid(child, 0)
may_go_on.set()
thread.join()
"""


def test_a_memory_store_that_is_at_work_when_its_process_forks_can_be_used_in_the_child() -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKING_AT_WORK]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert (ended.stdout, ended.stderr) == ("TAKEN\n", "")


def test_the_file_of_a_store_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "progress.db") as store:
        store.load("work")

        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert modes["progress.db"] == 0o600
    assert modes == dict.fromkeys(modes, 0o600)
