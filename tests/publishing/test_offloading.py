"""Payloads that are too large for a message: put elsewhere before it is sent, in each way to publish."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from megaflow import App, EncodeError, Outgoing, PublishError, SnsPublisher, SqsPublisher, context
from megaflow.limits import SNS_MESSAGE_SIZE, SQS_MESSAGE_SIZE
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.messages.codec import decode
from megaflow.messages.pointers import Pointer, read_pointer
from megaflow.payloads import Payloads
from megaflow.publishing.offloading import NOT_STORED
from tests.waiting import PATIENCE

LARGE = "x" * (SQS_MESSAGE_SIZE + 1)
DEAD = EndpointConnectionError(endpoint_url="https://s3.eu-west-1.amazonaws.com")


@dataclass
class Shelf:
    """Payloads in memory; what holds *refused* cannot be written."""

    max_size: int = 10_000_000
    deletes_when_done: bool = False
    refused: bytes = b"nothing is refused"
    bodies: dict[str, bytes] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)
    made: int = 0

    def make_pointer(self) -> Pointer:
        self.made += 1
        return Pointer("shelf", str(self.made))

    def write(self, pointer: Pointer, body: bytes) -> None:
        self.threads.add(threading.get_ident())
        if self.refused in body:
            raise DEAD
        self.bodies[pointer.key] = body

    def read(self, pointer: Pointer) -> bytes:
        return self.bodies[pointer.key]

    def delete(self, pointer: Pointer) -> None:
        del self.bodies[pointer.key]


@dataclass
class Queue:
    shelf: Shelf
    sqs: SqsClient
    url: str
    fifo: bool

    def publisher(self, **options: Any) -> SqsPublisher:
        payloads: Payloads = self.shelf
        return SqsPublisher(queue_url=self.url, client=self.sqs, **{"large_payloads": payloads} | options)

    def messages(self) -> list[Any]:
        """Everything there is, of each group in order."""
        found: list[Any] = []
        while batch := self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages"):
            found += batch
            for each in batch:
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
        return found

    def payloads(self) -> list[Any]:
        """What the messages say, wherever that lies."""
        return [self._open(each) for each in self.messages()]

    def _open(self, message: Any) -> Any:
        size = message.get("MessageAttributes", {}).get("ExtendedPayloadSize")
        if size is None:
            return decode(message["Body"]).payload
        body = self.shelf.read(read_pointer(message["Body"]))
        assert size == {"DataType": "Number", "StringValue": str(len(body))}
        return decode(body.decode()).payload

    def options(self) -> Any:
        return {"group_id": "g"} if self.fifo else {}


def make_queue(fifo: bool) -> Queue:
    sqs = SqsClient(Account())
    name, attributes = ("q.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"}) if fifo else ("q", {})
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return Queue(Shelf(), sqs, url, fifo)


@pytest.fixture(params=["standard", "FIFO"])
def queue(request: pytest.FixtureRequest) -> Queue:
    return make_queue(request.param == "FIFO")


def alone(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    for item in items:
        publisher.publish(item, **options)


def raw(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    for item in items:
        publisher.publish_raw_message(json.dumps(item), **options)


def batch(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    publisher.publish_batch(items, **options)


def stream(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    assert all(each.message_id for each in publisher.publish_stream(items, **options))


def coroutines(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    async def publish() -> None:
        await asyncio.gather(*(publisher.apublish(item, **options) for item in items))

    asyncio.run(publish())


def coroutine_batch(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    asyncio.run(publisher.apublish_batch(items, **options))


def coroutine_stream(publisher: SqsPublisher, items: list[Any], **options: Any) -> None:
    async def give() -> AsyncIterator[Any]:
        for item in items:
            yield item

    async def publish() -> None:
        assert [each.failure async for each in publisher.apublish_stream(give(), **options)] == [None] * len(items)

    asyncio.run(publish())


WAYS = [alone, raw, batch, stream, coroutines, coroutine_batch, coroutine_stream]


@pytest.mark.parametrize("publish", WAYS)
def test_what_is_too_large_goes_by_way_of_the_shelf(queue: Queue, publish: Callable[..., None]) -> None:
    items = [{"n": number, "x": LARGE if number % 2 else "small"} for number in range(6)]

    publish(queue.publisher(), items, **queue.options())

    found = queue.payloads()
    assert sorted(found, key=lambda each: each["n"]) == items
    assert not queue.fifo or found == items
    assert len(queue.shelf.bodies) == 3


@pytest.mark.parametrize("publish", [coroutines, coroutine_batch, coroutine_stream])
def test_no_event_loop_waits_for_the_shelf(publish: Callable[..., None]) -> None:
    queue = make_queue(fifo=False)

    publish(queue.publisher(), [{"x": LARGE}])

    assert threading.get_ident() not in queue.shelf.threads


@pytest.mark.parametrize(
    ("payload", "options"), [({"x": LARGE}, {"binary_encoding": True}), (LARGE.encode(), {}), (LARGE, {})]
)
def test_bson_bytes_and_text_do_too(payload: Any, options: Any) -> None:
    queue = make_queue(fifo=False)

    queue.publisher().publish(payload, **options)

    (message,) = queue.messages()
    hint = message["MessageAttributes"].get("megaflow-kind", {}).get("StringValue", "")
    body = queue.shelf.read(read_pointer(message["Body"]))
    assert decode(body.decode(), hint).payload == payload


def test_the_limit_is_that_of_body_and_attributes_together() -> None:
    queue = make_queue(fifo=False)
    room = SQS_MESSAGE_SIZE - len("nameString")

    for size in (room - 1, room):
        queue.publisher().publish_raw_message("b" * size, attributes={"name": "v"})

    assert [len(body) for body in queue.shelf.bodies.values()] == [room]


def test_a_batch_whose_messages_are_small_is_only_cut() -> None:
    queue = make_queue(fifo=False)

    queue.publisher().publish_batch(["b" * 600_000] * 3)

    assert queue.shelf.bodies == {}
    assert len(queue.messages()) == 3


def test_pointers_share_a_batch_as_they_are_small() -> None:
    queue, calls = make_queue(fifo=False), []
    send = queue.sqs.send_message_batch
    queue.sqs.send_message_batch = lambda **call: calls.append(len(call["Entries"])) or send(**call)  # type: ignore[func-returns-value, method-assign]

    queue.publisher().publish_batch([{"n": number, "x": LARGE} for number in range(10)])

    assert calls == [10]


def test_the_attribute_takes_one_of_ten_places() -> None:
    queue = make_queue(fifo=False)
    nine = {f"name-{number}": "v" for number in range(9)}

    queue.publisher().publish_raw_message(LARGE, attributes=nine)
    with pytest.raises(EncodeError, match="10 message attributes leave no place for ExtendedPayloadSize"):
        queue.publisher().publish_raw_message(LARGE, attributes=nine | {"one": "more"})

    (message,) = queue.messages()
    assert len(message["MessageAttributes"]) == 10


def test_what_goes_along_leaves_a_place_free_and_is_left_out_otherwise() -> None:
    queue = make_queue(fifo=False)
    app = App(queue.url, client=queue.sqs, large_payloads=queue.shelf)
    app.propagate("tenant", "another")
    attributes = {f"name-{number}": "v" for number in range(7)}

    with context({"tenant": "acme", "another": "v"}):
        app.publish(LARGE, attributes=attributes)

    (message,) = queue.messages()
    assert set(message["MessageAttributes"]) == {*attributes, "tenant", "ExtendedPayloadSize"}


def test_an_attribute_of_the_clients_that_came_along_is_replaced() -> None:
    queue = make_queue(fifo=False)

    queue.publisher().publish_raw_message(LARGE, attributes={"SQSLargePayloadSize": 7, "ExtendedPayloadSize": 7})

    (message,) = queue.messages()
    assert message["MessageAttributes"].keys() == {"ExtendedPayloadSize"}


def test_on_fifo_the_body_tells_copies_apart_and_not_the_pointer() -> None:
    queue = make_queue(fifo=True)
    publisher = queue.publisher()

    for _ in range(2):
        publisher.publish({"x": LARGE}, group_id="g")
    publisher.publish({"x": LARGE + "y"}, group_id="g")
    publisher.publish({"x": LARGE}, group_id="g", deduplication_id="mine")

    ids = [each["Attributes"]["MessageDeduplicationId"] for each in queue.messages()]
    digests = [hashlib.sha256(json.dumps({"x": LARGE + more}).encode()).hexdigest() for more in ("", "y")]
    assert ids == [*digests, "mine"]


def test_a_standard_queue_gets_no_deduplication_id() -> None:
    queue = make_queue(fifo=False)

    queue.publisher().publish(LARGE)

    assert "MessageDeduplicationId" not in queue.messages()[0]["Attributes"]


def test_what_is_too_large_for_the_shelf_is_refused_before_anything_is_written() -> None:
    queue = make_queue(fifo=False)
    queue.shelf.max_size = len(LARGE)

    with pytest.raises(
        EncodeError, match=r"entry 1: payload: .* bytes are more than the .* that large_payloads= takes"
    ):
        queue.publisher().publish_batch([LARGE, LARGE + "x"])

    assert queue.shelf.bodies == {}
    assert queue.messages() == []


def test_without_a_shelf_the_error_names_it() -> None:
    with pytest.raises(EncodeError, match="or let large_payloads= put it elsewhere"):
        make_queue(fifo=False).publisher(large_payloads=None).publish(LARGE)


# What cannot be written


BAD = {"n": 1, "x": LARGE, "is": "bad"}


def read_failure(failure: Any) -> None:
    assert failure.code == NOT_STORED
    assert not failure.unknown
    assert failure.payload == BAD
    assert "its payload could not be put at shelf/" in failure.reason
    assert "EndpointConnectionError" in failure.reason
    assert "xxx" not in failure.reason


@pytest.mark.parametrize("publish", [alone, coroutines])
def test_one_that_cannot_be_written_is_not_sent(queue: Queue, publish: Callable[..., None]) -> None:
    queue.shelf.refused = b"bad"

    with pytest.raises(PublishError, match="1 of 1 messages were not sent") as caught:
        publish(queue.publisher(), [BAD], **queue.options())

    (failure,) = caught.value.failed
    read_failure(failure)
    assert queue.messages() == []


def test_others_of_its_batch_go_all_the_same() -> None:
    queue = make_queue(fifo=False)
    queue.shelf.refused = b"bad"

    with pytest.raises(PublishError) as caught:
        queue.publisher().publish_batch([{"n": 0, "x": LARGE}, BAD, {"n": 2}])

    (failure,) = caught.value.failed
    read_failure(failure)
    assert failure.index == 1
    assert [bool(each) for each in caught.value.message_ids] == [True, False, True]
    assert sorted(each["n"] for each in queue.payloads()) == [0, 2]


def test_on_fifo_nothing_of_its_group_goes_after_it() -> None:
    queue = make_queue(fifo=True)
    queue.shelf.refused = b"bad"
    items = [Outgoing({"n": n, "x": LARGE}, group_id=group) for n, group in enumerate("ababab")]
    items[2] = Outgoing(BAD, group_id="a")

    sent = list(queue.publisher().publish_stream([*items, Outgoing({"n": 6}, group_id="a")]))

    assert [each.failure.code if each.failure else "" for each in sent] == [
        *("", "", NOT_STORED, "", "NotSent", ""),
        "NotSent",
    ]
    assert sorted(each["n"] for each in queue.payloads()) == [0, 1, 3, 5]


def test_what_waits_at_the_same_moment_suffers_nothing_from_it() -> None:
    queue = make_queue(fifo=False)
    queue.shelf.refused = b"bad"

    async def publish() -> list[Any]:
        publisher = queue.publisher()
        return await asyncio.gather(
            *(publisher.apublish(each) for each in ({"n": 0, "x": LARGE}, BAD, {"n": 2})), return_exceptions=True
        )

    first, failed, last = asyncio.run(publish())

    assert isinstance(first, str)
    assert isinstance(last, str)
    assert isinstance(failed, PublishError)
    read_failure(failed.failed[0])


def test_what_is_tried_again_is_not_written_again() -> None:
    queue, tries = make_queue(fifo=False), []
    send = queue.sqs.send_message_batch

    def fail_once(**call: Any) -> Any:
        tries.append(call)
        if len(tries) == 1:
            return {"Failed": [{"Id": each["Id"], "Code": "InternalError"} for each in call["Entries"]]}
        return send(**call)

    queue.sqs.send_message_batch = fail_once  # type: ignore[method-assign]

    queue.publisher(sleep=lambda seconds: None).publish_batch([{"x": LARGE}])

    assert len(tries) == 2
    assert queue.shelf.made == 1


def test_a_payload_that_takes_long_holds_up_no_other() -> None:
    queue = make_queue(fifo=False)
    go_on, write = threading.Event(), queue.shelf.write

    def write_slowly(pointer: Pointer, body: bytes) -> None:
        assert go_on.wait(PATIENCE)
        write(pointer, body)

    queue.shelf.write = write_slowly  # type: ignore[method-assign]

    async def publish() -> None:
        publisher = queue.publisher()
        await publisher.apublish("first")
        large = asyncio.ensure_future(publisher.apublish(LARGE))
        await asyncio.gather(*(publisher.apublish(f"small {number}") for number in range(3)))
        assert not large.done()
        go_on.set()
        await large

    asyncio.run(publish())

    assert len(queue.messages()) == 5


def test_one_that_is_cancelled_while_it_is_written_is_not_sent() -> None:
    queue = make_queue(fifo=False)
    begun, go_on, write = threading.Event(), threading.Event(), queue.shelf.write

    def write_slowly(pointer: Pointer, body: bytes) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        write(pointer, body)

    queue.shelf.write = write_slowly  # type: ignore[method-assign]

    async def publish() -> None:
        large = asyncio.ensure_future(queue.publisher().apublish(LARGE))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, PATIENCE)
        large.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await large

    asyncio.run(publish())

    assert queue.messages() == []


# Topics


@pytest.fixture
def subscribed() -> tuple[SnsPublisher, Queue]:
    queue = make_queue(fifo=False)
    sns = SnsClient(queue.sqs.account)
    topic = sns.create_topic(Name="t")["TopicArn"]
    arn = queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    return SnsPublisher(topic_arn=topic, client=sns, large_payloads=queue.shelf), queue


def test_a_topic_takes_less(subscribed: tuple[SnsPublisher, Queue]) -> None:
    publisher, queue = subscribed

    publisher.publish({"x": "y" * SNS_MESSAGE_SIZE}, subject="large")

    assert queue.payloads() == [{"x": "y" * SNS_MESSAGE_SIZE}]
    assert len(queue.shelf.bodies) == 1
