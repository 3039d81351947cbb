"""Relays: what is committed is sent, in the order of its group, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import Engine, create_engine, text, update

from megaflow import App, SqsPublisher
from megaflow.errors import ConfigurationError, UsageError
from megaflow.local import Account, Fault, FaultKind
from megaflow.local.faults import Faults
from megaflow.local.server import Server
from megaflow.sql import Outbox
from megaflow.sql.relay_core import IN_FLIGHT
from megaflow.sql.relay_rows import Claimant, claim
from megaflow.sql.tables import outbox as table
from tests.consuming import Queues
from tests.postgresql import Postgresql
from tests.publishing.queue_server import QueueServer, queue_server
from tests.sql.relays import count_of, queue, relaying, rows_of
from tests.waiting import PATIENCE, wait_until

__all__ = ["queue"]  # a fixture


def make(queue: QueueServer, engine: Engine, name: str = "orders", **options: Any) -> Outbox:
    outbox = Outbox(queue.publisher(name), engine, **options)
    outbox.create_tables()
    return outbox


def publish(outbox: Outbox, engine: Engine, *bodies: str, **options: Any) -> None:
    with engine.begin() as connection:
        for body in bodies:
            outbox.publish(connection, body, **options)


def ask(engine: Engine, query: str) -> int:
    """Ask PostgreSQL in a transaction of its own: within one, it says of activity what it said before."""
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_what_is_committed_is_sent_and_gone(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)
    bodies = [f"body {number}" for number in range(25)]
    publish(outbox, engine, *bodies)

    with relaying(outbox):
        wait_until(lambda: count_of(engine) == 0)

    assert sorted(queue.bodies) == sorted(bodies)
    assert sorted(map(len, queue.requests)) == [5, 10, 10]


def test_a_relay_that_waits_is_woken(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)

    with relaying(outbox):
        wait_until(lambda: outbox.health().ready)
        publish(outbox, engine, "one")
        wait_until(lambda: queue.bodies == ["one"])


def test_postgresql_wakes_it_at_the_commit(
    server: Postgresql, database: str, queue: QueueServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megaflow.sql.relay_core.POLL", 3_600.0)
    engine = create_engine(server.url(database))
    outbox = make(queue, engine)

    with relaying(outbox):
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        wait_until(lambda: ask(engine, query))
        for body in ("one", "two"):
            publish(outbox, engine, body)
            wait_until(lambda body=body: body in queue.bodies and count_of(engine) == 0)  # type: ignore[misc]
    engine.dispose()


def test_one_call_of_a_group_is_under_way_and_its_order_stays(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine, "orders.fifo")
    queue.seconds = 0.01
    for number in range(12):
        for group in "abc":
            publish(outbox, engine, f"{group} {number}", group_id=group)

    with relaying(outbox, count=3):
        wait_until(lambda: count_of(engine) == 0)

    assert queue.met == set()
    assert all(len({body[0] for body in request}) == len(request) for request in queue.requests)
    for group in "abc":
        assert [body for body in queue.bodies if body[0] == group] == [f"{group} {number}" for number in range(12)]


def test_of_two_claims_one_has_the_group(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine, "orders.fifo")
    publish(outbox, engine, "a 1", "a 2", group_id="a")
    publish(outbox, engine, "b 1", group_id="b")
    first, second = Claimant("first", "default"), Claimant("second", "default")

    with engine.begin() as connection:
        claimed = claim(connection, first, 0.0)
    publish(outbox, engine, "a 3", group_id="a")
    with engine.begin() as connection:
        left = claim(connection, second, 0.0)

    assert [row.message.body for row in claimed] == ["a 1", "a 2", "b 1"]
    assert left == []


def test_two_transactions_do_not_claim_one_group_together(database: str, server: Postgresql) -> None:
    with queue_server() as queue:
        engine = create_engine(server.url(database))
        outbox = make(queue, engine, "orders.fifo")
        publish(outbox, engine, "a 1", "a 2", group_id="a")
        publish(outbox, engine, "b 1", group_id="b")

        with engine.begin() as one, engine.begin() as other:
            claimed = claim(one, Claimant("first", "default"), 0.0)
            # It would wait for ever for what it must skip.
            other.execute(text("SET LOCAL lock_timeout = '10s'"))
            left = claim(other, Claimant("second", "default"), 0.0)

        assert len(claimed) == 3
        assert left == []
        engine.dispose()


def test_a_row_committed_late_does_not_give_its_group_to_two(database: str, server: Postgresql) -> None:
    """A head that was not there when the group was claimed has a lock of its own."""
    with queue_server() as queue:
        engine = create_engine(server.url(database))
        outbox = make(queue, engine, "orders.fifo")
        late = engine.connect()
        outbox.publish(late, "a 1", group_id="a")
        publish(outbox, engine, "a 2", group_id="a")
        first = engine.connect()
        with first.begin():
            claimed = claim(first, Claimant("first", "default"), 0.0)
            late.commit()
            second: list[Any] = []

            def claim_too() -> None:
                with engine.begin() as connection:
                    second.append(claim(connection, Claimant("second", "default"), 0.0))

            thread = threading.Thread(target=claim_too)
            thread.start()
            thread.join(0.5)
            is_waiting = thread.is_alive()
        thread.join(PATIENCE)

        assert [row.message.body for row in claimed] == ["a 2"]
        assert is_waiting
        assert second == [[]]
        assert [each.claimed_by for each in rows_of(engine, "claimed_by")] == [None, "first"]
        first.close()
        late.close()
        engine.dispose()


def test_a_claim_that_has_run_out_is_anybodys(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine, "orders.fifo")
    publish(outbox, engine, "a 1", group_id="a")
    with engine.begin() as connection:
        claim(connection, Claimant("dead", "default", seconds=0.0), 0.0)
        claimed = claim(connection, Claimant("alive", "default"), 0.0)

    assert [row.message.body for row in claimed] == ["a 1"]


def test_another_outbox_of_the_same_database_is_another_relays(queue: QueueServer, engine: Engine) -> None:
    mine, other = make(queue, engine, name="orders"), Outbox(queue.publisher("mails"), engine, "other")
    publish(mine, engine, "mine")
    publish(other, engine, "other")

    with relaying(mine):
        wait_until(lambda: count_of(engine) == 1)

    assert queue.bodies == ["mine"]
    assert rows_of(engine, "outbox") == [("other",)]


def test_an_entry_that_aws_refuses_is_parked_and_its_group_goes_on(
    queue: QueueServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = make(queue, engine, "orders.fifo")
    queue.fail = lambda body: "InvalidMessageContents" if body == "bad" else ""
    publish(outbox, engine, "one", "bad", "two", group_id="g")

    with relaying(outbox):
        wait_until(lambda: count_of(engine) == 1)

    assert queue.bodies == ["one", "bad", "two"]
    ((state, error, claimed_by),) = rows_of(engine, "state", "error", "claimed_by")
    assert (state, error) == ("parked", "InvalidMessageContents: InvalidMessageContents, it said")
    assert claimed_by is None
    assert "is parked" in caplog.text


def test_an_entry_that_fails_for_aws_own_fault_waits_and_so_does_its_group(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine, "orders.fifo")
    failures = iter(["InternalError", "InternalError"])
    queue.fail = lambda body: next(failures, "") if body == "a 1" else ""
    publish(outbox, engine, "a 1", "a 2", group_id="a")
    publish(outbox, engine, "b 1", "b 2", group_id="b")

    with relaying(outbox):
        wait_until(lambda: count_of(engine) == 0)

    assert [body for body in queue.bodies if body[0] == "a"] == ["a 1", "a 1", "a 1", "a 2"]
    assert [body for body in queue.bodies if body[0] == "b"] == ["b 1", "b 2"]


@pytest.mark.parametrize("code", ["AccessDenied", "KMS.ThrottlingException", "AWS.SimpleQueueService.NonExistentQueue"])
def test_what_is_not_the_entrys_own_fault_parks_nothing(queue: QueueServer, engine: Engine, code: str) -> None:
    outbox = make(queue, engine)
    failures = iter([code])
    queue.fail = lambda body: next(failures, "")
    publish(outbox, engine, "one")

    with relaying(outbox):
        wait_until(lambda: count_of(engine) == 0)

    assert queue.bodies == ["one", "one"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "RequestThrottled"), (403, "AccessDenied"), (400, "QueueDoesNotExist"), (500, "Internal")],
)
def test_a_call_that_fails_as_a_whole_is_made_again(
    queue: QueueServer, engine: Engine, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outbox = make(queue, engine)
    publish(outbox, engine, "one")
    queue.refuse = lambda bodies: (status, code)

    with relaying(outbox):
        wait_until(lambda: outbox.health().problems)
        health = outbox.health()
        queue.refuse = lambda bodies: None
        wait_until(lambda: count_of(engine) == 0)
        wait_until(lambda: outbox.health().ready)

    assert not health.ready
    assert code in health.problems[0]
    assert caplog.text.count("is tried again") == 1
    assert "answers again" in caplog.text


def test_one_that_has_its_call_refused_is_found_and_parked_alone(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)
    queue.refuse = lambda bodies: (400, "InvalidParameterValue") if "bad" in bodies else None
    publish(outbox, engine, "one", "bad", "two")

    with relaying(outbox):
        wait_until(lambda: count_of(engine) == 1)

    assert sorted(queue.requests) == [["bad"], ["one"], ["one", "bad", "two"], ["two"]]
    assert rows_of(engine, "body", "state") == [("bad", "parked")]


def test_at_most_eight_calls_are_under_way_and_one_where_none_works(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)
    publish(outbox, engine, *(f"body {number}" for number in range(200)))
    queue.go_on.clear()

    with relaying(outbox):
        wait_until(lambda: len(queue.requests) == IN_FLIGHT)
        time.sleep(0.1)
        most = len(queue.requests)
        queue.go_on.set()
        wait_until(lambda: count_of(engine) == 0)

    assert most == IN_FLIGHT


def test_stopping_waits_for_what_is_under_way_and_gives_the_rest_back(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine, "orders.fifo")
    publish(outbox, engine, "a 1", "a 2", "a 3", group_id="a")
    queue.go_on.clear()

    with relaying(outbox):
        wait_until(lambda: queue.requests)
        outbox.stop()
        wait_until(lambda: rows_of(engine, "claimed_by")[1:] == [(None,), (None,)])
        assert outbox.health().stopping
        queue.go_on.set()

    assert queue.bodies == ["a 1"]
    assert rows_of(engine, "body", "claimed_by") == [("a 2", None), ("a 3", None)]


def test_stopping_now_does_not_wait(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)
    publish(outbox, engine, "one")
    queue.go_on.clear()
    thread = threading.Thread(target=outbox.relay)
    thread.start()
    wait_until(lambda: queue.requests)

    outbox.stop(now=True)
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert count_of(engine) == 1
    queue.go_on.set()


def test_stopping_before_it_runs_ends_it_at_once(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)
    outbox.stop()

    outbox.relay()

    assert not outbox.health().ready


def test_what_is_for_later_is_never_early(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine)
    publish(outbox, engine, "later", not_before=timedelta(hours=1))
    began = time.monotonic()
    publish(outbox, engine, "soon", not_before=timedelta(seconds=0.3))

    with relaying(outbox):
        wait_until(lambda: queue.bodies == ["soon"])
        took = time.monotonic() - began
        with engine.begin() as connection:
            connection.execute(update(table).values(not_before=1.0))
        wait_until(lambda: queue.bodies == ["soon", "later"])

    assert took >= 0.29


def test_what_is_for_later_does_not_hold_up_its_group(queue: QueueServer, engine: Engine) -> None:
    outbox = make(queue, engine, "orders.fifo")
    publish(outbox, engine, "later", group_id="g", not_before=timedelta(hours=1))
    publish(outbox, engine, "now", group_id="g")

    with relaying(outbox):
        wait_until(lambda: queue.bodies == ["now"])
        wait_until(lambda: count_of(engine) == 1)


def test_no_transaction_is_open_while_aws_is_called(database: str, server: Postgresql, queue: QueueServer) -> None:
    engine = create_engine(server.url(database), connect_args={"application_name": "relay"})
    outbox = make(queue, engine)
    publish(outbox, engine, "one")
    queue.go_on.clear()
    looking = create_engine(server.url(database))

    with relaying(outbox):
        wait_until(lambda: queue.requests)
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'relay' AND xact_start IS NOT NULL"
        # It polls in between.
        wait_until(lambda: ask(looking, query) == 0)
        queue.go_on.set()
        wait_until(lambda: count_of(engine) == 0)
    engine.dispose()
    looking.dispose()


def test_it_does_not_begin_without_its_table(queue: QueueServer, engine: Engine) -> None:
    outbox = Outbox(queue.publisher("orders"), engine)

    with pytest.raises(ConfigurationError, match=r"outbox default: the table megaflow_outbox is not there") as caught:
        outbox.relay()

    assert "create_tables()" in str(caught.value)
    assert "SELECT" not in str(caught.value)


def test_a_consumer_does_not_begin_without_the_table_of_its_relay(queue: QueueServer, engine: Engine) -> None:
    queues = Queues()
    app = queues.app()
    app.on_text()(print)

    with pytest.raises(ConfigurationError, match="the table megaflow_outbox is not there"):
        app.run(relay=Outbox(queue.publisher("orders"), engine))


def test_a_table_that_goes_later_is_waited_for_and_said_without_its_statement(
    queue: QueueServer, engine: Engine
) -> None:
    outbox = make(queue, engine)

    with relaying(outbox):
        wait_until(lambda: outbox.health().ready)
        table.drop(engine)
        wait_until(lambda: not outbox.health().ready)
        (problem,) = outbox.health().problems
        outbox.create_tables()
        publish(outbox, engine, "one")
        wait_until(lambda: queue.bodies == ["one"] and outbox.health().ready)

    assert "megaflow_outbox" in problem
    assert "[SQL" not in problem


def test_it_goes_on_where_postgresql_was_restarted(
    server: Postgresql, database: str, queue: QueueServer, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(server.url(database), pool_pre_ping=True)
    outbox = make(queue, engine)
    publish(outbox, engine, "before")

    with relaying(outbox):
        wait_until(lambda: queue.bodies == ["before"])
        server.kill()
        wait_until(lambda: outbox.health().problems)
        health = outbox.health()
        server.start()
        publish(outbox, engine, "after")
        wait_until(lambda: "after" in queue.bodies and count_of(engine) == 0)
        wait_until(lambda: outbox.health().ready)

    assert "the database" in health.problems[0]
    engine.dispose()


@pytest.mark.parametrize("driver", ["aiosqlite", "asyncpg", "psycopg"])
def test_a_relay_in_an_event_loop_does_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, queue: QueueServer, driver: str
) -> None:
    pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    pytest.importorskip(driver)
    from sqlalchemy.ext.asyncio import create_async_engine

    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    if driver != "aiosqlite":
        url = request.getfixturevalue("server").url(request.getfixturevalue("database"), driver)

    async def run() -> None:
        engine = create_async_engine(url)
        outbox = Outbox(queue.publisher("orders.fifo"), engine)
        await outbox.acreate_tables()
        with pytest.raises(UsageError, match="await arelay"):
            outbox.relay()
        relaying = asyncio.create_task(outbox.arelay())
        async with asyncio.timeout(PATIENCE):
            while not outbox.health().ready:
                await asyncio.sleep(0.01)
            async with engine.begin() as connection:
                for number in range(5):
                    await outbox.apublish(connection, f"{number}", group_id="g")
            while len(queue.bodies) < 5:
                await asyncio.sleep(0.01)
        relaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await relaying
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM megaflow_outbox"))).scalar() == 0
        await engine.dispose()

    asyncio.run(run())

    assert queue.bodies == ["0", "1", "2", "3", "4"]


def test_a_sync_relay_takes_an_async_engine(tmp_path: Path, queue: QueueServer) -> None:
    pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    pytest.importorskip("aiosqlite")
    from sqlalchemy.ext.asyncio import create_async_engine

    sync = create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    outbox = make(queue, sync)
    publish(outbox, sync, "one")
    thread = threading.Thread(
        target=outbox.relay, args=(create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db"),)
    )
    thread.start()

    wait_until(lambda: queue.bodies == ["one"] and count_of(sync) == 0)
    outbox.stop()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    sync.dispose()


def test_over_faults_of_the_embedded_queue_each_message_is_there_and_in_order(engine: Engine) -> None:
    account = Account()
    with Server(account) as server:
        sqs = boto3.client(
            "sqs",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        kinds = FaultKind.FAIL_ENTRIES, FaultKind.LOST, FaultKind.FAIL_BEFORE
        account.faults = Faults(Fault("SendMessageBatch", kind, chance=0.2, times=4) for kind in kinds)
        publisher = SqsPublisher(
            queue_url=url,
            endpoint_url=server.url,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        outbox = Outbox(App(url, client=sqs) if engine.dialect.name == "sqlite" else publisher, engine)
        outbox.create_tables()
        for number in range(8):
            for group in "abc":
                publish(outbox, engine, f"{group} {number}", group_id=group)

        with relaying(outbox, count=2):
            wait_until(lambda: count_of(engine) == 0)

        got: defaultdict[str, list[str]] = defaultdict(list)
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                got[message["Body"][0]].append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert got == {group: [f"{group} {number}" for number in range(8)] for group in "abc"}
