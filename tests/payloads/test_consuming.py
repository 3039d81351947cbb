"""Large payloads on their way to handlers: fetched before they are matched, in every way to consume."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from megaflow import App, Fate, MemoryStore, Message, Payload, PayloadBuilder, Reject, RetryLater, StoreError
from megaflow.errors import PayloadError
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.local import SnsClient
from megaflow.match.functions import any_
from megaflow.messages.pointers import Pointer, write_pointer
from megaflow.payloads import DirectoryPayloads
from megaflow.testing import TestClient
from tests.buckets import Bucket
from tests.consuming import Queues, running
from tests.guarantees import guarantee
from tests.waiting import wait_until

LARGE = "x" * SQS_MESSAGE_SIZE
SIZE = {"DataType": "Number", "StringValue": "1048577"}
OLD = '["com.amazon.sqs.javamessaging.MessageS3Pointer", {"s3BucketName": "shelf", "s3Key": "1"}]'


@dataclass
class Shelf:
    """Payloads in memory, which may be out of reach, or refuse to give one."""

    max_size: int = 10_000_000
    deletes_when_done: bool = False
    bodies: dict[str, bytes] = field(default_factory=dict)
    read_keys: list[str] = field(default_factory=list)
    outage: Exception | None = None
    failures: dict[str, Exception] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)
    is_closed: bool = False

    def make_pointer(self) -> Pointer:
        return Pointer("shelf", str(len(self.bodies) + 1))

    def write(self, pointer: Pointer, body: bytes) -> None:
        if self.outage is not None:
            raise self.outage
        self.bodies[pointer.key] = body

    def read(self, pointer: Pointer) -> bytes:
        self.threads.add(threading.get_ident())
        if self.outage is not None:
            raise self.outage
        self.read_keys.append(pointer.key)
        if pointer.key in self.failures:
            raise self.failures[pointer.key]
        if pointer.key not in self.bodies:
            raise PayloadError(f"{pointer} is not there")
        return self.bodies[pointer.key]

    def delete(self, pointer: Pointer) -> None:
        if self.outage is not None:
            raise self.outage
        del self.bodies[pointer.key]

    def check(self) -> None:
        if self.outage is not None:
            raise self.outage

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(params=["standard", "FIFO"])
def queues(request: pytest.FixtureRequest) -> Queues:
    return Queues(fifo=request.param == "FIFO", max_receive_count=1000)


def send(queues: Queues, shelf: Any, *items: Any) -> None:
    """Send items, each with the group of all."""
    options: dict[str, Any] = {}
    publisher = queues.app(large_payloads=shelf)
    for number, item in enumerate(items):
        if queues.url.endswith(".fifo"):
            options = {"group_id": "g", "deduplication_id": str(number)}
        publisher.publish(item, **options)


def send_pointer(queues: Queues, key: str, *, bucket: str = "shelf", size: str = "1048577") -> None:
    options = {}
    if queues.url.endswith(".fifo"):
        options = {"MessageGroupId": "g", "MessageDeduplicationId": f"pointer {key}".replace(" ", "-")}
    queues.sqs.send_message(
        QueueUrl=queues.url,
        MessageBody=write_pointer(Pointer(bucket, key)),
        MessageAttributes={"ExtendedPayloadSize": {"DataType": "Number", "StringValue": size}},
        **options,
    )


def handled_by(app: App) -> list[Any]:
    """Let *app* note what it handles."""
    ran: list[Any] = []

    @app.on_data({"n": any_()})
    def handle(data: dict[str, Any]) -> None:
        ran.append(data["n"])

    return ran


# What a handler gets


EVENT = PayloadBuilder().with_event(domain="cart", name="added", text=LARGE).build()


@pytest.mark.parametrize("binary_encoding", [False, True])
def test_a_handler_gets_it_as_if_it_had_come_along(shelf: Shelf, binary_encoding: bool) -> None:
    app, got = App(large_payloads=shelf), list[tuple[Payload, Message]]()

    @app.on_event(name="added")
    def handle(payload: Payload, message: Message) -> None:
        got.append((payload, message))

    with TestClient(app, large_payloads=shelf) as client:
        client.publish(EVENT, binary_encoding=binary_encoding, attributes={"tenant": "acme"})

    ((payload, message),) = got
    assert payload == EVENT
    assert message.attributes == {"tenant": "acme"}
    assert message.binary_encoding is binary_encoding
    assert message.pointer == Pointer("shelf", "1")
    assert message.body == write_pointer(Pointer("shelf", "1"))
    assert (message.problem, set(message.sqs_attributes)) == ("", {"tenant", "ExtendedPayloadSize"})


@pytest.mark.parametrize("payload", [LARGE, LARGE.encode(), '{"looks": "' + LARGE + '"}'])
def test_text_and_bytes_are_what_they_were(shelf: Shelf, payload: Any) -> None:
    app, got = App(large_payloads=shelf), []
    app.on_text()(lambda text: got.append(text))
    app.on_binary()(lambda blob: got.append(blob))

    with TestClient(app, large_payloads=shelf) as client:
        client.publish(payload)

    assert got == [payload]


@pytest.mark.parametrize("raw", ["true", "false"])
def test_one_that_came_by_a_topic_is_read_raw_and_in_its_envelope(shelf: Shelf, raw: str) -> None:
    queues = Queues()
    sns = SnsClient(queues.sqs.account)
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queues.arn(queues.url), Attributes={"RawMessageDelivery": raw}
    )
    app = queues.app(topic_arn=topic, sns_client=sns, large_payloads=shelf)
    got: list[Message] = []

    @app.on_data({"n": 1})
    def handle(data: dict[str, Any], message: Message) -> None:
        got.append(message)

    app.publish({"n": 1, "x": LARGE}, attributes={"tenant": "acme"})
    with running(app):
        wait_until(lambda: got)

    assert got[0].payload["x"] == LARGE
    assert got[0].attributes == {"tenant": "acme"}
    assert (got[0].sns is None) is (raw == "true")


def test_the_form_of_old_is_read_too(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    ran = handled_by(app)
    shelf.bodies["1"] = b'{"n": 1}'

    with TestClient(app, large_payloads=shelf) as client:
        client.publish_raw_message(OLD, attributes={"SQSLargePayloadSize": 8})
        client.publish_raw_message(OLD)

    assert ran == [1, 1]


def test_what_lies_there_may_be_an_envelope(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    ran = handled_by(app)
    envelope = {
        "Type": "Notification",
        "MessageId": "m",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:t",
        "Timestamp": "2020-05-04T15:53:23.123Z",
        "Message": '{"n": 1}',
    }
    shelf.bodies["1"] = json.dumps(envelope).encode()

    verdict = app.process(OLD)

    assert verdict.deletes
    assert ran == [1]
    assert verdict.message.sns is not None


def test_a_pointer_that_leads_to_a_pointer_is_not_followed(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    handled_by(app)
    shelf.bodies["1"] = OLD.encode()

    verdict = app.process(OLD)

    assert verdict.dead_letters
    assert "which nothing here reads" in verdict.message.problem
    assert shelf.read_keys == ["1"]


def test_what_comes_along_asks_nobody(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    ran = handled_by(app)

    assert app.process('{"n": 1}').deletes
    assert app.process('{"protocol": "mega", "n": 2}').deletes  # it has a problem of its own

    assert ran == [1, 2]
    assert shelf.read_keys == []


# Drivers


def test_it_is_fetched_where_no_event_loop_waits_for_it(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    ran: list[int] = []

    @app.on_data({"n": any_()})
    async def handle(data: dict[str, Any]) -> None:
        ran.append(data["n"])

    shelf.bodies["1"] = b'{"n": 1}'

    verdict = asyncio.run(app.aprocess(OLD))

    assert verdict.deletes
    assert ran == [1]
    assert threading.get_ident() not in shelf.threads


def test_nor_does_that_of_arun(queues: Queues, shelf: Shelf) -> None:
    app = queues.app(large_payloads=shelf, concurrency=5)
    ran: list[int] = []

    @app.on_data({"n": any_()})
    async def handle(data: dict[str, Any]) -> None:
        ran.append(data["n"])
        if len(ran) == 8:
            app.stop()

    send(queues, shelf, *({"n": n, "x": LARGE} if n % 2 else {"n": n} for n in range(8)))

    asyncio.run(app.arun())

    assert sorted(ran) == list(range(8))
    assert not queues.url.endswith(".fifo") or ran == list(range(8))
    assert threading.get_ident() not in shelf.threads
    assert shelf.is_closed


def test_run_takes_them_from_s3(queues: Queues, bucket: Bucket) -> None:
    payloads = bucket.payloads(prefix="orders/", delete="when-done")
    app = queues.app(large_payloads=payloads)
    ran = handled_by(app)
    send(queues, payloads, *({"n": n, "x": LARGE} if n % 3 == 0 else {"n": n} for n in range(6)))
    assert len(bucket.keys()) == 2

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0) and not bucket.keys())

    assert sorted(ran) == list(range(6))


def test_a_batch_handler_gets_them_like_any_other(queues: Queues, shelf: Shelf) -> None:
    app, got = queues.app(large_payloads=shelf), list[list[int]]()

    @app.on_data({"n": any_()}, batch_size=4, batch_seconds=60)
    def handle(several: list[dict[str, Any]]) -> None:
        got.append([each["n"] for each in several])

    send(queues, shelf, *({"n": n, "x": LARGE} if n % 2 else {"n": n} for n in range(4)))
    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    assert [sorted(each) for each in got] == [[0, 1, 2, 3]]


def test_progress_and_keys_go_by_it(shelf: Shelf) -> None:
    app = App(large_payloads=shelf, progress=MemoryStore())
    ran: list[int] = []

    @app.on_data({"n": any_()}, idempotency_key=lambda data: str(data["n"]))
    def handle(data: dict[str, Any]) -> None:
        ran.append(data["n"])
        if len(ran) == 1:
            raise RetryLater(after=1)

    with TestClient(app, large_payloads=shelf) as client:
        client.publish({"n": 1, "x": LARGE})
        client.publish({"n": 1, "x": LARGE})
        client.advance(60)

    assert ran == [1, 1]


def test_lambda_reads_them_and_deletes_nothing(shelf: Shelf) -> None:
    shelf.deletes_when_done = True
    app = App(large_payloads=shelf)
    ran = handled_by(app)
    shelf.bodies["1"] = b'{"n": 1}'
    record = {
        "messageId": "m",
        "receiptHandle": "AQEB",
        "body": OLD,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {"SQSLargePayloadSize": {"dataType": "Number", "stringValue": "8"}},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-west-2:424566909325:orders",
    }

    answer = app.lambda_handler()({"Records": [record]})

    assert answer == {"batchItemFailures": []}
    assert ran == [1]
    assert shelf.bodies == {"1": b'{"n": 1}'}


# What cannot be had


@pytest.mark.parametrize(
    ("body", "attributes", "reason"),
    [
        (write_pointer(Pointer("shelf", "none")), {}, "shelf/none is not there"),
        (OLD, {"ExtendedPayloadSize": 7}, "shelf/1 has 8 bytes, and 7 were sent"),
        (OLD, {"ExtendedPayloadSize": "many"}, "is no number of bytes"),
        (write_pointer(Pointer("shelf", "blob")), {}, "shelf/blob is no text"),
        (OLD.replace("s3Key", "s3Keys"), {}, "the pointer is not a list"),
        (write_pointer(Pointer("shelf", "../up")), {}, "cannot be one"),
        ("no pointer", {"ExtendedPayloadSize": 7}, "it has the attribute of a pointer, and is none"),
    ],
)
def test_what_cannot_be_had_is_a_problem_and_dead_lettered(
    shelf: Shelf, body: str, attributes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(large_payloads=shelf)
    ran = handled_by(app)
    shelf.bodies |= {"1": b'{"n": 1}', "blob": b"\xff\xfe"}

    with TestClient(app, large_payloads=shelf) as client:
        client.publish_raw_message(body, attributes=attributes)

        (dead,) = client.dead_lettered
        assert dead.problem.startswith("a pointer to a payload that cannot be had: ")
        assert reason in dead.problem
        assert reason in client.explain()

    assert ran == []
    assert reason in caplog.text


def test_whoever_wants_pointers_gets_one_that_cannot_be_had(shelf: Shelf) -> None:
    app, got = App(large_payloads=shelf), []

    @app.on_text()
    def read(text: str, message: Message) -> None:
        got.append((text, message.problem))

    app.process(OLD)

    assert got == [(OLD, "a pointer to a payload that cannot be had: shelf/1 is not there")]


@guarantee(
    "standard, FIFO",
    "a large payload is missing, refused or too large",
    "the message has a `problem`, and is dead-lettered as it came where no handler takes it; the others go on",
    "never with it",
)
def test_what_is_missing_is_dead_lettered_with_its_pointer(queues: Queues, bucket: Bucket) -> None:
    payloads = bucket.payloads(prefix="orders/", max_size=2 * SQS_MESSAGE_SIZE, delete="when-done")
    app = queues.app(large_payloads=payloads)
    ran = handled_by(app)
    bucket.put("orders/large", b"x" * (2 * SQS_MESSAGE_SIZE + 1))
    bucket.put("secrets/1", b'{"n": "secret"}')
    for key in ("orders/missing", "orders/large", "secrets/1"):
        send_pointer(queues, key, bucket=bucket.name, size="15")
    send_pointer(queues, "orders/1", bucket="another", size="15")
    send(queues, payloads, {"n": 1, "x": LARGE})

    with running(app):
        wait_until(lambda: queues.depth() == (0, 0))

    dead = queues.receive_dead_letters()
    keys = ("orders/missing", "orders/large", "secrets/1")
    pointers = [*(Pointer(bucket.name, key) for key in keys), Pointer("another", "orders/1")]
    assert ran == [1]
    assert {each["Body"] for each in dead} == set(map(write_pointer, pointers))
    assert all("ExtendedPayloadSize" in each["MessageAttributes"] for each in dead)
    assert bucket.keys() == ["orders/large", "secrets/1"]
    reasons = {json.loads(each["MessageAttributes"]["megaflow-origin"]["StringValue"])["problem"] for each in dead}
    assert all("a pointer to a payload that cannot be had" in each for each in reasons)


# Outages


@guarantee(
    "standard, FIFO",
    "large payloads are out of reach",
    "nothing is received or begun, what is in hand stays there, so that no receive count rises; it is asked again with "
    "longer and longer pauses, up to 30 s; `ready` is false",
    "only once they answer",
)
def test_while_payloads_are_out_of_reach_messages_wait(queues: Queues, shelf: Shelf) -> None:
    app = queues.app(large_payloads=shelf)
    ran = handled_by(app)
    with running(app):
        wait_until(lambda: app.health().ready)
        send(queues, shelf, {"n": 0, "x": LARGE}, {"n": 1, "x": LARGE})
        wait_until(lambda: len(ran) == 2)
        shelf.outage = ConnectionError("S3 is away")
        send_pointer(queues, "1", size=str(len(shelf.bodies["1"])))
        wait_until(lambda: "S3 is away" in str(app.health()))
        assert not app.health().ready
        shelf.outage = None
        wait_until(lambda: queues.depth() == (0, 0))
        assert app.health().ready

    assert sorted(ran) == [0, 0, 1]
    assert app.metrics.snapshot()["received"] == 3
    assert queues.receive_dead_letters() == []


def test_a_payload_that_fails_for_ever_holds_up_no_other(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    app = App(large_payloads=shelf, max_receives=2)
    ran = handled_by(app)
    shelf.failures["1"] = PermissionError("AccessDenied")

    with TestClient(app, large_payloads=shelf) as client:
        client.publish_raw_message(OLD)
        client.publish({"n": 1})
        assert ran == [1]
        assert len(client.kept) == 1
        assert "its payload could not be read" in client.explain()
        client.advance(60)
        (dead,) = client.dead_lettered

    assert dead.body == OLD
    assert shelf.read_keys == ["1", "1"]
    errors = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "kept at delivery 2, and max_receives is 2" in errors[0]


def test_in_an_outage_it_is_kept_and_not_unmatched(shelf: Shelf) -> None:
    app = App(large_payloads=shelf, unmatched="delete")
    handled_by(app)
    shelf.outage = ConnectionError("S3 is away")

    verdict = app.process(OLD)

    assert verdict.fate is Fate.KEEP
    assert not verdict.unmatched
    assert isinstance(verdict.failure, StoreError)
    assert "the payload at shelf/1 could not be read" in str(verdict.failure)
    assert str(verdict) == "kept (its payload could not be read)"
    assert asyncio.run(app.aprocess(OLD)).failure is not None


def test_lambda_lets_messages_come_again(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    handled_by(app)
    shelf.outage = ConnectionError("S3 is away")
    record = {"messageId": "m", "receiptHandle": "AQEB", "body": OLD, "eventSource": "aws:sqs"}
    arn = {"eventSourceARN": "arn:aws:sqs:us-west-2:424566909325:orders", "attributes": {}}

    answer = app.lambda_handler()({"Records": [record | arn]})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m"}]}


# Deleting


def test_nothing_is_deleted_unless_it_was_said(shelf: Shelf) -> None:
    app = App(large_payloads=shelf)
    handled_by(app)

    with TestClient(app, large_payloads=shelf) as client:
        client.publish({"n": 1, "x": LARGE})
        assert len(client.deleted) == 1

    assert len(shelf.bodies) == 1


@pytest.mark.parametrize("matched", [True, False])
def test_what_is_done_with_is_deleted_after_its_message(shelf: Shelf, matched: bool) -> None:
    shelf.deletes_when_done = True
    app = App(large_payloads=shelf)
    handled_by(app)
    payload = {"n": 1, "x": LARGE} if matched else {"other": LARGE}

    with TestClient(app, large_payloads=shelf) as client:
        client.publish(payload)
        assert len(client.deleted) == 1

    assert shelf.bodies == {}


@pytest.mark.parametrize("error", [Reject("no"), ValueError("no")])
def test_what_is_dead_lettered_keeps_its_payload(shelf: Shelf, error: Exception) -> None:
    shelf.deletes_when_done = True
    app = App(large_payloads=shelf)

    @app.on_data({"n": any_()})
    def handle(data: dict[str, Any]) -> None:
        raise error

    with TestClient(app, large_payloads=shelf) as client:
        client.publish({"n": 1, "x": LARGE})

        (dead,) = client.sqs.receive_message(QueueUrl=client.dead_letter_queue_url, MessageAttributeNames=["All"])[
            "Messages"
        ]
        assert client.dead_lettered[0].payload["n"] == 1

    assert dead["Body"] == write_pointer(Pointer("shelf", "1"))
    assert len(shelf.bodies) == 1


def test_nor_is_that_of_one_that_was_done_once_and_then_failed(shelf: Shelf) -> None:
    """It came again as it could not be deleted, and its second end is what counts."""
    shelf.deletes_when_done = True
    app = App(large_payloads=shelf)
    tries: list[int] = []

    @app.on_data({"n": any_()})
    def handle(data: dict[str, Any]) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RetryLater(after=0)
        raise Reject("no")

    with TestClient(app, large_payloads=shelf) as client:
        client.publish({"n": 1, "x": LARGE})
        client.advance(10)

    assert len(tries) == 2
    assert len(shelf.bodies) == 1


def test_what_came_in_the_envelope_of_a_topic_stays_for_others(shelf: Shelf) -> None:
    queues = Queues()
    sns = SnsClient(queues.sqs.account)
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queues.arn(queues.url))
    shelf.deletes_when_done = True
    app = queues.app(topic_arn=topic, sns_client=sns, large_payloads=shelf)
    ran = handled_by(app)
    app.publish({"n": 1, "x": LARGE})

    with running(app):
        wait_until(lambda: ran and queues.depth() == (0, 0))

    assert len(shelf.bodies) == 1


def test_one_that_cannot_be_deleted_stays_and_is_said(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    shelf.deletes_when_done = True
    app = App(large_payloads=shelf)

    @app.on_data({"n": any_()})
    def handle(data: dict[str, Any]) -> None:
        shelf.outage = ConnectionError("S3 is away")

    with TestClient(app, large_payloads=shelf) as client:
        client.publish({"n": 1, "x": LARGE})
        assert len(client.deleted) == 1

    assert "the payload at shelf/1 stays there, as it could not be deleted: S3 is away" in caplog.text


# A test client, and logs


def test_a_test_client_has_payloads_of_its_own(bucket: Bucket) -> None:
    app = App(large_payloads=bucket.payloads(delete="when-done"))
    ran = handled_by(app)

    with TestClient(app) as client:
        client.publish({"n": 1, "x": LARGE})
        client.publish_raw_message(OLD)

        assert ran == [1]
        assert client.handled[0].payload["x"] == LARGE
        assert client.deleted[0].payload["n"] == 1
        assert "a TestClient has large payloads of its own" in client.explain()
        assert "whose payload was at memory/" in client.explain()

    assert bucket.keys() == []


def test_an_app_is_as_it_was_after_the_test(tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path)
    app = App(large_payloads=payloads)
    handled_by(app)

    with TestClient(app) as client:
        client.publish({"n": 1, "x": LARGE})
    with TestClient(app, large_payloads=payloads) as client:
        client.publish({"n": 2, "x": LARGE})

    assert len(list(tmp_path.iterdir())) == 1


def test_the_log_says_where_it_lay_and_not_what(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    app = App(large_payloads=shelf)
    handled_by(app)
    shelf.bodies["1"] = b'{"n": 1, "card": "4111"}'

    with caplog.at_level(logging.DEBUG):
        app.process(OLD)

    assert "its payload was at shelf/1" in caplog.text
    assert "4111" not in caplog.text


def test_a_policy_for_bodies_would_lose_pointers(shelf: Shelf) -> None:
    app, without = App(large_payloads=shelf), App()
    for each in (app, without):
        each.on_data({"n": 1})(lambda data: None)

    assert app.sns_filter_policy(json_only=True).policy is None
    assert "of which SNS sees no payload" in app.sns_filter_policy().reason
    assert without.sns_filter_policy(json_only=True).policy is not None


def test_of_a_group_nothing_overtakes_one_that_is_fetched(shelf: Shelf) -> None:
    queues, go_on = Queues(fifo=True), threading.Event()
    read, shelf_read = [], shelf.read

    def read_slowly(pointer: Pointer) -> bytes:
        read.append(pointer)
        assert go_on.wait(60)
        return shelf_read(pointer)

    shelf.read = read_slowly  # type: ignore[method-assign]
    app = queues.app(large_payloads=shelf)
    ran = handled_by(app)
    send(queues, shelf, {"n": 0, "x": LARGE}, {"n": 1})
    queues.app().publish({"n": 2}, group_id="another", deduplication_id="another")

    with running(app):
        wait_until(lambda: read and ran == [2])
        go_on.set()
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == [2, 0, 1]


def test_its_lease_is_extended_while_it_is_fetched(shelf: Shelf) -> None:
    queues = Queues()
    go_on, extended, shelf_read = threading.Event(), threading.Event(), shelf.read

    def read_slowly(pointer: Pointer) -> bytes:
        assert extended.wait(60)
        return shelf_read(pointer)

    shelf.read = read_slowly  # type: ignore[method-assign]
    app = queues.app(large_payloads=shelf, visibility_timeout=1)
    ran = handled_by(app)
    send(queues, shelf, {"n": 0, "x": LARGE})
    with running(app):
        wait_until(lambda: app.metrics.snapshot()["extended"] >= 1)
        extended.set()
        wait_until(lambda: queues.depth() == (0, 0))

    assert ran == [0]
    assert app.metrics.snapshot()["received"] == 1
    assert not go_on.is_set()
