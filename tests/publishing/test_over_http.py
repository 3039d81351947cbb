"""Publishing by real boto3 over HTTP to moto's server, and reading it back: straight, and by way of a topic."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeAlias
from uuid import uuid4

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from megaflow import Kind, Message, Outgoing, PayloadBuilder, PublishError, SnsPublisher, SqsPublisher
from megaflow.errors import EncodeError
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.messages.attributes import Attribute, AttributeInput
from megaflow.messages.origin import ORIGIN_ATTRIBUTE
from megaflow.transport.queue import OpenQueue, QueueFacts
from megaflow.transport.session import AwsOptions
from tests.unmocked import unmocked

Publisher: TypeAlias = SqsPublisher | SnsPublisher

EVENT = (
    PayloadBuilder()
    .with_event(domain="cart", name="item.added", timestamp="2020-05-04T15:53:23.123+02:00", quantity=5, price="19.99")
    .with_object(type="cart", id="18a3", current={"items": [{"id": 1}, {"id": None}]}, previous={"items": []})
    .with_extra(channel="web/desktop")
    .build()
)
DATA = {"user": {"id": 987650, "email": "jöhn@example.com"}, "tags": ["a", 1, 1.5, True, None, {}], "big": 2**53}
ENVELOPE_TO_LOOK_AT = {
    "Type": "Notification",
    "MessageId": "m",
    "TopicArn": "arn",
    "Timestamp": "2020-05-04T15:53:23.123Z",
    "Message": "not really",
}


@dataclass
class Place:
    """An AWS of our own: how to reach it, and what stands in it."""

    options: AwsOptions

    @cached_property
    def sqs(self) -> Any:
        return unmocked(boto3.client("sqs", **self.options))

    @cached_property
    def sns(self) -> Any:
        return boto3.client("sns", **self.options)

    def create_queue(self, suffix: str = "", **attributes: str) -> str:
        name = f"http-{uuid4()}{suffix}"
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def read_arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def create_topic(self, queue_url: str, *, raw: bool, suffix: str = "", **attributes: str) -> str:
        arn = str(self.sns.create_topic(Name=f"http-{uuid4()}{suffix}", Attributes=attributes)["TopicArn"])
        subscription = {"RawMessageDelivery": "true"} if raw else {}
        self.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self.read_arn(queue_url), Attributes=subscription)
        return arn

    def queue(self, url: str) -> OpenQueue:
        return OpenQueue(self.sqs, url)


def receive(queue: OpenQueue, count: int = 10) -> list[Message]:
    return queue.receive(count, wait_time_seconds=2, visibility_timeout=30)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Place(
        {
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
            "region_name": "us-east-1",
            "endpoint_url": f"http://{host}:{port}",
        }
    )
    server.stop()


@pytest.fixture(autouse=True)
def nothing_else_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave boto3 the constructor's arguments only."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")


@dataclass
class Way:
    """A publisher, and the queue where its messages arrive."""

    publisher: Publisher
    queue: OpenQueue
    enveloped: bool = False

    def take(self) -> list[Message]:
        """Receive what has arrived, and delete it."""
        messages = receive(self.queue)
        assert self.queue.delete([message.lease.receipt_handle for message in messages if message.lease]) == []
        return messages


def go_straight(place: Place) -> Way:
    url = place.create_queue()
    return Way(SqsPublisher(queue_url=url, client=place.sqs), place.queue(url))


def go_by_topic(place: Place, *, raw: bool) -> Way:
    url = place.create_queue()
    topic = place.create_topic(url, raw=raw)
    return Way(SnsPublisher(topic_arn=topic, **place.options), place.queue(url), enveloped=not raw)


WAYS: dict[str, Callable[[Place], Way]] = {
    "straight": go_straight,
    "raw": lambda place: go_by_topic(place, raw=True),
    "enveloped": lambda place: go_by_topic(place, raw=False),
}


@pytest.fixture(scope="module")
def ways(place: Place) -> dict[str, Way]:
    return {name: go(place) for name, go in WAYS.items()}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, ways: dict[str, Way]) -> Way:
    """One of the three ways, shared by the tests: each takes what it sent."""
    return ways[request.param]


@pytest.mark.parametrize(
    ("payload", "binary_encoding", "kind"),
    [
        pytest.param(EVENT, False, Kind.MEGA, id="event as JSON"),
        pytest.param(EVENT, True, Kind.MEGA, id="event as BSON"),
        pytest.param(DATA, False, Kind.DATA, id="data as JSON"),
        pytest.param(DATA, True, Kind.DATA, id="data as BSON"),
        pytest.param(ENVELOPE_TO_LOOK_AT, False, Kind.DATA, id="data like an envelope, as JSON"),
        pytest.param(ENVELOPE_TO_LOOK_AT, True, Kind.DATA, id="data like an envelope, as BSON"),
        pytest.param({"blob": b"\0\xff"}, True, Kind.DATA, id="data with bytes"),
        pytest.param("ping", False, Kind.TEXT, id="text that is Base64"),
        pytest.param("Grüße <&> 世界 🎈\n\t", False, Kind.TEXT, id="text with everything"),
        pytest.param('{"protocol": "mega"}', False, Kind.TEXT, id="text that is JSON"),
        pytest.param(b64encode(b"\x05\0\0\0\0").decode(), False, Kind.TEXT, id="text that is BSON"),
        pytest.param(b"\0\1\xff", False, Kind.BINARY, id="bytes"),
        pytest.param(b"\x05\0\0\0\0", False, Kind.BINARY, id="bytes that are BSON"),
    ],
)
def test_what_is_published_is_what_is_received(way: Way, payload: Any, binary_encoding: bool, kind: Kind) -> None:
    message_id = way.publisher.publish(payload, binary_encoding=binary_encoding, attributes={"tenant": "acme"})

    (message,) = way.take()
    assert (message.kind, message.payload, message.problem) == (kind, payload, "")
    assert message.attributes["tenant"] == "acme"
    assert (message.sns is not None) == way.enveloped
    assert (message.sns.message_id if message.sns else message_id) == message_id


def test_attributes_of_every_type_arrive(way: Way) -> None:
    attributes: dict[str, AttributeInput] = {
        "text": "Grüße",
        "whole": -7,
        "price": Decimal("19.90"),
        "exact": Attribute("Number.price", "1.50"),
    }

    way.publisher.publish("ping", attributes=attributes)

    (message,) = way.take()
    assert message.attributes == attributes | {"exact": Decimal("1.50")}


@pytest.mark.parametrize("name", ["straight", "enveloped"])  # moto cannot sum up one that comes by a raw subscription
def test_an_attribute_of_bytes_arrives(place: Place, name: str) -> None:
    way = WAYS[name](place)

    way.publisher.publish("ping", attributes={"blob": b"\0\xff"})

    (message,) = way.take()
    assert message.attributes == {"blob": b"\0\xff"}


def test_a_raw_message_arrives_as_it_was_and_without_a_hint(way: Way) -> None:
    way.publisher.publish_raw_message(' {"id":1}\n')

    (message,) = way.take()
    assert (message.kind, message.payload, message.attributes) == (Kind.DATA, {"id": 1}, {})
    assert way.enveloped or message.body == ' {"id":1}\n'


def test_a_batch_arrives_whole(way: Way) -> None:
    payloads = [{"number": number} for number in range(21)]

    message_ids = way.publisher.publish_batch([*payloads, Outgoing(b"\0"), EVENT])

    received = [message for _ in range(3) for message in way.take()]
    assert len(set(message_ids)) == 23
    assert sorted(each.payload["number"] for each in received if each.kind is Kind.DATA) == list(range(21))
    assert {each.kind for each in received} == {Kind.DATA, Kind.BINARY, Kind.MEGA}
    assert {each.sns.message_id if each.sns else each.id for each in received} >= set(message_ids) or not way.enveloped


def test_a_stream_arrives_but_for_what_cannot_be_sent(way: Way) -> None:
    payloads = [{"number": number} for number in range(35)]

    sent = list(way.publisher.publish_stream([*payloads[:20], {"number": object()}, *payloads[20:]]))

    received = [message for _ in range(4) for message in way.take()]
    assert [each.index for each in sent] == list(range(36))
    assert [(each.index, each.failure.code) for each in sent if each.failure] == [(20, "EncodeError")]
    assert sorted(each.payload["number"] for each in received) == list(range(35))
    assert len({each.message_id for each in sent if not each.failure}) == 35


def test_a_stream_of_raw_texts_arrives_as_it_was(way: Way) -> None:
    (sent,) = way.publisher.publish_stream([' {"id":1}'], raw=True, attributes={"tenant": "acme"})

    (message,) = way.take()
    assert (sent.failure, message.payload, message.attributes) == (None, {"id": 1}, {"tenant": "acme"})


def test_a_stream_keeps_the_order_of_a_fifo_queue_and_stops_only_the_group_that_failed(place: Place) -> None:
    url = place.create_queue(".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    publisher = SqsPublisher(queue_url=url, client=place.sqs)
    items = [Outgoing({"number": number}, group_id="g") for number in range(25)]

    sent = list(publisher.publish_stream([*items[:12], Outgoing({"number": -1}), *items[12:]]))

    received = [message for _ in range(3) for message in Way(publisher, place.queue(url)).take()]
    assert [str(each.failure.reason) for each in sent if each.failure] == [
        "group_id: is missing: every message of a FIFO queue belongs to a group"
    ]
    assert [each.payload["number"] for each in received] == list(range(25))


def test_the_subject_arrives_with_the_envelope(place: Place) -> None:
    way = WAYS["enveloped"](place)

    way.publisher.publish("ping", subject="Grüße")

    (message,) = receive(way.queue)
    assert message.sns is not None
    assert message.sns.subject == "Grüße"


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "enveloped"])
def test_group_and_deduplication_ids_arrive_by_way_of_a_fifo_topic(place: Place, raw: bool) -> None:
    url = place.create_queue(".fifo", FifoQueue="true")
    topic = place.create_topic(url, raw=raw, suffix=".fifo", FifoTopic="true")

    SnsPublisher(topic_arn=topic, **place.options).publish("ping", group_id="g", deduplication_id="d")

    (message,) = receive(place.queue(url))
    assert (message.payload, message.group_id, message.deduplication_id) == ("ping", "g", "d")


def test_a_fifo_queue_gives_a_batch_back_in_order_and_no_message_twice(place: Place) -> None:
    url = place.create_queue(".fifo", FifoQueue="true")
    publisher = SqsPublisher(queue_url=url, client=place.sqs)
    items = [Outgoing(f"text {number}", group_id="g", deduplication_id=str(number)) for number in range(5)]

    publisher.publish_batch([*items, items[0]])

    received = receive(place.queue(url))
    assert [message.payload for message in received] == [f"text {number}" for number in range(5)]
    assert {message.group_id for message in received} == {"g"}


def test_a_delayed_message_is_not_there_yet(place: Place) -> None:
    way = go_straight(place)
    way.publisher.publish("later", delay_seconds=900)
    way.publisher.publish("now", delay_seconds=0)

    received = receive(way.queue)

    assert [message.payload for message in received] == ["now"]


def test_a_message_of_a_whole_mebibyte_goes_and_one_byte_more_does_not(place: Place) -> None:
    way = go_straight(place)
    body = "x" * SQS_MESSAGE_SIZE

    way.publisher.publish(body)
    with pytest.raises(EncodeError):
        way.publisher.publish(body + "x")

    (message,) = receive(way.queue)
    assert message.body == body


def test_a_queue_that_does_not_exist_refuses_the_whole_batch_and_it_is_known_that_nothing_went(place: Place) -> None:
    missing = SqsPublisher(queue_url=f"{place.options['endpoint_url']}/123456789012/nowhere", **place.options)

    with pytest.raises(PublishError) as caught:
        missing.publish_batch(["ping", "pong"])

    assert [(each.code, each.unknown) for each in caught.value.failed] == [
        ("AWS.SimpleQueueService.NonExistentQueue", False)
    ] * 2


def test_a_received_message_can_be_hidden_given_back_and_deleted(place: Place) -> None:
    way = go_straight(place)
    way.publisher.publish_batch(["a", "b"])
    first, second = receive(way.queue)
    assert first.lease
    assert second.lease

    failed = [
        *way.queue.delete([first.lease.receipt_handle]),
        *way.queue.hide([(second.lease.receipt_handle, 0.0)]),
    ]

    (again,) = receive(way.queue)
    assert failed == []
    assert (again.id, again.receive_count) == (second.id, 2)


def test_a_handle_that_is_none_fails_alone(place: Place) -> None:
    way = go_straight(place)
    way.publisher.publish("ping")
    (message,) = receive(way.queue)
    assert message.lease

    failed = way.queue.hide([("nonsense", 5.0), (message.lease.receipt_handle, 5.0)])

    assert [each.receipt_handle for each in failed] == ["nonsense"]


@pytest.mark.parametrize("suffix", ["", ".fifo"], ids=["standard", "FIFO"])
def test_a_dead_letter_arrives_as_it_was_in_the_queue_of_the_redrive_policy(place: Place, suffix: str) -> None:
    fifo = {"FifoQueue": "true"} if suffix else {}
    dead_url = place.create_queue(suffix, **fifo)
    policy = json.dumps({"deadLetterTargetArn": place.read_arn(dead_url), "maxReceiveCount": 4})
    url = place.create_queue(suffix, RedrivePolicy=policy, **fifo)
    ids: Any = {"group_id": "g", "deduplication_id": "d"} if suffix else {}
    SqsPublisher(queue_url=url, client=place.sqs).publish(b"\0\1", attributes={"price": 1.5, "blob": b"\0"}, **ids)
    queue = place.queue(url)
    (message,) = receive(queue)

    facts = queue.inspect()
    for _ in range(2 if suffix else 1):
        queue.send_dead_letter(facts.dead_letter_queue_url, message, '{"failed": {}}')

    (dead,) = receive(place.queue(dead_url))
    assert facts == QueueFacts(dead_url, 4, in_flight=1, dead_letter_size_limit=SQS_MESSAGE_SIZE)
    assert (dead.body, dead.kind, dead.payload) == (message.body, Kind.BINARY, b"\0\1")
    assert dead.sqs_attributes == {
        **message.sqs_attributes,
        ORIGIN_ATTRIBUTE: Attribute("String", '{"failed": {}}'),
    }
    assert (dead.group_id, dead.deduplication_id) == (("g", message.id) if suffix else ("", ""))


def test_a_dead_letter_that_came_enveloped_keeps_its_envelope(place: Place) -> None:
    way = WAYS["enveloped"](place)
    dead_url = place.create_queue()
    way.publisher.publish(b"\0\1", attributes={"tenant": "acme"}, subject="Hello")
    (message,) = receive(way.queue)

    way.queue.send_dead_letter(dead_url, message, "{}")

    (dead,) = receive(place.queue(dead_url))
    assert (dead.body, dead.sns, dead.payload) == (message.body, message.sns, b"\0\1")
    assert dead.attributes == message.attributes
    assert dead.sqs_attributes.keys() == {ORIGIN_ATTRIBUTE}
