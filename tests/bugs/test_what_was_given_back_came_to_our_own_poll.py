"""A poll that nobody waited for any more took what was given back, or sent next, and raised its receive count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from megaflow import App
from megaflow.local.server import Server
from tests.consuming import Queues
from tests.unmocked import making_unmocked
from tests.waiting import EARLY, PATIENCE, wait_until

AWS: Any = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}


class Shop:
    """An app on the embedded queue behind HTTP, whose handler does not return before a test says so."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.queues = Queues(boto3.client("sqs", endpoint_url=server.url, **AWS))
        self.app = App(self.queues.url, endpoint_url=server.url, concurrency=2, retry_on=(), **AWS)
        self.begun, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.app.run)

        @self.app.on_text()
        def handle(text: str) -> None:
            self.begun.set()
            assert self.go.wait(PATIENCE)

    def polls(self) -> int:
        return len(self.server.account.polls)

    def end(self) -> None:
        self.go.set()
        self.app.stop(now=True)
        self.thread.join(PATIENCE)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Server() as server, making_unmocked():
        shop = Shop(server)
        yield shop
        shop.end()


def begin(shop: Shop) -> None:
    """Let a handler be at work on a message, with the next poll under way."""
    shop.app.publish("a")
    shop.thread.start()
    assert shop.begun.wait(PATIENCE)
    wait_until(shop.polls)


def test_a_second_signal_raises_the_receive_count_by_nothing_of_ours(shop: Shop) -> None:
    begin(shop)
    shop.app.stop()

    shop.app.stop(now=True)
    shop.thread.join(PATIENCE)

    assert shop.queues.receive_counts() == [2]


def test_both_signals_at_once_raise_it_by_nothing_of_ours_either(shop: Shop) -> None:
    begin(shop)

    shop.app.stop(now=True)
    shop.thread.join(PATIENCE)

    assert shop.queues.receive_counts() == [2]


def test_no_poll_is_open_while_the_last_handlers_finish(shop: Shop) -> None:
    begin(shop)
    stopped_at = time.monotonic()
    shop.app.stop()
    wait_until(lambda: not shop.polls())
    assert time.monotonic() < stopped_at + EARLY

    shop.queues.sqs.send_message(QueueUrl=shop.queues.url, MessageBody="for the next one")

    assert shop.queues.receive_counts() == [1]


def test_what_is_sent_after_the_end_is_for_others(shop: Shop) -> None:
    shop.thread.start()
    wait_until(shop.polls)
    shop.app.stop()
    shop.thread.join(PATIENCE)

    shop.queues.sqs.send_message(QueueUrl=shop.queues.url, MessageBody="for the next one")

    assert shop.queues.receive_counts() == [1]


def test_what_comes_when_the_poll_is_given_up_is_given_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from megaflow.wire.connections import SentRequest

    def answer_first(sent: SentRequest) -> None:
        """Let a message come to the poll in the moment in which it is abandoned."""
        shop.queues.sqs.send_message(QueueUrl=shop.queues.url, MessageBody="just now")
        abandon(sent)

    abandon: Any = SentRequest.abandon
    shop.thread.start()
    wait_until(shop.polls)
    monkeypatch.setattr(SentRequest, "abandon", answer_first)

    shop.app.stop()
    shop.thread.join(PATIENCE)

    # Where the machine is busy, that comes after the end of the run.
    wait_until(lambda: shop.queues.depth() == (1, 0))
