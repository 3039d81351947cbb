"""Limits of handlers, with the consumer's threads: what runs at once, and what does not wait for it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.consuming import Queues, running
from tests.waiting import EARLY, PATIENCE, wait_until


class Calls:
    """Calls under way of a handler that waits until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.most = self.running = self.ended = 0
        self._lock = threading.Lock()

    def handle(self, text: str) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go_on.wait(PATIENCE)
        with self._lock:
            self.running -= 1
            self.ended += 1


@pytest.fixture
def queues() -> Queues:
    return Queues()


def send(queues: Queues, *texts: str) -> None:
    for text in texts:
        queues.sqs.send_message(QueueUrl=queues.url, MessageBody=text)


def test_so_many_calls_run_at_once_and_others_are_not_held_up(queues: Queues) -> None:
    app, calls, others = queues.app(concurrency=4), Calls(), list[str]()
    app.on_text(lambda text: text == "slow", max_concurrency=2)(calls.handle)
    app.on_text(lambda text: text != "slow")(others.append)
    send(queues, *["slow"] * 30, *map(str, range(10)))

    with running(app):
        wait_until(lambda: len(others) == 10 and calls.running == 2)
        threads = [each for each in threading.enumerate() if each.name == "megaflow-worker"]
        assert len(threads) <= 4
        calls.go_on.set()
        wait_until(lambda: calls.ended == 30)

    assert calls.most == 2
    assert queues.depth() == (0, 0)


def test_an_async_handler_has_its_turn_in_the_event_loop(queues: Queues) -> None:
    app, seen = queues.app(concurrency=4), list[str]()

    @app.on_text(max_concurrency=1)
    async def handle(text: str) -> None:
        seen.append(f"{text} in {threading.current_thread().name}")

    send(queues, *"abc")

    with running(app):
        wait_until(lambda: len(seen) == 3)

    assert sorted(seen) == [f"{text} in megaflow-async" for text in "abc"]


def test_a_rate_is_kept(queues: Queues) -> None:
    app, began = queues.app(), list[float]()
    app.on_text(rate="5/s")(lambda text: began.append(time.monotonic()))
    send(queues, *map(str, range(11)))
    before = time.monotonic()

    with running(app):
        wait_until(lambda: len(began) == 11)

    # A thread may be late, the first as well, and is never early.
    assert began[10] - before >= 1.9
    assert began[4] - began[0] < EARLY


def test_what_is_in_line_at_the_end_is_given_back(queues: Queues) -> None:
    app, seen = queues.app(), list[Any]()
    app.on_text(rate="1/h")(seen.append)
    send(queues, *map(str, range(5)))

    with running(app):
        wait_until(lambda: len(seen) == 1 and app.health().in_line == app.health().in_hand == 4)

    wait_until(lambda: queues.depth() == (4, 0))


def test_an_app_that_runs_again_begins_with_a_full_bucket(queues: Queues) -> None:
    app, seen = queues.app(), list[str]()
    app.on_text(rate="1/h")(seen.append)
    for text in "ab":
        send(queues, text)
        with running(app):
            wait_until(lambda: seen[-1:] == [text])  # noqa: B023 - asked at once
