"""Traces through an outbox: from the transaction to the consumer, whoever sends in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from megaflow.sql import Outbox
from tests.consuming import Queues, running
from tests.sql.relays import count_of, relaying
from tests.telemetry.spans import Spans, id_of, recording
from tests.waiting import wait_until


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recording() as spans:
        yield spans


def test_the_trace_goes_from_the_transaction_to_the_consumer(spans: Spans, tmp_path: Path) -> None:
    queues, engine = Queues(), create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    app = queues.app()
    app.on_text()(lambda text: None)
    outbox = Outbox(app, engine)
    outbox.create_tables()
    with spans.tracer.start_as_current_span("order") as order, engine.begin() as connection:
        outbox.publish(connection, "placed")
    send = spans.one("send q")

    with relaying(outbox):
        wait_until(lambda: count_of(engine) == 0)
    with running(app):
        process = spans.one("process q")

    assert send.parent is not None
    assert send.parent.span_id == order.get_span_context().span_id
    assert process.parent is not None
    assert process.parent.span_id == id_of(send)
    # What the relay does is no message of its own.
    assert spans.named("send q") == [send]
    engine.dispose()
