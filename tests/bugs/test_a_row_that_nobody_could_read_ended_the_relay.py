"""One row of an outbox that could not be read, as a later version had written it, ended every relay."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, update

from megaflow.sql import Outbox
from megaflow.sql.tables import outbox as table
from tests.publishing.queue_server import QueueServer
from tests.sql.relays import engine_of_a_file, queue, relaying, rows_of
from tests.waiting import wait_until

__all__ = ["engine_of_a_file", "queue"]  # fixtures


@pytest.mark.parametrize("options", ['{"of_a_later_version": 1}', "no json", '{"attributes": {"a": {}}}', "[]"])
@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
def test_it_is_parked_and_the_others_go(
    queue: QueueServer, engine: Engine, name: str, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(queue.publisher(name), engine)
    outbox.create_tables()
    group: Any = {"group_id": "g"} if name.endswith(".fifo") else {}
    with engine.begin() as connection:
        bad = outbox.publish(connection, "bad", **group)
        connection.execute(update(table).values(options=options))
        outbox.publish(connection, "good", **group)

    with relaying(outbox):
        wait_until(lambda: queue.bodies == ["good"])
        wait_until(lambda: len(rows_of(engine)) == 1)

    ((id_, state, error, claimed_by),) = rows_of(engine, "megaflow_id", "state", "error", "claimed_by")
    assert (id_, state, claimed_by) == (bad, "parked", None)
    assert error.startswith("this version cannot read it: ")
    assert "is parked: this version cannot read it" in caplog.text
