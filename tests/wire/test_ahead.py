"""What is sent before the answer to what was sent before: polls, deletes, batches."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from megaflow import SqsPublisher
from megaflow.local.server import Server
from megaflow.match.functions import not_
from megaflow.transport.queue import OpenQueue
from megaflow.wire.client import WireClient
from tests.consuming import Queues, running
from tests.unmocked import unmocked
from tests.waiting import PATIENCE, wait_until
from tests.wire.scripted import QUEUE_URL, Scripted, answer, hang_up, scripted

RECEIVED = answer(json.dumps({"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "b"}]}).encode())


def wire(server: Scripted, *, attempts: int = 2) -> WireClient:
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"})
    return WireClient(server.client(config=config), sleep=lambda seconds: None)


def meeting(count: int, said: bytes) -> Callable[[socket.socket], None]:
    """Return what answers only when so many requests have come."""
    barrier = threading.Barrier(count)

    def meet(connection: socket.socket) -> None:
        barrier.wait(PATIENCE)
        connection.sendall(said)

    return meet


def test_several_calls_of_one_thread_are_under_way_before_one_is_answered() -> None:
    with scripted(*[meeting(3, answer())] * 3) as server:
        client = wire(server)

        pending = [client.begin("receive_message", QueueUrl=QUEUE_URL) for _ in range(3)]
        answered = [each.result()["ResponseMetadata"]["HTTPStatusCode"] for each in reversed(pending)]

    assert answered == [200, 200, 200]
    assert {request.connection for request in server.requests} == {1, 2, 3}


def test_a_call_knows_whether_its_answer_is_there() -> None:
    may_answer = threading.Event()

    def answer_later(connection: socket.socket) -> None:
        may_answer.wait(PATIENCE)
        connection.sendall(RECEIVED)

    with scripted(answer(), answer_later) as server:
        client = wire(server)
        client.receive_message(QueueUrl=QUEUE_URL)
        pending = client.begin("receive_message", QueueUrl=QUEUE_URL)

        wait_until(lambda: len(server.requests) == 2)
        assert not pending.is_answered
        may_answer.set()
        wait_until(lambda: pending.is_answered)

        assert pending.result()["Messages"][0]["MessageId"] == "m"


def test_what_comes_first_over_a_connection_may_be_no_answer() -> None:
    # TLS says something of its own there, and to wait for more could take as long as a poll.
    sent = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.sendall(RECEIVED)
        sent.set()

    with scripted(speak) as server:
        pending = wire(server).begin("receive_message", QueueUrl=QUEUE_URL)
        assert sent.wait(PATIENCE)

        assert not pending.is_answered
        assert pending.result()["Messages"]


def test_a_call_that_began_on_a_closed_connection_is_made_again() -> None:
    with scripted(answer(), hang_up, RECEIVED) as server:
        client = wire(server)
        client.receive_message(QueueUrl=QUEUE_URL)

        pending = client.begin("receive_message", QueueUrl=QUEUE_URL)

        assert pending.result()["Messages"]
    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_a_client_that_is_closed_answers_for_what_is_under_way() -> None:
    with scripted(answer(), lambda connection: None) as server:
        client = wire(server, attempts=1)
        client.receive_message(QueueUrl=QUEUE_URL)
        pending = client.begin("receive_message", QueueUrl=QUEUE_URL)

        client.close()

        assert pending.is_answered
        with pytest.raises(BotoCoreError):
            pending.result()


def test_a_call_under_way_is_tried_again_like_any_other() -> None:
    with scripted(answer(status="503 Slow Down"), RECEIVED) as server:
        answered = wire(server).begin("receive_message", QueueUrl=QUEUE_URL).result()

    assert answered["ResponseMetadata"]["RetryAttempts"] == 1


def test_a_lease_counts_from_the_request_where_the_answer_may_have_come_long_ago() -> None:
    now = 100.0
    with scripted(answer(), RECEIVED) as server:
        queue = OpenQueue(wire(server), QUEUE_URL, clock=lambda: now)
        queue.receive(10, wait_time_seconds=0, visibility_timeout=30)
        pending = queue.begin_receive(10, wait_time_seconds=0, visibility_timeout=30)
        wait_until(lambda: pending.is_answered)

        now = 125.0
        (message,) = pending.result()

    assert message.lease is not None
    assert (message.lease.received_at, message.lease.expires_at) == (100.0, 130.0)


@pytest.fixture
def queues() -> Iterator[Queues]:
    """Queues behind HTTP, with real boto3, and so with the wire."""
    with Server() as server:
        client = boto3.client(
            "sqs", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="a"
        )
        yield Queues(unmocked(client))


QUICK = 200
"""Messages after which handlers are known to be quick, and pollers handle what they bring."""


@pytest.mark.parametrize("place", [0, 5, 9])
def test_a_poll_under_way_goes_to_another_thread_where_a_handler_blocks(queues: Queues, place: int) -> None:
    app, release = queues.app(concurrency=2), threading.Event()
    handled: list[str] = []

    @app.on_text("block")
    def block(text: str) -> None:
        release.wait(PATIENCE)

    app.on_text(not_("block"))(handled.append)
    app.publish_batch(f"before {number}" for number in range(QUICK))

    with running(app):
        wait_until(lambda: len(handled) == QUICK)
        app.publish_batch("block" if number == place else f"after {number}" for number in range(31))
        wait_until(lambda: len(handled) == QUICK + 30)
        app.publish_batch(f"later {number}" for number in range(30))
        wait_until(lambda: len(handled) == QUICK + 60)
        release.set()

    assert queues.depth() == (0, 0)


def test_what_is_deleted_is_known_to_be_before_the_end(queues: Queues) -> None:
    app, done = queues.app(), threading.Event()
    handled: list[str] = []

    @app.on_text()
    def note(text: str) -> None:
        handled.append(text)
        if len(handled) == QUICK:
            done.set()

    app.publish_batch(f"{number}" for number in range(QUICK))

    with running(app):
        assert done.wait(PATIENCE)

    assert app.metrics.snapshot()["deleted"] == QUICK
    assert queues.depth() == (0, 0)


def sent(count: int) -> bytes:
    successful = [{"Id": str(place), "MessageId": f"m{place}", "MD5OfMessageBody": "0" * 32} for place in range(count)]
    return answer(json.dumps({"Successful": successful, "Failed": []}).encode())


def test_one_thread_keeps_eight_batches_under_way() -> None:
    before = threading.active_count()
    counted: list[int] = []

    def give() -> Iterator[str]:
        for number in range(80):
            counted.append(threading.active_count())
            yield f"{number}"

    with scripted(*[meeting(8, sent(10))] * 8) as server:
        publisher = SqsPublisher(queue_url=QUEUE_URL, client=wire(server))
        ids = [each.message_id for each in publisher.publish_stream(give())]

    assert len(ids) == 80
    assert len(server.requests) == 8
    # One accepts connections for the server, and there is one for each of them.
    assert max(counted) <= before + 1 + 8


def test_who_stops_listening_leaves_no_answer_behind() -> None:
    with scripted(*[sent(10)] * 9) as server:
        publisher = SqsPublisher(queue_url=QUEUE_URL, client=wire(server))
        stream = publisher.publish_stream(f"{number}" for number in range(80))
        next(stream)
        stream.close()  # type: ignore[attr-defined]

        publisher.publish_batch(f"{number}" for number in range(10))

    assert len(server.requests) == 9
    assert server.requests[-1].connection <= 8, "the connections are free again"
