"""Metrics of an outbox: what its relay sends and parks, and how long the oldest message has waited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import create_engine, update

from megaflow.sql import Outbox
from megaflow.sql.tables import outbox as table
from tests.publishing.queue_server import queue_server
from tests.sql.relays import relaying, rows_of
from tests.waiting import wait_until


class Noting:
    """Metrics that remember what they are told."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, int, str]] = []
        self.gauges: list[tuple[str, float, str]] = []

    def count(self, name: str, amount: int, labels: Mapping[str, str]) -> None:
        self.counts.append((name, amount, labels["queue"]))

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Is not looked at."""

    def gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        self.gauges.append((name, value, labels["queue"]))


def test_what_is_sent_and_parked_and_how_long_it_waited_is_told(tmp_path: Path) -> None:
    engine, metrics = create_engine(f"sqlite:///{tmp_path / 'shop.db'}"), Noting()
    with queue_server() as queue:
        queue.fail = lambda body: "InvalidMessageContents" if body == "bad" else ""
        outbox = Outbox(queue.publisher(metrics=metrics), engine)
        outbox.create_tables()
        with engine.begin() as connection:
            outbox.publish(connection, "good")
            outbox.publish(connection, "bad")
            connection.execute(update(table).values(created_at=table.c.created_at - 60))

        with relaying(outbox):
            wait_until(lambda: rows_of(engine, "state") == [("parked",)])
            wait_until(lambda: ("parked", 1, "orders") in metrics.counts)

    assert [each for each in metrics.counts if each[0] == "sent"] == [("sent", 1, "orders")] * 2
    ((name, age, of),) = metrics.gauges
    assert (name, of) == ("outbox_age", "orders")
    assert 60 <= age < 300
    engine.dispose()
