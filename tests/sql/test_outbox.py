"""The outbox: what is written in a transaction of a caller, and what is refused there."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from megaflow import App, SqsPublisher
from megaflow.errors import ConfigurationError, EncodeError, PublishError, UsageError
from megaflow.local import Account, SqsClient
from megaflow.payloads import DirectoryPayloads
from megaflow.sql import Outbox, metadata
from megaflow.sql.tables import outbox as outbox_table
from tests.sql.banks import made_by_another
from tests.sql.relays import count_of, rows_of, seeing_statements

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"


def make(engine: Engine, address: str = QUEUE, **options: Any) -> Outbox:
    outbox = Outbox(SqsPublisher(queue_url=address), engine, **options)
    outbox.create_tables()
    return outbox


def test_its_table_may_be_made_by_another_meanwhile(engine: Engine) -> None:
    made_by_another(engine, outbox_table)

    outbox = make(engine)

    with engine.begin() as connection:
        outbox.publish(connection, {"a": 1})
    assert count_of(engine) == 1


def test_its_table_may_be_made_by_another_meanwhile_in_an_event_loop(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    for name, driver in (("sqlite:", "sqlite+aiosqlite:"), ("+psycopg:", "+asyncpg:")):
        url = url.replace(name, driver)
    awaited = create_async_engine(url)
    event.listen(
        awaited.sync_engine,
        "before_cursor_execute",
        lambda *given: outbox_table.create(engine, checkfirst=True) if "CREATE TABLE" in given[2] else None,
    )

    async def make_both() -> None:
        await Outbox(SqsPublisher(queue_url=QUEUE), awaited).acreate_tables()
        await awaited.dispose()

    asyncio.run(make_both())

    assert count_of(engine) == 0


def test_a_table_that_cannot_be_made_is_an_error_of_the_database(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///file:{tmp_path / 'empty.db'}?mode=ro&uri=true")
    (tmp_path / "empty.db").touch()

    with pytest.raises(OperationalError, match="readonly"):
        make(engine)


@pytest.fixture
def outbox(engine: Engine) -> Outbox:
    return make(engine)


def test_a_row_is_there_once_its_transaction_is_committed(engine: Engine, outbox: Outbox) -> None:
    with Session(engine) as session:
        id_ = outbox.publish(session, {"order": 7})
        before = count_of(engine)
        session.commit()

    assert before == 0
    assert rows_of(engine, "megaflow_id", "body", "destination", "state") == [
        (id_, '{"order": 7}', "queue orders", "ready"),
    ]
    assert uuid.UUID(id_).version == 4


def test_a_row_goes_with_its_transaction(engine: Engine, outbox: Outbox) -> None:
    with Session(engine) as session:
        outbox.publish(session, {"order": 7})
        session.rollback()

    assert count_of(engine) == 0


def sessions(engine: Engine) -> dict[str, Callable[[], Any]]:
    return {
        "session": sessionmaker(engine),
        "scoped session": scoped_session(sessionmaker(engine)),
        "connection": engine.connect,
    }


@pytest.mark.parametrize("kind", ["session", "scoped session", "connection"])
def test_whatever_is_in_a_transaction_can_be_given(engine: Engine, outbox: Outbox, kind: str) -> None:
    within = sessions(engine)[kind]()
    outbox.publish(within, "text")
    within.commit()
    within.close()

    assert rows_of(engine, "body") == [("text",)]


def test_it_costs_one_statement(engine: Engine, outbox: Outbox) -> None:
    with seeing_statements(engine) as statements, engine.begin() as connection:
        outbox.publish(connection, "text")

    assert len(statements) == 1
    assert ("pg_notify" in statements[0]) is (engine.dialect.name == "postgresql")


def test_nobody_is_notified_where_that_is_turned_off(engine: Engine) -> None:
    outbox = make(engine, notify=False)

    with seeing_statements(engine) as statements, engine.begin() as connection:
        outbox.publish(connection, "text")

    assert "pg_notify" not in statements[0]


def test_all_that_publish_takes_is_in_the_row(engine: Engine, outbox: Outbox) -> None:
    attributes: dict[str, Any] = {"tenant": "a", "price": Decimal("1.50"), "raw": b"\x00\xff"}

    with engine.begin() as connection:
        id_ = outbox.publish(
            connection, {"a": 1}, binary_encoding=True, attributes=attributes, delay_seconds=5, group_id="t"
        )

    ((options, group_key),) = rows_of(engine, "options", "group_key")
    said = json.loads(options)
    assert said["attributes"] == {
        "megaflow-id": {"type": "String", "text": id_},
        "tenant": {"type": "String", "text": "a"},
        "price": {"type": "Number", "text": "1.50"},
        "raw": {"type": "Binary", "base64": "AP8="},
        **{name: each for name, each in said["attributes"].items() if name not in ("megaflow-id", *attributes)},
    }
    assert said["delay_seconds"] == 5
    # A standard queue keeps no order, so neither does the relay.
    assert (said["group_id"], group_key) == ("t", "")


def test_on_fifo_the_id_is_the_deduplication_id(engine: Engine) -> None:
    outbox = make(engine, QUEUE + ".fifo")

    with engine.begin() as connection:
        id_ = outbox.publish(connection, "one", group_id="g")
        outbox.publish(connection, "two", group_id="g", deduplication_id="mine")

    rows = rows_of(engine, "options", "group_key")
    assert [json.loads(each.options)["deduplication_id"] for each in rows] == [id_, "mine"]
    assert {each.group_key for each in rows} == {"queue orders.fifo g"}


def test_an_id_that_came_along_from_another_message_does_not_go_on(engine: Engine, outbox: Outbox) -> None:
    with engine.begin() as connection:
        id_ = outbox.publish(connection, "x", attributes={"megaflow-id": "of another"})

    assert json.loads(rows_of(engine, "options")[0].options)["attributes"]["megaflow-id"]["text"] == id_


@pytest.mark.parametrize(
    ("payload", "options", "path"),
    [
        ("", {}, "payload"),
        ({"a": object()}, {}, "payload"),
        ("x", {"delay_seconds": 901}, "delay_seconds"),
        ("x", {"subject": "for topics"}, "subject"),
        ("x", {"deduplication_id": "for fifo"}, "deduplication_id"),
        ("x", {"attributes": {f"a{number}": "x" for number in range(10)}}, "attributes"),
        ("x" * 1_048_577, {}, "payload"),
        ("x", {"not_before": datetime(2030, 1, 1)}, "not_before"),
        ("x", {"not_before": 5}, "not_before"),
    ],
)
def test_what_aws_would_refuse_is_refused_before_it_is_written(
    engine: Engine, outbox: Outbox, payload: Any, options: dict[str, Any], path: str
) -> None:
    with engine.begin() as connection, pytest.raises(EncodeError) as raised:
        outbox.publish(connection, payload, **options)

    assert raised.value.path.startswith(path)
    assert count_of(engine) == 0


def test_ten_attributes_have_one_place_for_the_id(engine: Engine, outbox: Outbox) -> None:
    nine = {f"a{number}": "x" for number in range(9)}

    with engine.begin() as connection:
        outbox.publish(connection, "x", attributes=nine)
        with pytest.raises(EncodeError, match="give 9 at most"):
            outbox.publish(connection, "x", attributes={**nine, "one more": "x"})


def test_a_large_payload_is_put_elsewhere_before_its_row_is_written(engine: Engine, tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path / "payloads")
    outbox = Outbox(SqsPublisher(queue_url=QUEUE, large_payloads=payloads), engine)
    outbox.create_tables()

    with engine.begin() as connection:
        outbox.publish(connection, "x" * 2_000_000)

    ((body, options),) = rows_of(engine, "body", "options")
    assert len(body) < 1_000
    assert json.loads(options)["attributes"]["ExtendedPayloadSize"] == {"type": "Number", "text": "2000000"}
    (stored,) = payloads.path.iterdir()
    assert stored.read_text() == "x" * 2_000_000


def test_where_a_large_payload_cannot_be_put_elsewhere_nothing_is_written(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    payloads = DirectoryPayloads(tmp_path / "file")
    outbox = Outbox(SqsPublisher(queue_url=QUEUE, large_payloads=payloads), engine)
    outbox.create_tables()

    with engine.begin() as connection, pytest.raises(PublishError, match="could not be put"):
        outbox.publish(connection, "x" * 2_000_000)

    assert count_of(engine) == 0


def test_an_unknown_option_is_refused_by_its_name(engine: Engine, outbox: Outbox) -> None:
    with engine.begin() as connection, pytest.raises(TypeError, match="did you mean group_id"):
        outbox.publish(connection, "x", groupid="a")  # type: ignore[call-arg]


def test_a_connection_that_commits_by_itself_is_refused(engine: Engine, outbox: Outbox) -> None:
    by_option = engine.execution_options(isolation_level="AUTOCOMMIT")
    by_engine = create_engine(engine.url, isolation_level="AUTOCOMMIT")

    for each in (by_option, by_engine):
        with each.connect() as connection, pytest.raises(UsageError, match="no transaction is open"):
            outbox.publish(connection, "x")
        with Session(each) as session, pytest.raises(UsageError, match="no transaction is open"):
            outbox.publish(session, "x")
    by_engine.dispose()

    assert count_of(engine) == 0


def test_sqlite_transactions_that_an_event_begins_are_transactions(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'events.db'}")
    outbox = make(engine)
    engine.dispose()

    @event.listens_for(engine, "connect")
    def _connect(own: Any, record: Any) -> None:
        own.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    with engine.connect() as connection:
        outbox.publish(connection, "x")
        connection.rollback()
        outbox.publish(connection, "y")
        connection.commit()

    assert rows_of(engine, "body") == [("y",)]
    engine.dispose()


@pytest.mark.parametrize("given", ["an engine", "a sessionmaker", "nothing"])
def test_what_is_in_no_transaction_is_refused(engine: Engine, outbox: Outbox, given: str) -> None:
    within = {"an engine": engine, "a sessionmaker": sessionmaker(engine), "nothing": None}[given]

    with pytest.raises(UsageError, match="transaction"):
        outbox.publish(within, "x")


def test_an_app_says_where_its_messages_go(engine: Engine) -> None:
    app = App(QUEUE, TOPIC)
    outbox = Outbox(app, engine)
    outbox.create_tables()

    with engine.begin() as connection:
        outbox.publish(connection, "x", subject="news")

    assert rows_of(engine, "destination") == [("topic orders",)]


def test_what_cannot_work_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="publisher="):
        Outbox("queue")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="engine="):
        Outbox(App(QUEUE), "sqlite://")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="name="):
        Outbox(App(QUEUE), name="")
    with pytest.raises(ConfigurationError, match="no engine"):
        Outbox(App(QUEUE)).relay()


def test_its_table_is_among_those_for_alembic(engine: Engine) -> None:
    metadata.create_all(engine)
    outbox = Outbox(SqsPublisher(queue_url=QUEUE), engine)
    outbox.create_tables()

    with engine.begin() as connection:
        outbox.publish(connection, "x")
        assert connection.execute(text("SELECT count(*) FROM megaflow_outbox")).scalar() == 1


@pytest.mark.parametrize("later", [timedelta(seconds=60), datetime.now(UTC) + timedelta(hours=1)])
def test_what_is_for_later_says_so(engine: Engine, outbox: Outbox, later: Any) -> None:
    with engine.begin() as connection:
        outbox.publish(connection, "x", not_before=later)

    ((state, created, not_before),) = rows_of(engine, "state", "created_at", "not_before")
    seconds = later.total_seconds() if isinstance(later, timedelta) else later.timestamp() - created
    assert state == "scheduled"
    assert not_before - created == pytest.approx(seconds, abs=0.1)


def publish_within(kind: str, url: str) -> Callable[[Outbox], Coroutine[Any, Any, None]]:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine

    async def publish(outbox: Outbox) -> None:
        engine = create_async_engine(url)
        await outbox.acreate_tables(engine)
        kinds: dict[str, Callable[[], Any]] = {
            "session": lambda: AsyncSession(engine),
            "scoped session": lambda: aclosing(async_scoped_session(async_sessionmaker(engine), asyncio.current_task)),
            "connection": engine.connect,
        }
        async with kinds[kind]() as within:
            with pytest.raises(UsageError, match=r"await outbox\.apublish"):
                outbox.publish(within, "x")
            await outbox.apublish(within, "gone")
            await within.rollback()
            await outbox.apublish(within, "kept", attributes={"a": 1})
            await within.commit()
        async with engine.connect() as connection:
            found = (await connection.execute(text("SELECT body FROM megaflow_outbox"))).all()
        await engine.dispose()
        assert found == [("kept",)]

    return publish


@pytest.mark.parametrize("kind", ["session", "scoped session", "connection"])
@pytest.mark.parametrize("driver", ["aiosqlite", "asyncpg", "psycopg"])
def test_async_sessions_and_connections_do_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, driver: str, kind: str
) -> None:
    pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    pytest.importorskip(driver)
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    if driver != "aiosqlite":
        url = request.getfixturevalue("server").url(request.getfixturevalue("database"), driver)

    asyncio.run(publish_within(kind, url)(Outbox(SqsPublisher(queue_url=QUEUE))))


def test_a_sync_session_is_not_awaited(engine: Engine, outbox: Outbox) -> None:
    with engine.begin() as connection, pytest.raises(UsageError, match="not to be awaited"):
        asyncio.run(outbox.apublish(connection, "x"))


def test_the_client_is_not_made_by_whoever_only_writes(engine: Engine) -> None:
    class Unasked(SqsClient):
        def send_message(self, **_: Any) -> Any:
            raise AssertionError("AWS is asked within a transaction")

        send_message_batch = send_message

    outbox = Outbox(SqsPublisher(queue_url=QUEUE, client=Unasked(Account())), engine)
    outbox.create_tables()

    with engine.begin() as connection:
        outbox.publish(connection, "x")

    assert count_of(engine) == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_was_forked_has_connections_of_its_own(engine: Engine, outbox: Outbox) -> None:
    makers: list[int] = []

    @event.listens_for(engine, "connect")
    def note(connection: Any, record: Any) -> None:
        makers.append(os.getpid())

    engine.dispose()
    publish_one(engine, outbox, "the parent's")

    child = os.fork()
    if not child:
        code = 1
        try:
            publish_one(engine, outbox, "the child's")
            code = int(makers[-1] != os.getpid())
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert rows_of(engine, "body") == [("the parent's",), ("the child's",)]


def publish_one(engine: Engine, outbox: Outbox, body: str) -> None:
    with engine.begin() as connection:
        outbox.publish(connection, body)
