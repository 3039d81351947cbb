"""One consumer, as a process: ``python -m tests.torture.consumer_script '{"queue": …}'``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from megaflow import (
    App,
    ConfigurationError,
    DynamoDbStore,
    MemoryStore,
    Message,
    Reject,
    RetryLater,
    SqliteStore,
    Store,
)
from megaflow.backoff import exponential_backoff
from megaflow.consumer.core import store_outages
from megaflow.processing.progress import work_of
from megaflow.stores import sqlite
from tests.torture.ledger import Key, Ledger, What
from tests.torture.observed_store import ObservedStore
from tests.torture.outcomes import Outcome, Run, fails_for_good, plan_run
from tests.torture.settings import CANNOT_START, SHUTDOWN_TIMEOUT, TABLE, WAIT_TIME, make_client
from tests.torture.watch import watch


class Plant(StrEnum):
    """A fault that is planted in consumers, to see that it is found."""

    NONE = "none"
    IGNORES_OUTAGES = "ignores outages"
    """What its store does not take comes again, and it goes on."""

    FORGETS = "forgets"
    """What it remembers is gone with its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a consumer is told.

    The file *ready* is made once it can be signalled, and *unwell* is there as long as its store is not found well.
    """

    queue: str
    queue_url: str
    endpoint: str
    ledger: str
    ready: str
    unwell: str
    parent: int
    seed: int
    concurrency: int
    max_concurrency: int | None
    """Of the sync handler."""

    rate: str | None
    """Of the async handler."""

    visibility_timeout: int
    wire: bool
    """Whether the hot calls go past boto3."""

    beside_loop: bool
    """Whether it consumes beside an event loop, where its async handlers run."""

    store: str
    busy_timeout: float
    plant: Plant

    def dump(self) -> str:
        return json.dumps(asdict(self))


class Flaky(Exception):
    """What is worth another try."""


class Hands:
    """The handlers. Each notes when a run starts, and how it is about to end."""

    def __init__(self, orders: Orders, ledger: Ledger) -> None:
        self._orders = orders
        self._ledger = ledger

    def handle(self, data: dict[str, Any], message: Message) -> None:
        key, run = self._start(data, message, self._orders.max_concurrency or 0)
        time.sleep(run.seconds)
        self._finish(key, run, message)

    async def ahandle(self, data: dict[str, Any], message: Message) -> None:
        key, run = self._start(data, message)
        try:
            await asyncio.sleep(run.seconds)
        except asyncio.CancelledError:
            self._note(What.CANCELLED, key, message)
            raise
        self._finish(key, run, message)

    def _start(self, data: dict[str, Any], message: Message, most: int = 0) -> tuple[Key, Run]:
        key = Key(data["group"], data["number"])
        self._note(What.START, key, message, most)
        return key, plan_run(self._orders.seed, key, message.receive_count)

    def _finish(self, key: Key, run: Run, message: Message) -> None:
        if run.outcome is Outcome.LATER:
            self._note(What.LATER, key, message)
            raise RetryLater(after=run.after)
        if run.outcome is Outcome.ERROR:
            self._note(What.ERROR, key, message)
            raise Flaky(f"{key}")
        if fails_for_good(self._orders.seed, key):
            self._note(What.FATAL, key, message)
            raise Reject(f"{key}")
        self._note(What.END, key, message)

    def _note(self, what: What, key: Key, message: Message, most: int = 0) -> None:
        queue, count, work = self._orders.queue, message.receive_count, work_of(message)
        self._ledger.note(what, queue=queue, key=key, message_id=message.id, receive_count=count, work=work, most=most)


def name_key(data: dict[str, Any]) -> str:
    """Return the idempotency key of a message: copies of it have the same one."""
    return f"{data['group']} {data['number']}"


def open_store(address: str) -> Store:
    """Return the store at the URL of DynamoDB, or in a file."""
    if address.startswith("http:"):
        return DynamoDbStore(TABLE, client=make_client(address, "dynamodb"))
    return SqliteStore(address)


def make_store(orders: Orders, ledger: Ledger) -> ObservedStore:
    sqlite._BUSY_TIMEOUT = orders.busy_timeout  # type: ignore[misc]
    store = MemoryStore() if orders.plant is Plant.FORGETS else open_store(orders.store)
    if orders.plant is Plant.IGNORES_OUTAGES:
        store_outages.MOST_TRIES = 1  # type: ignore[misc]
        store.check = lambda: None  # type: ignore[attr-defined]
    return ObservedStore(store, ledger, orders.queue, Path(orders.unwell))


def make_app(orders: Orders, ledger: Ledger) -> App:
    store = make_store(orders, ledger)
    app = App(
        orders.queue_url,
        client=make_client(orders.endpoint),
        concurrency=orders.concurrency,
        visibility_timeout=orders.visibility_timeout,
        wait_time_seconds=WAIT_TIME,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        retry_on=Flaky,
        backoff=exponential_backoff(first=0.3, longest=2.0),
        unmatched="keep",
        wire=orders.wire,
        progress=store,
    )
    store.count_received = lambda: app.metrics.snapshot().get("received", 0)
    hands = Hands(orders, ledger)
    app.on_data({"style": "sync"}, max_concurrency=orders.max_concurrency)(hands.handle)
    app.on_data({"style": "async"}, rate=orders.rate, idempotency_key=name_key)(hands.ahandle)
    return app


def main(text: str) -> int:
    said = json.loads(text)
    orders = Orders(**said | {"plant": Plant(said["plant"])})
    ledger = Ledger(Path(orders.ledger))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(relativeCreated)d %(levelname)s %(message)s")
    app = make_app(orders, ledger)
    # A signal may come before `run` listens to it, and after.
    signal.signal(signal.SIGTERM, lambda *_: app.stop())
    watch(ledger, threading.Event(), lambda: leave_orphaned(orders.parent))
    Path(orders.ready).touch()
    code = run(app, orders, ledger)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ledger.note(What.GONE, queue=orders.queue)
    # What its disk has not taken of the log is written as it exits.
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return code


def run(app: App, orders: Orders, ledger: Ledger) -> int:
    """Run *app* until it is asked to stop, and return the exit code."""
    try:
        if orders.beside_loop:
            asyncio.run(app.arun(signals=True))
        else:
            app.run()
    except ConfigurationError:
        logging.exception("it cannot start")
        ledger.note(What.REFUSED, queue=orders.queue, received=app.metrics.snapshot().get("received", 0))
        return CANNOT_START
    return 0


def leave_orphaned(parent: int) -> None:
    """Do not live on when the one who started this is gone."""
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
