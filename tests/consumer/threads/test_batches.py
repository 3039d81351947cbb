"""Batches on the consumer's threads: who calls them, what fails in the midst of one, and what is left at the end."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import boto3
import pytest

from megaflow import Claim, Ended, MemoryStore, Message, Outgoing
from megaflow.app import parts_of
from megaflow.local import Account
from megaflow.local.server import Server
from megaflow.processing.spans import Given
from megaflow.processing.steps import Steps, Turn
from tests.consuming import Queues, running
from tests.telemetry.spans import recording
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def queues() -> Queues:
    return Queues()


def test_a_batch_is_received_called_and_deleted_over_http() -> None:
    with Server(Account()) as server:
        client = boto3.client(
            "sqs",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        queues = Queues(client)
        app, sizes = queues.app(), []

        @app.on_data(batch_size=25, batch_seconds=0.5)
        def store(rows: list[dict[str, int]]) -> None:
            sizes.append(len({row["n"] for row in rows}))

        app.publish_batch([{"n": n} for n in range(60)])
        with running(app):
            wait_until(lambda: sum(sizes) == 60 and queues.depth() == (0, 0))

    assert sizes == [25, 25, 10]


def test_what_waits_for_a_batch_keeps_nobody_from_being_handled(queues: Queues) -> None:
    app, plain = queues.app(concurrency=1), threading.Event()
    app.on_text("batched", batch_size=100, batch_seconds=3_600)(lambda texts: None)
    app.on_text("plain")(lambda text: plain.set())
    app.publish_batch(["batched"] * 20)

    with running(app):
        wait_until(lambda: app.health().in_hand == 20 and app.health().running == 0)
        app.publish("plain")

        assert plain.wait(PATIENCE)

    assert queues.depth() == (0, 0)


def test_a_stop_calls_what_waits_and_waits_for_it(queues: Queues) -> None:
    app, got = queues.app(), []
    app.on_text(batch_size=100, batch_seconds=3_600)(lambda texts: got.append(len(texts)))
    app.publish_batch(["a", "b", "c"])

    with running(app):
        wait_until(lambda: app.health().in_hand == 3 and app.health().running == 0)
        assert got == []

    assert got == [3]
    assert queues.depth() == (0, 0)


def test_an_async_batch_handler_runs_in_the_event_loop_and_goes_on_from_there(queues: Queues) -> None:
    app, got = queues.app(progress=MemoryStore()), []

    @app.on_text(batch_size=3, idempotency_key=lambda text: text)
    async def store(texts: list[str]) -> None:
        await asyncio.sleep(0)
        got.append((sorted(texts), threading.current_thread().name))

    app.publish_batch(["a", "b", "c"])
    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert got == [(["a", "b", "c"], "megaflow-async")]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_batch_that_hangs_is_given_up_and_comes_again(queues: Queues, is_async: bool) -> None:
    app, release, got = queues.app(backoff=lambda count: 0.0, concurrency=2), threading.Event(), []

    def note(messages: list[Message]) -> bool:
        got.append(sorted(message.receive_count for message in messages))
        return messages[0].receive_count == 1

    def store(messages: list[Message]) -> None:
        if note(messages):
            release.wait(PATIENCE)

    async def astore(messages: list[Message]) -> None:
        if note(messages):
            await asyncio.Event().wait()

    app.on_text(batch_size=2, batch_seconds=0.2, timeout=0.3)(astore if is_async else store)
    app.publish_batch(["a", "b"])
    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))
        release.set()

    assert got[0] == [1, 1]
    assert sum(map(len, got[1:])) == 2


def test_what_a_handler_before_has_set_is_there_in_none_but_its_own_message(queues: Queues) -> None:
    app, variable, found = queues.app(), ContextVar("variable", default="nothing"), []

    @app.on_text()
    def check(text: str) -> None:
        variable.set(text)

    @app.on_text(batch_size=2)
    def store(texts: list[str]) -> None:
        found.append(variable.get())

    app.publish_batch(["a", "b"])
    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert found == ["nothing"]


class Outage(MemoryStore):
    """A store that is out for a while, from a certain call on."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self.failures = 3
        self.counts: dict[str, int] = {}

    def _count(self, method: str) -> None:
        self.counts[method] = self.counts.get(method, 0) + 1
        if method == self.method and self.failures:
            self.failures -= 1
            raise ConnectionError("out")

    def save(self, work: str, handler: str, ended: Ended) -> None:
        if handler:
            self._count("save")
        super().save(work, handler, ended)

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        self._count("claim")
        return super().claim(key, owner, seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        self._count("complete")
        super().complete(key, owner, seconds)

    def check(self) -> None: ...


@pytest.mark.parametrize("method", ["claim", "complete", "save"])
def test_where_a_store_fails_in_the_midst_of_a_batch_that_call_alone_is_made_again(queues: Queues, method: str) -> None:
    store, got = Outage(method), []
    app = queues.app(progress=store, backoff=lambda count: 60.0)

    @app.on_text(batch_size=3, idempotency_key=lambda text: text)
    def keep(texts: list[str], messages: list[Message]) -> None:
        got.append([message.receive_count for message in messages])

    app.publish_batch(["a", "b", "c"])
    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert got == [[1, 1, 1]]
    assert store.failures == 0


def test_a_batch_that_exits_ends_the_consumer_and_its_messages_come_again(queues: Queues) -> None:
    app = queues.app(backoff=lambda count: 0.0)

    @app.on_text(batch_size=2)
    def leave(texts: list[str]) -> None:
        raise SystemExit(3)

    app.publish_batch(["a", "b"])
    with pytest.raises(SystemExit):
        app.run()

    wait_until(lambda: queues.depth() == (2, 0))


def test_the_spans_of_messages_end_whose_batch_cannot_be_run(queues: Queues) -> None:
    app = queues.app(backoff=lambda count: 600.0)
    app.on_text(batch_size=2)(lambda texts: None)

    def break_down() -> Given:
        yield Turn(None)
        raise MemoryError

    parts_of(app).processor.batch_steps = lambda batch, handler, several: Steps(break_down())  # type: ignore
    app.publish_batch(["a", "b"])
    with recording() as spans, running(app):
        wait_until(lambda: len(spans.named("process")) == 2)

    assert queues.depth() == (0, 2)


def test_leases_of_what_waits_and_of_what_is_called_are_extended() -> None:
    queues = Queues()
    app, release = queues.app(visibility_timeout=1), threading.Event()
    got: list[object] = []

    @app.on_text(batch_size=2, batch_seconds=3_600)
    def store(texts: list[str], messages: list[Message]) -> None:
        release.wait(PATIENCE)
        got.extend(message.lease is not None and not message.lease.lost for message in messages)

    app.publish("a")
    with running(app):
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 1.5 and app.health().in_hand == 1)
        app.publish("b")
        wait_until(lambda: time.monotonic() > began + 3.0 and app.health().running == 1)
        release.set()
        wait_until(lambda: queues.depth() == (0, 0))

    assert got == [True, True]
    assert app.metrics.snapshot().get("lost_leases", 0) == 0


def test_on_fifo_what_is_dropped_leaves_nothing_behind() -> None:
    queues = Queues(fifo=True)
    app = queues.app(retry_on=ConnectionError, backoff=lambda count: 0.0)
    got: list[object] = []

    @app.on_text(batch_size=2, batch_seconds=0.1)
    def store(messages: list[Message]) -> None:
        got.extend(message.payload for message in messages)
        if messages[0].receive_count == 1 and messages[0].payload == "0":
            raise ConnectionError

    app.publish_batch([Outgoing(str(n), group_id="g", deduplication_id=str(n)) for n in range(5)])
    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert got == ["0", "1", "0", "1", "2", "3", "4"]
