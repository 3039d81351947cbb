"""Large payloads shared with AWS's extended clients for SQS and SNS, both ways; each client in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from megaflow import App, Message, PayloadBuilder, SnsPublisher, SqsPublisher
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.local import SnsClient, SqsClient
from megaflow.local.server import Server
from tests.buckets import Bucket, make_bucket
from tests.consuming import running as consuming
from tests.foreign.clients import DRIVERS, Caller, Driven, running
from tests.foreign.environments import EXTENDED
from tests.waiting import wait_until

LARGE = "ü" * SQS_MESSAGE_SIZE
EVENT = PayloadBuilder().with_event(domain="cart", name="added", text=LARGE).build()

Connect = Callable[..., Caller]


@pytest.fixture
def bucket(moto_url: str) -> Bucket:
    return make_bucket(moto_url)


@pytest.fixture
def connect(server: Server, bucket: Bucket) -> Iterator[Connect]:
    """Start the extended client of a service."""
    python = EXTENDED.program("python")
    with ExitStack() as exits:

        def connect(service: str, how: str = "") -> Caller:
            driver = str(DRIVERS / "extended.py")
            process = running([python, driver, service, str(bucket.aws["endpoint_url"]), bucket.name, how])
            return Caller(Driven(exits.enter_context(process)), f"extended {service}", server.url)

        yield connect


@pytest.fixture
def sqs(server: Server) -> SqsClient:
    return SqsClient(server.account)


@pytest.fixture
def url(sqs: SqsClient) -> str:
    return str(sqs.create_queue(QueueName="q")["QueueUrl"])


def subscribe(server: Server, sqs: SqsClient, url: str, raw: str) -> str:
    """Return the ARN of a topic that the queue is subscribed to."""
    sns = SnsClient(server.account)
    topic = str(sns.create_topic(Name="t")["TopicArn"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": raw})
    return topic


def handle_one(app: App) -> Message:
    got: list[Message] = []
    app.on_message()(got.append)
    with consuming(app):
        wait_until(lambda: got and app.metrics.snapshot()["deleted"])
    return got[0]


@pytest.mark.parametrize("how", ["", "legacy"])
def test_what_the_client_of_sqs_sends_is_handled(
    connect: Connect, bucket: Bucket, sqs: SqsClient, url: str, how: str
) -> None:
    body = json.dumps({"n": 1, "x": LARGE}, ensure_ascii=False)
    tenant = {"tenant": {"DataType": "String", "StringValue": "acme"}}
    connect("sqs", how).sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageAttributes=tenant)
    app = App(url, client=sqs, large_payloads=bucket.payloads(delete="when-done"))

    message = handle_one(app)

    assert message.payload == {"n": 1, "x": LARGE}
    assert message.attributes == {"tenant": "acme"}
    assert message.pointer is not None
    assert bucket.keys() == []


def test_so_is_what_it_sends_in_a_batch(connect: Connect, bucket: Bucket, sqs: SqsClient, url: str) -> None:
    entries = [{"Id": str(number), "MessageBody": json.dumps({"n": number, "x": LARGE})} for number in range(3)]
    connect("sqs").sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
    app, got = App(url, client=sqs, large_payloads=bucket.payloads()), list[int]()
    app.on_data()(lambda data: got.append(data["n"]))

    with consuming(app):
        wait_until(lambda: len(got) == 3)

    assert sorted(got) == [0, 1, 2]


@pytest.mark.parametrize("raw", ["true", "false"])
@pytest.mark.parametrize("how", ["", "legacy"])
def test_what_the_client_of_sns_publishes_is_handled(
    connect: Connect, server: Server, bucket: Bucket, sqs: SqsClient, url: str, raw: str, how: str
) -> None:
    topic = subscribe(server, sqs, url, raw)
    connect("sns", how).sns("Publish", TopicArn=topic, Message=json.dumps({"n": 1, "x": LARGE}), MessageAttributes={})
    app = App(url, client=sqs, large_payloads=bucket.payloads())

    message = handle_one(app)

    assert message.payload == {"n": 1, "x": LARGE}
    assert message.attributes == {}
    assert (message.sns is None) is (raw == "true")


@pytest.mark.parametrize("prefix", ["", "orders/"])
@pytest.mark.parametrize("binary_encoding", [False, True])
def test_the_client_of_sqs_gets_what_is_published(
    connect: Connect, bucket: Bucket, sqs: SqsClient, url: str, prefix: str, binary_encoding: bool
) -> None:
    publisher = SqsPublisher(queue_url=url, client=sqs, large_payloads=bucket.payloads(prefix=prefix))
    publisher.publish(EVENT, binary_encoding=binary_encoding, attributes={"tenant": "acme"})
    client = connect("sqs")

    (received,) = client.sqs("ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])["Messages"]

    assert App().process(received["Body"]).message.payload == EVENT
    assert received["MessageAttributes"].keys() == {"tenant"}


def test_and_all_of_a_batch(connect: Connect, bucket: Bucket, sqs: SqsClient, url: str) -> None:
    publisher = SqsPublisher(queue_url=url, client=sqs, large_payloads=bucket.payloads())
    publisher.publish_batch([{"n": number, "x": LARGE if number % 2 else ""} for number in range(4)])

    answer: Any = connect("sqs").sqs("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)

    assert sorted(json.loads(each["Body"])["n"] for each in answer["Messages"]) == [0, 1, 2, 3]


def test_it_gets_what_is_published_to_a_topic_too(
    connect: Connect, server: Server, bucket: Bucket, sqs: SqsClient, url: str
) -> None:
    topic = subscribe(server, sqs, url, "true")
    publisher = SnsPublisher(
        topic_arn=topic, client=SnsClient(server.account), large_payloads=bucket.payloads(prefix="t/")
    )
    publisher.publish({"x": LARGE})

    (received,) = connect("sqs").sqs("ReceiveMessage", QueueUrl=url)["Messages"]

    assert json.loads(received["Body"]) == {"x": LARGE}
