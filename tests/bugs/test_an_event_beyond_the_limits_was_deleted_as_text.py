"""A MEGA event nested too deeply, or with too long a number, came in some way and was deleted as unmatched text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from megaflow import App, Message, SqsPublisher
from megaflow.local import Account, SqsClient
from megaflow.messages.message import open_message
from megaflow.processing.verdict import Fate
from megaflow.stores import MemoryStore
from megaflow.testing import TestClient
from tests.cli.conftest import Run, _alone, orders, run, server, sqs
from tests.documents import as_body, document, element, text

__all__ = ["_alone", "orders", "run", "server", "sqs"]

PROBLEM = "a MEGA event that is read as text only: it "
EVENT = '{"protocol": "mega", "version": 1, "event": {"name": "paid", "timestamp": "2026-11-29T00:00:00", "a": %s}}'
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"


def deep_bson() -> str:
    inner = document()
    for _ in range(100):
        inner = document(element(0x03, "a", inner))
    return as_body(
        document(text("protocol", "mega"), element(0x10, "version", b"\1\0\0\0"), element(0x03, "event", inner))
    )


def envelope(message: str, **more: Any) -> str:
    said = {"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:us-east-1:123456789012:t"}
    return json.dumps(said | {"Timestamp": "2026-11-29T00:00:00Z", "Message": message} | more)


LISTS = "[" * 100 + "]" * 100
EXCESSIVE = {
    "deep objects": EVENT % ('{"a":' * 100 + "1" + "}" * 100),
    "deep lists": EVENT % LISTS,
    "long number": EVENT % ("9" * 4_301),
    "without spaces": (EVENT % ("9" * 4_301)).replace(" ", ""),
    "deep BSON": deep_bson(),
}
AROUND: dict[str, Callable[[str], str]] = {
    "as it is": lambda body: body,
    "in an envelope": envelope,
    "in an envelope in an envelope": lambda body: envelope(envelope(body)),
    "in an envelope that is too deep itself": lambda body: envelope(body, More="[]").replace(
        '"[]"', "[" * 100 + "]" * 100
    ),
}


def make_app(url: str = URL, **options: Any) -> App:
    app = App(url, **options)

    @app.on_event(name="paid")
    def take(payload: object) -> None: ...

    @app.on_data({"kind": "stop"})
    def stop(payload: dict[str, Any]) -> None:
        app.stop()

    return app


def by_process(body: str) -> bool:
    return make_app().process(body).fate is Fate.DEAD_LETTER


def by_aprocess(body: str) -> bool:
    return asyncio.run(make_app(progress=MemoryStore()).aprocess(body)).fate is Fate.DEAD_LETTER


def by_test_client(body: str) -> bool:
    with TestClient(make_app()) as client:
        client.publish_raw_message(body)
        return [each.body for each in client.dead_lettered] == [body]


def by_consumer(body: str) -> bool:
    sqs = SqsClient(Account())
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    for each in (body, '{"kind": "stop"}'):
        SqsPublisher(queue_url=url, client=sqs).publish_raw_message(each)
    make_app(url, client=sqs, dead_letter_queue_url=dead, wait_time_seconds=1).run()
    return [each["Body"] for each in sqs.receive_message(QueueUrl=dead)["Messages"]] == [body]


def by_lambda(body: str) -> bool:
    sqs = SqsClient(Account())
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    record = {
        "messageId": "m",
        "receiptHandle": "r",
        "body": body,
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:orders",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    answer = make_app(client=sqs, dead_letter_queue_url=dead).lambda_handler()({"Records": [record]})
    bodies = [each["Body"] for each in sqs.receive_message(QueueUrl=dead)["Messages"]]
    return answer == {"batchItemFailures": []} and bodies == [body]


WAYS_IN = [by_process, by_aprocess, by_test_client, by_consumer, by_lambda]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("excess", EXCESSIVE)
def test_it_is_text_with_a_problem(excess: str, around: str) -> None:
    body = AROUND[around](EXCESSIVE[excess])

    message = open_message(body)

    # Of BSON in an envelope that cannot be opened nobody can tell what it claims.
    if (excess, around) != ("deep BSON", "in an envelope that is too deep itself"):
        assert message.problem.startswith(PROBLEM)


@pytest.mark.parametrize("excess", EXCESSIVE)
@pytest.mark.parametrize("around", ["as it is", "in an envelope"])
@pytest.mark.parametrize("handle", WAYS_IN)
def test_where_nobody_matches_it_is_dead_lettered(handle: Callable[[str], bool], around: str, excess: str) -> None:
    assert handle(AROUND[around](EXCESSIVE[excess]))


def test_a_handler_of_every_message_sees_the_problem() -> None:
    app = App(URL)
    seen: list[str] = []

    @app.on_message()
    def look(message: Message) -> None:
        seen.append(message.problem)

    app.process(EXCESSIVE["long number"])

    assert seen[0].startswith(PROBLEM)


@pytest.mark.parametrize("around", ["as it is", "in an envelope"])
@pytest.mark.parametrize("excess", EXCESSIVE)
def test_the_command_line_says_so(run: Run, sqs: Any, orders: str, excess: str, around: str) -> None:
    body = AROUND[around](EXCESSIVE[excess])
    sqs.send_message(QueueUrl=orders, MessageBody=body)

    assert f"  {PROBLEM}" in run("peek", "orders").out
    assert run("peek", "orders", "--json").json[0]["problem"].startswith(PROBLEM)


@pytest.mark.parametrize("excess", EXCESSIVE)
def test_a_publisher_from_the_command_line_is_told(run: Run, orders: str, tmp_path: Any, excess: str) -> None:
    (tmp_path / "event.json").write_text(EXCESSIVE[excess])

    ran = run("publish", "event.json", "--queue", "orders")

    assert ran.code == 0
    assert f"it is {PROBLEM}" in ran.err
