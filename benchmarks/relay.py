"""A relay beside `publish_stream`, to the same embedded queue: an outbox on PostgreSQL drained, and how long one waits.

``python -m benchmarks.relay [--rows N] [--rounds N] [--quick]``. The sides take turns, on a standard queue, and on FIFO
with a hundred groups. Then single messages, one at a time, are written, and the time is measured until they are
received.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

from sqlalchemy import Engine, create_engine, func, select

from benchmarks.sqs import BODY, connect, server, show
from megaflow import Outgoing, SqsPublisher
from megaflow.sql import Outbox
from megaflow.sql.tables import outbox as table
from tests.postgresql import postgresql

ROWS: Final = 20_000
ROUNDS: Final = 3
GROUPS: Final = 100
SINGLE: Final = 200


def make_queue(client: Any, name: str) -> str:
    attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    url: str = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def items(rows: int, *, fifo: bool) -> Iterator[Outgoing]:
    payload = json.loads(BODY)
    for number in range(rows):
        options: Any = {"group_id": f"g{number % GROUPS}", "deduplication_id": os.urandom(8).hex()} if fifo else {}
        yield Outgoing(payload, **options)


def stream(publisher: SqsPublisher, rows: int, *, fifo: bool) -> float:
    """Return the messages per second of `publish_stream`."""
    began = time.perf_counter()
    for sent in publisher.publish_stream(items(rows, fifo=fifo)):
        assert sent.failure is None
    return rows / (time.perf_counter() - began)


def fill(outbox: Outbox, engine: Engine, rows: int, *, fifo: bool) -> None:
    """Write rows, in one transaction."""
    with engine.begin() as connection:
        for each in items(rows, fifo=fifo):
            outbox.publish(connection, each.payload, group_id=each.group_id, deduplication_id=each.deduplication_id)


def drain(outbox: Outbox, engine: Engine, rows: int, *, fifo: bool) -> float:
    """Return the messages per second of a relay."""
    fill(outbox, engine, rows, fifo=fifo)
    began = time.perf_counter()
    with relaying(outbox), engine.connect() as connection:
        # The last one is found by the index; to look for any would read what was deleted, too.
        while connection.execute(select(func.max(table.c.id))).scalar():
            connection.rollback()
            time.sleep(0.02)
        return rows / (time.perf_counter() - began)


@contextmanager
def relaying(outbox: Outbox) -> Iterator[None]:
    thread = threading.Thread(target=outbox.relay)
    thread.start()
    try:
        yield
    finally:
        outbox.stop()
        thread.join()


def wait_for_one(outbox: Outbox, engine: Engine, client: Any, url: str) -> float:
    """Return the seconds from the commit of a message until it is received."""
    with engine.begin() as connection:
        outbox.publish(connection, json.loads(BODY))
    began = time.perf_counter()
    (message,) = client.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    took = time.perf_counter() - began
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return took


def compare(client: Any, engine: Engine, rows: int, rounds: int) -> None:
    for fifo in (False, True):
        found = []
        for number in range(rounds):
            url = make_queue(client, f"relayed-{number}{'.fifo' if fifo else ''}")
            publisher = SqsPublisher(queue_url=url, client=client)
            outbox = Outbox(publisher, engine, f"relayed {number} {fifo}")
            found.append((stream(publisher, rows, fifo=fifo), drain(outbox, engine, rows, fifo=fifo)))
        streamed, drained = (median(each) for each in zip(*found, strict=True))
        print(f"  {'FIFO' if fifo else 'standard':9} publish_stream {streamed:8,.0f}/s   relay {drained:8,.0f}/s")
        ratio = median(drained / streamed for streamed, drained in found)
        show(f"relay, {'FIFO' if fifo else 'standard'}", f"{ratio:.2f} x publish_stream", "0.40", ratio >= 0.4)


def measure_waiting(client: Any, engine: Engine, count: int) -> None:
    url = make_queue(client, "waiting")
    outbox = Outbox(SqsPublisher(queue_url=url, client=client), engine, "waiting")
    with relaying(outbox):
        wait_for_one(outbox, engine, client, url)
        took = median(wait_for_one(outbox, engine, client, url) for _ in range(count)) * 1e3
    show("commit to receive, idle", f"{took:.1f} ms", "50 ms", took <= 50)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, once, to see that it works")
    options = parser.parse_args()
    rows, rounds = (options.rows // 10, 1) if options.quick else (options.rows, options.rounds)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    with server("megaflow.local") as endpoint_url, postgresql() as database:
        client = connect(endpoint_url)
        engine = create_engine(database.url(database.create_database()))
        table.create(engine)
        compare(client, engine, rows, rounds)
        measure_waiting(client, engine, SINGLE // 10 if options.quick else SINGLE)


if __name__ == "__main__":
    main()
