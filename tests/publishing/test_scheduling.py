"""Scheduling: later by SQS's own delay where that goes, else by an outbox, and never early."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from megaflow import App, ConfigurationError, EncodeError, UsageError
from megaflow.local import Account, SqsClient
from megaflow.sql import Outbox
from megaflow.testing import TestClient
from tests.sql.relays import count_of, rows_of


class Noting(SqsClient):
    """A client that notes what it is asked to send."""

    def __init__(self) -> None:
        super().__init__(Account())
        self.asked: list[dict[str, Any]] = []

    def send_message(self, **parameters: Any) -> Any:
        self.asked.append(parameters)
        return super().send_message(**parameters)


@pytest.fixture
def sqs() -> Noting:
    return Noting()


@pytest.fixture
def app(sqs: Noting) -> App:
    return App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    yield engine
    engine.dispose()


@pytest.mark.parametrize("after", [timedelta(seconds=30.2), 30.2])
def test_a_short_delay_is_sqs_own_and_never_shorter(app: App, sqs: Noting, after: Any) -> None:
    scheduled = app.schedule("later", after=after)

    assert [each["DelaySeconds"] for each in sqs.asked] == [31]
    assert scheduled.id
    assert scheduled.cancel() is False


def test_a_time_is_a_delay_until_then(app: App, sqs: Noting) -> None:
    app.schedule("later", at=datetime.now(UTC) + timedelta(seconds=60))
    app.schedule("now", at=datetime.now(UTC) - timedelta(days=1))

    delays = [each["DelaySeconds"] for each in sqs.asked]
    assert 59 <= delays[0] <= 60
    assert delays[1] == 0


def test_what_is_later_goes_by_the_outbox_and_can_be_cancelled(app: App, sqs: Noting, engine: Engine) -> None:
    Outbox(app, engine).create_tables()

    scheduled = app.schedule({"id": 7}, after=timedelta(days=3), attributes={"tenant": "a"})
    rows = rows_of(engine, "megaflow_id", "state")

    assert sqs.asked == []
    assert rows == [(scheduled.id, "scheduled")]
    assert [scheduled.cancel(), scheduled.cancel()] == [True, False]
    assert count_of(engine) == 0


def test_on_fifo_a_short_delay_goes_by_the_outbox_too(sqs: Noting, engine: Engine) -> None:
    url = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    app = App(url, client=sqs)
    Outbox(app, engine).create_tables()

    app.schedule("later", after=5, group_id="g")

    assert count_of(engine) == 1


def test_what_neither_can_do_is_refused_with_what_to_do(app: App) -> None:
    with pytest.raises(ConfigurationError, match="make an outbox"):
        app.schedule("later", after=timedelta(minutes=16))


def test_what_makes_no_sense_is_refused(app: App) -> None:
    with pytest.raises(UsageError, match="either at="):
        app.schedule("later")
    with pytest.raises(UsageError, match="either at="):
        app.schedule("later", at=datetime.now(UTC), after=5)
    with pytest.raises(EncodeError, match="time zone"):
        app.schedule("later", at=datetime(2030, 1, 1))
    with pytest.raises(EncodeError, match="after"):
        app.schedule("later", after="soon")  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="delay_seconds"):
        app.schedule("later", after=5, delay_seconds=5)


def test_the_clock_of_a_test_brings_it(app: App) -> None:
    got: list[str] = []
    app.on_text()(lambda text: got.append(text))

    with TestClient(app) as client:
        app.schedule("in ten seconds", after=10)
        app.schedule("in two days", after=timedelta(days=2))
        with pytest.raises(EncodeError, match="payload"):
            app.schedule("", after=timedelta(days=2))
        cancelled = app.schedule("never", after=timedelta(days=1))
        app.schedule("tomorrow", at=datetime.fromtimestamp(client.now, UTC) + timedelta(days=1))
        client.advance(9)
        early = list(got)
        client.advance(1)
        first = list(got)
        assert cancelled.cancel()
        client.advance(86_400 - 10.5)
        second = list(got)
        client.advance(0.5)
        third = list(got)
        client.advance(86_400)

    assert (early, first, second) == ([], ["in ten seconds"], ["in ten seconds"])
    assert third == ["in ten seconds", "tomorrow"]
    assert got == ["in ten seconds", "tomorrow", "in two days"]
