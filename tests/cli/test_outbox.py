"""``megaflow relay`` and ``megaflow outbox``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, update

from megaflow import SqsPublisher
from megaflow.sql import Outbox
from megaflow.sql.tables import outbox as table
from tests.cli.conftest import Run
from tests.cli.processes import running
from tests.sql.relays import count_of, rows_of
from tests.waiting import wait_until

PROGRAM = """
from sqlalchemy import create_engine
from megaflow import SqsPublisher
from megaflow.sql import Outbox

outbox = Outbox(
    SqsPublisher(queue_url={url!r}, aws_access_key_id="any", aws_secret_access_key="any"),
    create_engine("sqlite:///shop.db"),
)
other = Outbox(SqsPublisher(queue_url={url!r}), name="other")
"""


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def outbox(engine: Engine, orders: str, tmp_path: Path) -> Outbox:
    Path(tmp_path, "shop.py").write_text(PROGRAM.format(url=orders))
    made = Outbox(SqsPublisher(queue_url=orders), engine)
    made.create_tables()
    return made


def publish(outbox: Outbox, engine: Engine, *bodies: str) -> list[str]:
    with engine.begin() as connection:
        return [outbox.publish(connection, body) for body in bodies]


def park(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(table).values(state="parked", error="InvalidMessageContents: it said"))


@pytest.mark.parametrize("command", ["outbox", "relay"])
def test_a_table_that_is_not_there_is_said_without_the_statement(
    command: str, run: Run, outbox: Outbox, engine: Engine
) -> None:
    table.drop(engine)

    result = run(command, "shop.py:outbox")

    assert result.code == 2
    assert "the table megaflow_outbox is not there, or not as it is to be: call create_tables()" in result.err
    assert "SELECT" not in result.err


def test_relay_sends_until_it_is_stopped(outbox: Outbox, engine: Engine, sqs: Any, orders: str) -> None:
    publish(outbox, engine, "one")

    with running("relay", "shop.py:outbox") as process:
        wait_until(lambda: count_of(engine) == 0)
        process.wait_for("outbox default")
        code = process.end(signal.SIGTERM)

    assert code == 0
    assert [each["Body"] for each in sqs.receive_message(QueueUrl=orders)["Messages"]] == ["one"]


def test_outbox_shows_what_waits_and_what_is_parked(run: Run, outbox: Outbox, engine: Engine) -> None:
    publish(outbox, engine, "one")
    park(engine)
    publish(outbox, engine, "two", "three")

    said = run("outbox", "shop.py:outbox")
    (as_json,) = run("outbox", "shop.py:outbox", "--json").json

    assert said.code == 0
    assert "waiting    2" in said.out
    assert "InvalidMessageContents: it said" in said.out
    assert (as_json["waiting"], as_json["parked"], as_json["scheduled"]) == (2, 1, 0)
    assert as_json["oldest"] >= 0


def test_what_is_parked_can_be_sent_again_or_discarded(run: Run, outbox: Outbox, engine: Engine) -> None:
    one, _, _ = publish(outbox, engine, "one", "two", "three")
    park(engine)

    again = run("outbox", "shop.py:outbox", "--retry", "--id", one)
    gone = run("outbox", "shop.py:outbox", "--discard")

    assert "1 message to be sent again" in again.err
    assert "2 messages discarded" in gone.err
    assert rows_of(engine, "body", "state") == [("one", "ready")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop.py"], "several outboxes in shop.py; there is shop.py:outbox and shop.py:other"),
        (["shop.py:none"], "there is no 'none' in shop.py"),
        (["shop.py:create_engine"], "is no Outbox"),
        (["shop.py:other"], "--database"),
        (["shop.py:other", "--database", "nonsense://user:secret@host"], "no address that SQLAlchemy can use"),
        (["shop.py:outbox", "--retry", "--discard"], "exclude each other"),
        (["shop.py:outbox", "--id", "a"], "--id is for"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run: Run, outbox: Outbox, arguments: list[str], said: str) -> None:
    ran = run("outbox", *arguments)

    assert ran.code == 2
    assert said in ran.err
    assert "secret" not in ran.err


def test_the_database_can_be_named(run: Run, outbox: Outbox, engine: Engine) -> None:
    publish(outbox, engine, "one")

    (said,) = run("outbox", "shop.py:outbox", "--database", str(engine.url), "--json").json

    assert said["waiting"] == 1
