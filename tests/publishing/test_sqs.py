"""`SqsPublisher`: what is asked of the client, what is refused before, and what becomes of a batch."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from megaflow import ConfigurationError, EncodeError, Outgoing, PayloadBuilder, PublishError, SqsPublisher
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.messages.attributes import Attribute, AttributeInput
from megaflow.transport.addresses import is_fifo
from tests.fakes import ScriptedClient, batch, client_error

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/orders"
FIFO_URL = URL + ".fifo"
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
    ("no payload", 42, {}, "a message is a Payload, a dict, a model, a str or bytes, not int"),
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
        ({}, r"and calls go to AWS: give endpoint_url='http://127.0.0.1:1'"),
        ({"profile_name": "nobody"}, r"profile_name='nobody': .* see 'aws configure list-profiles'"),
    ],
    ids=["not AWS's", "unknown profile"],
)
def test_without_endpoint_or_profile_publishing_is_a_configuration_error(
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
