"""`SqsPublisher`, and `Queue` as a consumer uses it: what is asked of the client, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from megaflow import (
    ConfigurationError,
    EncodeError,
    Kind,
    Message,
    Outgoing,
    PayloadBuilder,
    PublishError,
    SqsPublisher,
)
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Lease
from megaflow.messages.origin import ORIGIN_ATTRIBUTE
from megaflow.publishing.outgoing import AttributeInput
from megaflow.transport.entries import is_fifo
from megaflow.transport.errors import as_configuration_error, is_refusal, read_code
from megaflow.transport.queue import Failed, Queue, QueueFacts
from tests.fakes import ScriptedClient, batch, client_error

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/orders"
FIFO_URL = URL + ".fifo"
DEAD_URL = URL + "-dead"
FACTS = ["RedrivePolicy", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
DEAD_ARN = "arn:aws:sqs:us-east-1:000000000000:orders-dead"
EVENT = PayloadBuilder().with_event(name="user.created", timestamp="2020-05-04T15:53:23.123").build()


def publisher(client: ScriptedClient, url: str = URL, sleep: Callable[[float], None] | None = None) -> SqsPublisher:
    return SqsPublisher(queue_url=url, client=client, sleep=sleep or refuse_to_sleep)


def refuse_to_sleep(seconds: float) -> None:
    raise AssertionError(f"slept for {seconds} s")


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient()


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave boto3 nothing to find: no environment, no profiles, no instance role."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MEGAFLOW_QUEUE_URL", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


# Publishing one message


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        ({"id": 1}, '{"id": 1}'),
        ("ping", "ping"),
        (EVENT, '{"protocol": "mega", "version": 1, "event": {"name": "user.created"'),
    ],
    ids=["data", "text", "mega"],
)
def test_a_payload_is_sent_to_the_queue_and_its_message_id_returned(
    client: ScriptedClient, payload: Any, body: str
) -> None:
    message_id = publisher(client).publish(payload)

    ((operation, asked),) = client.calls
    assert operation == "send_message"
    assert asked.keys() == {"QueueUrl", "MessageBody"}
    assert asked["QueueUrl"] == URL
    assert asked["MessageBody"].startswith(body)
    assert message_id == f"id of {asked['MessageBody']}"


def test_binary_encoding_sends_an_object_as_bson(client: ScriptedClient) -> None:
    publisher(client).publish({"ok": True}, binary_encoding=True)

    assert client.asked["MessageBody"] == "CgAAAAhvawABAA=="


def test_bytes_go_with_their_hint(client: ScriptedClient) -> None:
    publisher(client).publish(b"\0\1")

    assert client.asked["MessageBody"] == "AAE="
    assert client.asked["MessageAttributes"] == {"megaflow-kind": {"DataType": "String", "StringValue": "binary"}}


def test_attributes_of_every_type_go_along(client: ScriptedClient) -> None:
    attributes: dict[str, AttributeInput] = {
        "text": "a",
        "whole": 7,
        "price": Decimal("19.90"),
        "ratio": 0.5,
        "blob": b"\0",
        "exact": Attribute("Number.price", "1.0"),
    }

    publisher(client).publish("ping", attributes=attributes)

    assert client.asked["MessageAttributes"] == {
        "text": {"DataType": "String", "StringValue": "a"},
        "whole": {"DataType": "Number", "StringValue": "7"},
        "price": {"DataType": "Number", "StringValue": "19.90"},
        "ratio": {"DataType": "Number", "StringValue": "0.5"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\0"},
        "exact": {"DataType": "Number.price", "StringValue": "1.0"},
    }


@pytest.mark.parametrize("delay", [0, 900])
def test_a_delay_goes_along_and_zero_is_one(client: ScriptedClient, delay: int) -> None:
    publisher(client).publish("ping", delay_seconds=delay)

    assert client.asked["DelaySeconds"] == delay


def test_a_standard_queue_takes_a_group(client: ScriptedClient) -> None:
    publisher(client).publish("ping", group_id="tenant-1")

    assert client.asked["MessageGroupId"] == "tenant-1"


def test_a_fifo_queue_takes_group_and_deduplication_id(client: ScriptedClient) -> None:
    publisher(client, FIFO_URL).publish("ping", group_id="g", deduplication_id="d")

    assert client.asked == {
        "QueueUrl": FIFO_URL,
        "MessageBody": "ping",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "d",
    }


def test_a_raw_message_is_sent_exactly_as_it_is(client: ScriptedClient) -> None:
    message_id = publisher(client).publish_raw_message('{"id":1}\n', attributes={"a": 1}, delay_seconds=5)

    assert client.asked == {
        "QueueUrl": URL,
        "MessageBody": '{"id":1}\n',
        "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "1"}},
        "DelaySeconds": 5,
    }
    assert message_id == 'id of {"id":1}\n'


def test_the_error_of_a_single_message_is_boto3s_own() -> None:
    error = client_error("AccessDenied", status=403)

    with pytest.raises(type(error)) as caught:
        publisher(ScriptedClient(error)).publish("ping")

    assert caught.value is error


# Refused before any call


REFUSALS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("too large", "x" * (SQS_MESSAGE_SIZE + 1), {}, "1,048,577 bytes with its attributes are more than the 1,048,576"),
    ("too large with an attribute", "x" * (SQS_MESSAGE_SIZE - 7), {"attributes": {"a": "b"}}, "1,048,577 bytes"),
    ("empty text", "", {}, "payload: is empty"),
    ("empty bytes", b"", {}, "payload: is empty"),
    ("refused character", "a\0b", {}, "a character that SQS refuses"),
    ("no payload", 42, {}, "a message is a Payload, a dict, a str or bytes, not int"),
    ("binary text", "ping", {"binary_encoding": True}, "text has no binary encoding"),
    ("eleven attributes", "x", {"attributes": dict.fromkeys("abcdefghijk", 1)}, "11 message attributes"),
    ("wrong attribute name", "x", {"attributes": {"AWS.trace": 1}}, "attributes.AWS.trace: a name is"),
    ("wrong attribute value", "x", {"attributes": {"a": True}}, "attributes.a: True is no text"),
    ("delay too long", "x", {"delay_seconds": 901}, "delay_seconds: 901 is no whole number from 0 to 900"),
    ("negative delay", "x", {"delay_seconds": -1}, "delay_seconds: -1 is no"),
    ("wrong group", "x", {"group_id": "a b"}, "group_id: 'a b' is not up to 128"),
    ("subject", "x", {"subject": "hello"}, "subject: is for topics, and this goes to a queue"),
    ("deduplication id", "x", {"deduplication_id": "d"}, "deduplication_id: is for FIFO queues, and this is none"),
]
FIFO_REFUSALS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("no group", "x", {}, "group_id: is missing: every message of a FIFO queue belongs to a group"),
    ("delay", "x", {"group_id": "g", "delay_seconds": 5}, "delay_seconds: FIFO queues have no delay per message"),
    ("no delay, said aloud", "x", {"group_id": "g", "delay_seconds": 0}, "delay_seconds: FIFO queues have no delay"),
    ("wrong deduplication id", "x", {"group_id": "g", "deduplication_id": "é"}, "deduplication_id: 'é' is not"),
]
EVERY_REFUSAL = [
    pytest.param(url, payload, options, said, id=f"{kind}: {name}")
    for kind, url, cases in (("standard", URL, REFUSALS), ("FIFO", FIFO_URL, FIFO_REFUSALS))
    for name, payload, options, said in cases
]


@pytest.mark.parametrize(("url", "payload", "options", "said"), EVERY_REFUSAL)
def test_what_sqs_would_refuse_is_refused_before_any_call(
    client: ScriptedClient, url: str, payload: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        publisher(client, url).publish(payload, **options)

    assert said in str(caught.value)
    assert client.calls == []


@pytest.mark.parametrize(("url", "payload", "options", "said"), EVERY_REFUSAL)
def test_one_entry_that_sqs_would_refuse_keeps_the_whole_batch_back_and_is_named(
    client: ScriptedClient, url: str, payload: Any, options: dict[str, Any], said: str
) -> None:
    good = [Outgoing("good", group_id="g")] * 12

    with pytest.raises(EncodeError) as caught:
        publisher(client, url).publish_batch([*good, Outgoing(payload, **options), *good])

    assert str(caught.value).startswith("entry 12: ")
    assert said in str(caught.value)
    assert client.calls == []


@pytest.mark.parametrize(
    ("url", "body", "options"),
    [
        (URL, "", {}),
        (URL, "a\0b", {}),
        (URL, "x" * (SQS_MESSAGE_SIZE + 1), {}),
        (URL, b"bytes", {}),
        (URL, "x", {"subject": "hello"}),
        (FIFO_URL, "x", {}),
    ],
    ids=["empty", "refused character", "too large", "bytes", "subject", "no group"],
)
def test_a_raw_message_that_sqs_would_refuse_is_refused_before_any_call(
    client: ScriptedClient, url: str, body: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(EncodeError):
        publisher(client, url).publish_raw_message(body, **options)

    assert client.calls == []


def test_a_message_of_exactly_the_limit_is_sent(client: ScriptedClient) -> None:
    body = "x" * (SQS_MESSAGE_SIZE - len("a" + "String" + "b"))

    publisher(client).publish(body, attributes={"a": "b"})

    assert client.asked["MessageBody"] == body


# Publishing a batch


def test_a_batch_goes_ten_to_a_call_in_order(client: ScriptedClient) -> None:
    bodies = [f"text {number}" for number in range(23)]

    message_ids = publisher(client).publish_batch(iter(bodies), attributes={"a": 1}, delay_seconds=5)

    assert client.batches == [bodies[:10], bodies[10:20], bodies[20:]]
    assert message_ids == [f"id of {body}" for body in bodies]
    operation, asked = client.calls[2]
    assert operation == "send_message_batch"
    assert asked == {
        "QueueUrl": URL,
        "Entries": [
            {
                "Id": str(place),
                "MessageBody": body,
                "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "1"}},
                "DelaySeconds": 5,
            }
            for place, body in enumerate(bodies[20:])
        ],
    }


def test_a_call_stays_within_the_size_limit(client: ScriptedClient) -> None:
    half = SQS_MESSAGE_SIZE // 2

    publisher(client).publish_batch(["a" * half, "b" * half, "c" * half, "d" * (half + 1), "e"])

    assert [[body[0] for body in call] for call in client.batches] == [["a", "b"], ["c"], ["d", "e"]]


def test_a_batch_may_mix_payloads_and_messages_with_options_of_their_own(client: ScriptedClient) -> None:
    items = [{"id": 1}, Outgoing(b"\0", group_id="own"), "ping"]

    publisher(client, FIFO_URL).publish_batch(items, group_id="shared")

    assert [entry["MessageGroupId"] for entry in client.asked["Entries"]] == ["shared", "own", "shared"]


def test_an_empty_batch_is_no_call(client: ScriptedClient) -> None:
    assert publisher(client).publish_batch([]) == []
    assert client.calls == []


def test_failed_entries_that_may_work_are_tried_again_and_those_that_cannot_are_not() -> None:
    pauses: list[float] = []
    client = ScriptedClient(
        batch(failing={"b": "InternalError", "c": "Busy"}, faulty={"d"}, silent={"e"}), batch(failing={"c": "Busy"})
    )

    with pytest.raises(PublishError) as caught:
        publisher(client, sleep=pauses.append).publish_batch(list("abcdef"))

    assert client.batches == [["a", "b", "c", "d", "e", "f"], ["b", "c"], ["c"]]
    assert caught.value.message_ids == ("id of a", "id of b", "id of c", "", "", "id of f")
    assert [(each.index, each.payload, each.code, each.reason, each.unknown) for each in caught.value.failed] == [
        (3, "d", "InvalidMessageContents", "no d today", False),
        (4, "e", "NoAnswer", "the answer does not speak of this entry", True),
    ]
    assert [0 <= pause <= most for pause, most in zip(pauses, [0.4, 0.8], strict=True)] == [True, True]


def test_an_entry_that_keeps_failing_is_tried_four_times() -> None:
    pauses: list[float] = []
    client = ScriptedClient(*[batch(failing={"b": "InternalError"})] * 9)

    with pytest.raises(PublishError) as caught:
        publisher(client, sleep=pauses.append).publish_batch(list("abc"))

    assert client.batches == [["a", "b", "c"], ["b"], ["b"], ["b"]]
    assert [each.payload for each in caught.value.failed] == ["b"]
    assert len(pauses) == 3


def test_on_a_fifo_queue_a_failed_entry_is_not_tried_again_and_stops_its_group() -> None:
    client = ScriptedClient(batch(failing={"odd 3": "InternalError"}))
    items = [Outgoing(f"{group} {number}", group_id=group) for number in range(12) for group in ("odd", "even")]

    with pytest.raises(PublishError) as caught:
        publisher(client, FIFO_URL).publish_batch(items)

    assert client.batches[1:] == [[f"even {number}" for number in range(5, 10)], ["even 10", "even 11"]]
    assert [each.payload for each in caught.value.failed] == ["odd 3", *(f"odd {number}" for number in range(5, 12))]
    assert [each.code for each in caught.value.failed] == ["InternalError", *["NotSent"] * 7]


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (ReadTimeoutError(endpoint_url=URL), True),
        (EndpointConnectionError(endpoint_url=URL), True),
        (client_error("ServiceUnavailable", status=503), True),
        (client_error("AccessDenied", status=403), False),
        (client_error("AccessDenied", status=403, retries=2), True),
        (NoCredentialsError(), False),
    ],
    ids=["lost answer", "no connection", "5xx", "4xx", "4xx after a retry", "never sent"],
)
def test_a_call_that_fails_ends_the_batch_and_its_entries_may_or_may_not_have_gone(
    error: Exception, unknown: bool
) -> None:
    bodies = [str(number) for number in range(25)]
    client = ScriptedClient(batch(), error)

    with pytest.raises(PublishError) as caught:
        publisher(client).publish_batch(bodies)

    assert len(client.calls) == 2
    assert caught.value.__cause__ is error
    assert caught.value.message_ids == (*(f"id of {body}" for body in bodies[:10]), *[""] * 15)
    assert [each.index for each in caught.value.failed] == list(range(10, 25))
    assert [each.unknown for each in caught.value.failed] == [unknown] * 10 + [False] * 5


# Configuration


def test_without_a_queue_the_error_names_parameter_and_variable(no_aws: None, client: ScriptedClient) -> None:
    with pytest.raises(ConfigurationError, match="queue_url is not set: give queue_url=, or set MEGAFLOW_QUEUE_URL"):
        SqsPublisher(client=client).publish("ping")

    assert client.calls == []


def test_the_queue_may_stand_in_the_environment(client: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = SqsPublisher(client=client)
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", FIFO_URL)

    publisher.publish("ping", group_id="g")

    assert client.asked["QueueUrl"] == FIFO_URL


def publish_one(publisher: SqsPublisher) -> None:
    publisher.publish("ping")


def publish_several(publisher: SqsPublisher) -> None:
    publisher.publish_batch(["ping", "pong"])


@pytest.mark.parametrize("publish", [publish_one, publish_several])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"no AWS region for sqs: give region_name=\S*, or set AWS_DEFAULT_REGION"),
        ({"profile_name": "nobody"}, r"profile_name='nobody': .* see 'aws configure list-profiles'"),
    ],
    ids=["no region", "unknown profile"],
)
def test_without_region_or_profile_publishing_is_a_configuration_error(
    no_aws: None, publish: Callable[[SqsPublisher], None], options: dict[str, Any], said: str
) -> None:
    publisher = SqsPublisher(queue_url="http://127.0.0.1:1/000000000000/orders", **options)

    with pytest.raises(ConfigurationError, match=said):
        publish(publisher)


@pytest.mark.parametrize(
    ("given", "missing"),
    [("aws_access_key_id", "aws_secret_access_key"), ("aws_secret_access_key", "aws_access_key_id")],
)
def test_half_a_pair_of_credentials_is_refused_in_the_constructor_without_showing_it(given: str, missing: str) -> None:
    options: dict[str, Any] = {given: "very-secret"}

    with pytest.raises(ConfigurationError, match=f"{given} was given without {missing}") as caught:
        SqsPublisher(queue_url=URL, **options)

    assert "very-secret" not in str(caught.value)


def test_a_publisher_does_not_show_its_secrets() -> None:
    publisher = SqsPublisher(queue_url=URL, aws_access_key_id="very-secret", aws_secret_access_key="very-secret")

    assert "very-secret" not in repr(vars(publisher))


@pytest.mark.parametrize(("url", "fifo"), [(URL, False), (FIFO_URL, True), ("arn:aws:sns:us-east-1:0:t.fifo", True)])
def test_a_fifo_queue_is_known_by_its_name(url: str, fifo: bool) -> None:
    assert is_fifo(url) is fifo


# Receiving


RECEIVED: dict[str, Any] = {
    "MessageId": "m-1",
    "ReceiptHandle": "handle-1",
    "Body": '{"id": 1}',
    "Attributes": {
        "ApproximateReceiveCount": "3",
        "SentTimestamp": "1588607603123",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "d",
    },
    "MessageAttributes": {
        "text": {"DataType": "String", "StringValue": "a"},
        "price": {"DataType": "Number.price", "StringValue": "19.90"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\0"},
    },
}


def test_a_received_message_knows_all_that_sqs_says_of_it() -> None:
    now = 100.0
    client = ScriptedClient({"Messages": [RECEIVED]})

    (message,) = Queue(client, URL, clock=lambda: now).receive(7, wait_time_seconds=20, visibility_timeout=30)

    assert (message.id, message.body, message.kind, message.payload) == ("m-1", '{"id": 1}', Kind.DATA, {"id": 1})
    assert message.attributes == {"text": "a", "price": Decimal("19.90"), "blob": b"\0"}
    assert message.sqs_attributes["price"] == Attribute("Number.price", "19.90")
    assert message.receive_count == 3
    assert message.sent_at == datetime(2020, 5, 4, 15, 53, 23, 123_000, UTC)
    assert (message.group_id, message.deduplication_id, message.queue_url) == ("g", "d", URL)
    assert message.lease == Lease("handle-1", 100.0, 130.0, lambda: now)


def test_the_lease_counts_from_the_answer_by_the_queues_own_clock() -> None:
    now = 100.0

    def answer_late(_: dict[str, Any]) -> dict[str, Any]:
        nonlocal now
        now = 115.0
        return {"Messages": [RECEIVED]}

    queue = Queue(ScriptedClient(answer_late), URL, clock=lambda: now)
    (message,) = queue.receive(1, wait_time_seconds=20, visibility_timeout=30)
    now = 120.0

    assert message.lease is not None
    assert message.lease.expires_at == 145.0
    assert message.lease.remaining == 25.0


def test_a_poll_asks_for_what_a_message_says_and_no_more() -> None:
    client = ScriptedClient({})

    Queue(client, URL).receive(7, wait_time_seconds=19, visibility_timeout=31)

    assert client.calls == [
        (
            "receive_message",
            {
                "QueueUrl": URL,
                "MaxNumberOfMessages": 7,
                "WaitTimeSeconds": 19,
                "VisibilityTimeout": 31,
                "MessageSystemAttributeNames": [
                    "ApproximateReceiveCount",
                    "SentTimestamp",
                    "MessageGroupId",
                    "MessageDeduplicationId",
                ],
                "MessageAttributeNames": ["All"],
            },
        )
    ]


@pytest.mark.parametrize("answer", [{}, {"Messages": []}], ids=repr)
def test_an_empty_queue_gives_no_messages(answer: dict[str, Any]) -> None:
    assert Queue(ScriptedClient(answer), URL).receive(1, wait_time_seconds=0, visibility_timeout=30) == []


def test_a_message_of_which_little_is_said_is_received_all_the_same() -> None:
    client = ScriptedClient({"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "ping"}]})

    (message,) = Queue(client, URL).receive(1, wait_time_seconds=0, visibility_timeout=30)

    assert (message.kind, message.receive_count, message.sent_at, message.group_id) == (Kind.TEXT, 1, None, "")
    assert message.attributes == {}


# Deleting and hiding


def test_receipt_handles_are_deleted_in_one_call() -> None:
    client = ScriptedClient({"Successful": [{"Id": "0"}, {"Id": "1"}]})

    failed = Queue(client, URL).delete(["h0", "h1"])

    assert failed == []
    assert client.calls == [
        (
            "delete_message_batch",
            {"QueueUrl": URL, "Entries": [{"Id": "0", "ReceiptHandle": "h0"}, {"Id": "1", "ReceiptHandle": "h1"}]},
        )
    ]


def test_messages_are_hidden_for_whole_seconds_rounded_up() -> None:
    client = ScriptedClient({"Successful": [{"Id": "0"}, {"Id": "1"}, {"Id": "2"}]})

    failed = Queue(client, URL).hide([("h0", 0.0), ("h1", 0.1), ("h2", 43_200.0)])

    assert failed == []
    assert client.calls == [
        (
            "change_message_visibility_batch",
            {
                "QueueUrl": URL,
                "Entries": [
                    {"Id": "0", "ReceiptHandle": "h0", "VisibilityTimeout": 0},
                    {"Id": "1", "ReceiptHandle": "h1", "VisibilityTimeout": 1},
                    {"Id": "2", "ReceiptHandle": "h2", "VisibilityTimeout": 43_200},
                ],
            },
        )
    ]


def delete(queue: Queue, handles: list[str]) -> list[Failed]:
    return queue.delete(handles)


def hide(queue: Queue, handles: list[str]) -> list[Failed]:
    return queue.hide([(handle, 5.0) for handle in handles])


@pytest.mark.parametrize("settle", [delete, hide])
def test_every_entry_of_the_answer_is_read(settle: Callable[[Queue, list[str]], list[Failed]]) -> None:
    client = ScriptedClient(
        {
            "Successful": [{"Id": "2"}],
            "Failed": [
                {"Id": "3", "Code": "ReceiptHandleIsInvalid", "Message": "expired", "SenderFault": True},
                {"Id": "0", "Code": "InternalError", "Message": "later", "SenderFault": False},
                {"Id": "1", "Code": "InternalError"},
            ],
        }
    )

    failed = settle(Queue(client, URL), ["h0", "h1", "h2", "h3", "h4"])

    assert failed == [
        Failed("h0", "InternalError", "later", final=False),
        Failed("h1", "InternalError", "", final=False),
        Failed("h3", "ReceiptHandleIsInvalid", "expired", final=True),
        Failed("h4", "NoAnswer", "the answer does not speak of this entry", final=False),
    ]


@pytest.mark.parametrize("settle", [delete, hide])
def test_a_call_that_fails_as_a_whole_raises(settle: Callable[[Queue, list[str]], list[Failed]]) -> None:
    error = ReadTimeoutError(endpoint_url=URL)

    with pytest.raises(ReadTimeoutError) as caught:
        settle(Queue(ScriptedClient(error), URL), ["h0"])

    assert caught.value is error


# What the queue says of itself


def policy(**fields: Any) -> dict[str, Any]:
    return {"Attributes": {"RedrivePolicy": json.dumps(fields)}}


@pytest.mark.parametrize("most", [5, "5"], ids=repr)
def test_the_redrive_policy_names_the_dead_letter_queue(most: object) -> None:
    client = ScriptedClient(policy(deadLetterTargetArn=DEAD_ARN, maxReceiveCount=most), {"QueueUrl": DEAD_URL})

    facts = Queue(client, URL).inspect()

    assert facts == QueueFacts(DEAD_URL, 5)
    assert client.calls == [
        ("get_queue_attributes", {"QueueUrl": URL, "AttributeNames": FACTS}),
        ("get_queue_url", {"QueueName": "orders-dead", "QueueOwnerAWSAccountId": "000000000000"}),
    ]


def test_the_queue_says_about_how_much_it_holds() -> None:
    depths = {"ApproximateNumberOfMessages": "7", "ApproximateNumberOfMessagesNotVisible": "3"}

    facts = Queue(ScriptedClient({"Attributes": depths}), URL).inspect()

    assert facts == QueueFacts(visible=7, in_flight=3)


@pytest.mark.parametrize("answer", [{}, {"Attributes": {}}, {"Attributes": {"RedrivePolicy": ""}}, policy()], ids=repr)
def test_a_queue_without_a_redrive_policy_has_no_dead_letter_queue(answer: dict[str, Any]) -> None:
    assert Queue(ScriptedClient(answer), URL).inspect() == QueueFacts()


def test_a_queue_that_refuses_to_say_what_it_is_says_why() -> None:
    error = client_error("AccessDenied", status=403)

    facts = Queue(ScriptedClient(error), URL).inspect()

    assert facts == QueueFacts(problem=f"its attributes could not be read: {error}")


@pytest.mark.parametrize(
    "error", [client_error("AccessDenied", status=403), client_error("QueueDoesNotExist")], ids=["refused", "gone"]
)
def test_a_dead_letter_queue_that_cannot_be_looked_up_is_none_and_the_count_is_known(error: Exception) -> None:
    client = ScriptedClient(policy(deadLetterTargetArn=DEAD_ARN, maxReceiveCount=2), error)

    facts = Queue(client, URL).inspect()

    assert facts == QueueFacts("", 2, f"the URL of {DEAD_ARN} could not be looked up: {error}")


@pytest.mark.parametrize(
    "error",
    [
        client_error("AWS.SimpleQueueService.NonExistentQueue"),
        client_error("Busy", status=503),
        NoCredentialsError(),
        EndpointConnectionError(endpoint_url="http://sqs"),
    ],
    ids=["no queue", "busy", "no credentials", "unreachable"],
)
def test_a_queue_that_does_not_answer_is_not_taken_for_one_without_dead_letters(error: Exception) -> None:
    with pytest.raises(type(error)):
        Queue(ScriptedClient(error), URL).inspect()


def test_a_dead_letter_queue_that_does_not_answer_is_not_taken_for_none() -> None:
    client = ScriptedClient(policy(deadLetterTargetArn=DEAD_ARN, maxReceiveCount=2), client_error("Busy", status=503))

    with pytest.raises(ClientError):
        Queue(client, URL).inspect()


# Dead letters


def message(body: str = "ping", *, group: str = "", attributes: dict[str, Attribute] | None = None) -> Message:
    return Message("m-1", body, Kind.TEXT, body, group_id=group, sqs_attributes=attributes or {}, queue_url=URL)


def test_a_dead_letter_goes_as_it_was_received_with_its_origin(client: ScriptedClient) -> None:
    carried = {"price": Attribute("Number.price", "19.90"), "blob": Attribute("Binary.png", b"\0")}

    Queue(client, URL).send_dead_letter(DEAD_URL, message(' {"id":1}\n', attributes=carried), "where from")

    assert client.calls == [
        (
            "send_message",
            {
                "QueueUrl": DEAD_URL,
                "MessageBody": ' {"id":1}\n',
                "MessageAttributes": {
                    "price": {"DataType": "Number.price", "StringValue": "19.90"},
                    "blob": {"DataType": "Binary.png", "BinaryValue": b"\0"},
                    ORIGIN_ATTRIBUTE: {"DataType": "String", "StringValue": "where from"},
                },
            },
        )
    ]


def test_a_dead_letter_with_ten_attributes_goes_without_its_origin(client: ScriptedClient) -> None:
    carried = {name: Attribute("String", "value") for name in "abcdefghij"}

    Queue(client, URL).send_dead_letter(DEAD_URL, message(attributes=carried), "where from")

    assert client.asked["MessageAttributes"].keys() == carried.keys()


def test_a_dead_letter_that_died_before_has_its_new_origin_in_place_of_the_old(client: ScriptedClient) -> None:
    carried = {name: Attribute("String", "value") for name in "abcdefghi"} | {
        ORIGIN_ATTRIBUTE: Attribute("String", "old")
    }

    Queue(client, URL).send_dead_letter(DEAD_URL, message(attributes=carried), "new")

    assert client.asked["MessageAttributes"].keys() == carried.keys()
    assert client.asked["MessageAttributes"][ORIGIN_ATTRIBUTE]["StringValue"] == "new"


@pytest.mark.parametrize(("room", "fits"), [(0, True), (-1, False)], ids=["just fits", "one byte too many"])
def test_a_dead_letter_without_room_for_its_origin_goes_without(client: ScriptedClient, room: int, fits: bool) -> None:
    origin = "where from"
    body = "x" * (SQS_MESSAGE_SIZE - len(ORIGIN_ATTRIBUTE + "String" + origin) - room)

    Queue(client, URL).send_dead_letter(DEAD_URL, message(body), origin)

    assert client.asked["MessageBody"] == body
    assert ("MessageAttributes" in client.asked) is fits


def test_a_dead_letter_of_a_whole_mebibyte_goes_without_its_origin(client: ScriptedClient) -> None:
    Queue(client, URL).send_dead_letter(DEAD_URL, message("x" * SQS_MESSAGE_SIZE), "where from")

    assert client.asked.keys() == {"QueueUrl", "MessageBody"}


def test_a_dead_letter_of_a_fifo_queue_keeps_its_group_and_is_one_however_often_it_is_sent(
    client: ScriptedClient,
) -> None:
    Queue(client, FIFO_URL).send_dead_letter("dead.fifo", message(group="g"), "where from")

    assert client.asked["MessageGroupId"] == "g"
    assert client.asked["MessageDeduplicationId"] == "m-1"


def test_a_dead_letter_without_a_group_is_a_group_of_its_own_in_a_fifo_queue(client: ScriptedClient) -> None:
    Queue(client, URL).send_dead_letter("dead.fifo", message(), "where from")

    assert client.asked["MessageGroupId"] == "m-1"
    assert client.asked["MessageDeduplicationId"] == "m-1"


def test_a_dead_letter_of_a_standard_queue_keeps_its_group_and_has_no_deduplication_id(client: ScriptedClient) -> None:
    Queue(client, URL).send_dead_letter(DEAD_URL, message(group="tenant"), "where from")

    assert client.asked["MessageGroupId"] == "tenant"
    assert "MessageDeduplicationId" not in client.asked


def test_a_dead_letter_that_is_refused_raises() -> None:
    error = client_error("AccessDenied", status=403)

    with pytest.raises(type(error)):
        Queue(ScriptedClient(error), URL).send_dead_letter(DEAD_URL, message(), "where from")


# Errors


NO_QUEUE = "there is no such queue; check its URL, its account and the region"
NO_ACCESS = "access is refused; check the credentials, and that they allow sqs:ReceiveMessage and sqs:DeleteMessage"
NO_CREDENTIALS = "there are no usable credentials; give aws_access_key_id=, a profile_name=, or a role"
NO_CALL = "the call is not one that boto3 takes; check the URL, and that boto3 is up to date"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        *[
            (client_error(code), NO_QUEUE)
            for code in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")
        ],
        *[
            (client_error(code, status=403), NO_ACCESS)
            for code in (
                "AccessDenied",
                "AccessDeniedException",
                "ExpiredToken",
                "InvalidClientTokenId",
                "KMS.AccessDeniedException",
                "KmsAccessDenied",
                "SignatureDoesNotMatch",
            )
        ],
        (NoCredentialsError(), NO_CREDENTIALS),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), NO_CREDENTIALS),
        (CredentialRetrievalError(provider="role", error_msg="no"), NO_CREDENTIALS),
        (UnauthorizedSSOTokenError(), NO_CREDENTIALS),
        (TokenRetrievalError(provider="sso", error_msg="log in"), NO_CREDENTIALS),
        (ParamValidationError(report="QueueUrl is no text"), NO_CALL),
    ],
    ids=repr,
)
def test_what_someone_has_to_mend_is_a_refusal_and_says_how(error: Exception, said: str) -> None:
    refused = as_configuration_error(error, URL)

    assert is_refusal(error)
    assert str(refused) == f"queue_url={URL!r}: {said} ({error})"


@pytest.mark.parametrize(
    "error",
    [
        client_error("RequestThrottled"),
        client_error("OverLimit", status=403),
        client_error("InternalError", status=500),
        client_error("ServiceUnavailable", status=503),
        EndpointConnectionError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        OSError("gone"),
    ],
    ids=repr,
)
def test_what_may_mend_itself_is_no_refusal(error: Exception) -> None:
    assert not is_refusal(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [(client_error("Busy"), "Busy"), (NoCredentialsError(), "NoCredentialsError"), (OSError(), "OSError")],
)
def test_an_error_has_awss_code_or_the_name_of_its_type(error: Exception, code: str) -> None:
    assert read_code(error) == code
