"""Two outboxes of one database that nobody had given names sent each other's messages, to the queues of their own."""

from __future__ import annotations

from sqlalchemy import Engine

from megaflow.sql import Outbox
from tests.publishing.queue_server import QueueServer, queue_server
from tests.sql.relays import count_of, engine_of_a_file, queue, relaying, rows_of
from tests.waiting import wait_until

__all__ = ["engine_of_a_file", "queue"]  # fixtures


def test_what_is_for_another_queue_waits_and_is_said(queue: QueueServer, engine: Engine) -> None:
    orders, mails = (Outbox(queue.publisher(name), engine) for name in ("orders", "mails"))
    orders.create_tables()
    with engine.begin() as connection:
        orders.publish(connection, "an order")
        mails.publish(connection, "a mail")

    with relaying(orders):
        wait_until(lambda: queue.bodies == ["an order"] and count_of(engine) == 1)
        wait_until(lambda: not orders.health().ready)
        (problem,) = orders.health().problems
        wait_until(lambda: rows_of(engine, "error")[0].error is not None)

    assert "has messages for the queue mails, and publishes to the queue orders: give each outbox" in problem
    assert queue.bodies == ["an order"]

    with relaying(mails):
        wait_until(lambda: count_of(engine) == 0)
    assert queue.bodies == ["an order", "a mail"]


def test_a_queue_is_known_by_its_name_wherever_it_is(queue: QueueServer, engine: Engine) -> None:
    before = Outbox(queue.publisher("orders"), engine)
    before.create_tables()
    with engine.begin() as connection:
        before.publish(connection, "an order")

    with queue_server() as elsewhere:
        moved = Outbox(elsewhere.publisher("orders"), engine)
        with relaying(moved):
            wait_until(lambda: count_of(engine) == 0)
        assert elsewhere.bodies == ["an order"]
