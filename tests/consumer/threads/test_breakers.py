"""Circuit breakers and pauses with the consumer's threads, over the embedded queue."""

from __future__ import annotations

import threading
import time
from typing import Any

import boto3
import pytest

from megaflow import App, CircuitBreaker, Message
from megaflow.consumer.core.turns import Turns
from megaflow.local import Account
from megaflow.local.server import Server
from tests.consuming import Queues, run_until, running
from tests.guarantees import guarantee
from tests.waiting import PATIENCE, wait_until


class Database:
    """Is away until it comes back."""

    def __init__(self) -> None:
        self.is_there = threading.Event()
        self.calls: list[str] = []
        self.stored: dict[str, int] = {}
        self._lock = threading.Lock()

    def store(self, text: str, message: Message) -> None:
        with self._lock:
            self.calls.append(text)
        if not self.is_there.is_set():
            raise ConnectionError("the database is away")
        with self._lock:
            self.stored[text] = message.receive_count


def send(queues: Queues, count: int) -> None:
    for start in range(0, count, 10):
        entries = [{"Id": str(each), "MessageBody": f"{start + each}"} for each in range(min(10, count - start))]
        queues.sqs.send_message_batch(QueueUrl=queues.url, Entries=entries)


def make(database: Database, queues: Queues, **options: Any) -> App:
    app = queues.app(**{"backoff": lambda count: 0.1, "wait_time_seconds": 1, **options})
    app.on_text()(database.store)
    return app


@guarantee(
    "standard, FIFO",
    "what handlers need is away, with a `breaker=`",
    "waits in hand until a message gets through; what failed before it opened is kept",
    "once, each try not counted",
)
def test_an_outage_dead_letters_nothing_and_costs_a_message_one_delivery_at_most() -> None:
    database, queues = Database(), Queues(max_receive_count=3)
    send(queues, 300)
    app = make(database, queues, breaker=CircuitBreaker(failures=5, seconds=0.3))

    with running(app):
        wait_until(lambda: len(database.calls) > 15)
        assert app.health().ready
        assert app.health().open_breakers == ("the app",)
        database.is_there.set()
        wait_until(lambda: len(database.stored) == 300)

    assert max(database.stored.values()) <= 2
    assert queues.depth(queues.dead_letters) == (0, 0)
    assert queues.depth() == (0, 0)


@pytest.mark.long
def test_an_outage_of_18_seconds_over_http() -> None:
    database = Database()
    with Server(Account()) as server:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        queues = Queues(boto3.client("sqs", endpoint_url=server.url, **keys), max_receive_count=3)
        app = make(database, queues, client=None, endpoint_url=server.url, breaker=CircuitBreaker(seconds=5), **keys)
        send(queues, 100)
        with running(app):
            wait_until(lambda: app.health().open_breakers)
            threading.Timer(18.0, database.is_there.set).start()
            send(queues, 100)
            wait_until(database.is_there.is_set)
            send(queues, 100)
            wait_until(lambda: queues.depth() == (0, 0))

        assert max(database.stored.values()) <= 2
        assert queues.depth(queues.dead_letters) == (0, 0)


def test_receive_counts_do_not_rise_while_it_is_open() -> None:
    database, queues = Database(), Queues()
    send(queues, 50)
    app = make(database, queues, breaker=CircuitBreaker(failures=1, seconds=0.2), concurrency=1, prefetch=0)

    with running(app):
        wait_until(lambda: len(database.calls) >= 8)
        in_hand = app.health().in_hand

    assert in_hand <= 20
    assert sum(queues.depth()) == 50


def test_an_async_handler_tries_again_in_the_event_loop() -> None:
    database, queues, threads = Database(), Queues(), set[str]()
    send(queues, 1)
    app = queues.app(breaker=CircuitBreaker(failures=1, seconds=0.1))

    @app.on_text()
    async def store(text: str, message: Message) -> None:
        threads.add(threading.current_thread().name)
        if len(database.calls) == 3:
            database.is_there.set()
        database.store(text, message)

    run_until(app, database.is_there)

    assert database.stored == {"0": 1}
    assert threads == {"megaflow-async"}


def test_while_it_is_closed_no_message_is_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    queues, seen, in_line = Queues(), list[str](), list[object]()
    monkeypatch.setattr(Turns, "line_up", lambda self, turn, now, *, stopping: in_line.append(turn))
    app = queues.app(breaker=CircuitBreaker())

    @app.on_text()
    async def first(text: str) -> None:
        seen.append(text)

    @app.on_text()
    async def second(text: str) -> None:
        seen.append(text)

    app.on_text()(seen.append)
    send(queues, 30)

    with running(app):
        wait_until(lambda: len(seen) == 90)

    assert in_line == []
    assert queues.depth() == (0, 0)


def test_a_stop_does_not_wait_for_what_is_away() -> None:
    database, queues = Database(), Queues()
    send(queues, 5)
    app = make(database, queues, breaker=CircuitBreaker(failures=1, seconds=20), shutdown_timeout=3_000)

    with running(app):
        wait_until(lambda: app.health().open_breakers)

    assert sum(queues.depth()) == 5


# Pauses


def test_a_paused_app_receives_nothing_until_it_is_resumed() -> None:
    database, queues = Database(), Queues()
    database.is_there.set()
    app = make(database, queues, wait_time_seconds=20)

    with running(app):
        wait_until(lambda: app.health().ready)
        app.pause()
        wait_until(lambda: "it is paused" in app.health().problems)
        send(queues, 3)
        # The poll that was under way brings them, and they are given back.
        wait_until(lambda: queues.depth() == (3, 0) and app.health().heard_ago == ())
        assert database.calls == []
        app.resume()
        wait_until(lambda: len(database.stored) == 3)


def test_what_is_in_hand_is_handled_while_it_is_paused() -> None:
    queues, begun, go_on = Queues(), threading.Event(), threading.Event()
    app = queues.app()

    @app.on_text()
    def wait(text: str) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    send(queues, 1)
    with running(app):
        assert begun.wait(PATIENCE)
        app.pause()
        app.pause()
        wait_until(lambda: app.health().paused)
        go_on.set()
        wait_until(lambda: queues.depth() == (0, 0))
        assert app.health().paused


def test_an_app_that_was_paused_before_it_runs_begins_paused_and_can_be_stopped() -> None:
    database, queues = Database(), Queues()
    database.is_there.set()
    app = make(database, queues)
    send(queues, 1)
    app.pause()

    with running(app):
        wait_until(lambda: app.health().paused)
        assert app.health().heard_ago == ()
    assert database.calls == []
    app.resume()
    with running(app):
        wait_until(lambda: database.stored == {"0": 1})


def test_a_pause_is_heard_from_within_a_handler() -> None:
    # More than are handled until another thread comes to its turn.
    queues, seen, sent = Queues(), list[str](), 200
    app = queues.app(concurrency=1, max_number_of_messages=1)

    @app.on_text()
    def pause(text: str) -> None:
        seen.append(text)
        app.pause()

    send(queues, sent)
    with running(app):
        wait_until(lambda: "it is paused" in app.health().problems and app.health().in_hand == 0)
        count = len(seen)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 0.2)

        assert len(seen) == count < sent
