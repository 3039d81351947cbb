"""`SnsPublisher`: what is asked of the client, what is refused before, and what becomes of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from megaflow import ConfigurationError, EncodeError, Outgoing, PublishError, SnsPublisher
from megaflow.limits import SNS_MESSAGE_SIZE, SQS_MESSAGE_SIZE
from megaflow.messages.attributes import Attribute
from tests.fakes import ScriptedClient, batch, client_error

ARN = "arn:aws:sns:us-east-1:000000000000:orders"
FIFO_ARN = ARN + ".fifo"


def publisher(client: ScriptedClient, arn: str = ARN, **options: Any) -> SnsPublisher:
    return SnsPublisher(topic_arn=arn, client=client, **{"sleep": refuse_to_sleep, **options})


def refuse_to_sleep(seconds: float) -> None:
    raise AssertionError(f"slept for {seconds} s")


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient()


# One message


def test_a_payload_is_published_to_the_topic_and_its_message_id_returned(client: ScriptedClient) -> None:
    message_id = publisher(client).publish({"id": 1})

    assert client.calls == [("publish", {"TopicArn": ARN, "Message": '{"id": 1}'})]
    assert message_id == 'id of {"id": 1}'


def test_everything_that_can_be_said_of_a_message_goes_along(client: ScriptedClient) -> None:
    publisher(client, FIFO_ARN).publish(
        {"ok": True},
        binary_encoding=True,
        attributes={"n": 7, "exact": Attribute("Binary.png", b"\0")},
        subject="Hello",
        group_id="g",
        deduplication_id="d",
    )

    assert client.asked == {
        "TopicArn": FIFO_ARN,
        "Message": "CgAAAAhvawABAA==",
        "MessageAttributes": {
            "n": {"DataType": "Number", "StringValue": "7"},
            "exact": {"DataType": "Binary.png", "BinaryValue": b"\0"},
        },
        "Subject": "Hello",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "d",
    }


def test_a_standard_topic_takes_a_group(client: ScriptedClient) -> None:
    publisher(client).publish("ping", group_id="tenant-1")

    assert client.asked["MessageGroupId"] == "tenant-1"


def test_bytes_go_with_their_hint(client: ScriptedClient) -> None:
    publisher(client).publish(b"\0\1")

    assert client.asked["Message"] == "AAE="
    assert client.asked["MessageAttributes"] == {"megaflow-kind": {"DataType": "String", "StringValue": "binary"}}


def test_a_raw_message_is_published_exactly_as_it_is(client: ScriptedClient) -> None:
    message_id = publisher(client).publish_raw_message('{"id":1}\n', subject="Hello")

    assert client.asked == {"TopicArn": ARN, "Message": '{"id":1}\n', "Subject": "Hello"}
    assert message_id == 'id of {"id":1}\n'


def test_the_error_of_a_single_message_is_boto3s_own() -> None:
    error = client_error("AuthorizationError", status=403)

    with pytest.raises(type(error)) as caught:
        publisher(ScriptedClient(error)).publish("ping")

    assert caught.value is error


@pytest.mark.parametrize("subject", ["a" * 100, "é" * 100, "Grüße, 世界 🎈"])
def test_a_subject_of_up_to_a_hundred_characters_goes_along(client: ScriptedClient, subject: str) -> None:
    publisher(client).publish("ping", subject=subject)

    assert client.asked["Subject"] == subject


# Refused before any call


REFUSALS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("too large", "x" * (SNS_MESSAGE_SIZE + 1), {}, "262,145 bytes with its attributes are more than the 262,144"),
    ("too large with an attribute", "x" * (SNS_MESSAGE_SIZE - 7), {"attributes": {"a": "b"}}, "262,145 bytes"),
    ("empty text", "", {}, "payload: is empty"),
    ("refused character", "a\0b", {}, "a character that SQS refuses"),
    ("eleven attributes", "x", {"attributes": dict.fromkeys("abcdefghijk", 1)}, "11 message attributes"),
    ("wrong attribute name", "x", {"attributes": {"a..b": 1}}, "attributes.a..b: a name is"),
    ("delay", "x", {"delay_seconds": 5}, "delay_seconds: is for queues, and this goes to a topic"),
    ("no delay, said aloud", "x", {"delay_seconds": 0}, "delay_seconds: is for queues"),
    ("long subject", "x", {"subject": "a" * 101}, "is not up to 100 characters of one line"),
    ("two lines", "x", {"subject": "a\nb"}, "subject: 'a\\nb' is not up to 100 characters of one line"),
    ("a carriage return", "x", {"subject": "a\r"}, "is not up to 100 characters of one line"),
    ("a tab", "x", {"subject": "a\tb"}, "is not up to 100 characters of one line"),
    ("a next line", "x", {"subject": "a\x85b"}, "is not up to 100 characters of one line"),
    ("a line separator", "x", {"subject": "a\u2028b"}, "is not up to 100 characters of one line"),
    ("half a surrogate pair", "x", {"subject": "a\ud800"}, "is not up to 100 characters of one line"),
    ("a number for a subject", "x", {"subject": 5}, "subject: 5 is not up to 100 characters of one line"),
    ("deduplication id", "x", {"deduplication_id": "d"}, "deduplication_id: is for FIFO topics, and this is none"),
]
FIFO_REFUSALS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("no group", "x", {}, "group_id: is missing: every message of a FIFO topic belongs to a group"),
    ("wrong group", "x", {"group_id": "a" * 129}, "is not up to 128 printable ASCII characters"),
    ("delay", "x", {"group_id": "g", "delay_seconds": 5}, "delay_seconds: is for queues"),
]
EVERY_REFUSAL = [
    pytest.param(arn, payload, options, said, id=f"{kind}: {name}")
    for kind, arn, cases in (("standard", ARN, REFUSALS), ("FIFO", FIFO_ARN, FIFO_REFUSALS))
    for name, payload, options, said in cases
]


@pytest.mark.parametrize(("arn", "payload", "options", "said"), EVERY_REFUSAL)
def test_what_sns_would_refuse_is_refused_before_any_call(
    client: ScriptedClient, arn: str, payload: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        publisher(client, arn).publish(payload, **options)

    assert said in str(caught.value)
    assert client.calls == []


@pytest.mark.parametrize(("arn", "payload", "options", "said"), EVERY_REFUSAL)
def test_a_raw_message_that_sns_would_refuse_is_refused_before_any_call(
    client: ScriptedClient, arn: str, payload: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        publisher(client, arn).publish_raw_message(payload, **options)

    assert said in str(caught.value)
    assert client.calls == []


@pytest.mark.parametrize(("arn", "payload", "options", "said"), EVERY_REFUSAL)
def test_one_entry_that_sns_would_refuse_keeps_the_whole_batch_back_and_is_named(
    client: ScriptedClient, arn: str, payload: Any, options: dict[str, Any], said: str
) -> None:
    good = [Outgoing("good", group_id="g")] * 12

    with pytest.raises(EncodeError) as caught:
        publisher(client, arn).publish_batch([*good, Outgoing(payload, **options)])

    assert str(caught.value).startswith("entry 12: ")
    assert said in str(caught.value)
    assert client.calls == []


@pytest.mark.parametrize("size", [1, SNS_MESSAGE_SIZE, SQS_MESSAGE_SIZE])
def test_max_message_size_says_what_the_topic_allows(client: ScriptedClient, size: int) -> None:
    roomy = publisher(client, max_message_size=size)

    roomy.publish("x" * size)
    with pytest.raises(EncodeError, match=f"{size + 1:,} bytes .* more than the {size:,} allowed"):
        roomy.publish("x" * (size + 1))

    assert len(client.asked["Message"]) == size


@pytest.mark.parametrize("size", [0, -1, SQS_MESSAGE_SIZE + 1, 1.5, True], ids=repr)
def test_a_max_message_size_out_of_range_is_refused_in_the_constructor(client: ScriptedClient, size: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_message_size=.* must be a whole number from 1 to 1,048,576"):
        publisher(client, max_message_size=size)


# A batch


def test_a_batch_goes_ten_to_a_call_in_order(client: ScriptedClient) -> None:
    bodies = [f"text {number}" for number in range(23)]

    message_ids = publisher(client).publish_batch(iter(bodies), subject="Hello")

    assert client.batches == [bodies[:10], bodies[10:20], bodies[20:]]
    assert message_ids == [f"id of {body}" for body in bodies]
    operation, asked = client.calls[2]
    assert operation == "publish_batch"
    assert asked == {
        "TopicArn": ARN,
        "PublishBatchRequestEntries": [
            {"Id": str(place), "Message": body, "Subject": "Hello"} for place, body in enumerate(bodies[20:])
        ],
    }


def test_a_call_stays_within_what_the_topic_allows(client: ScriptedClient) -> None:
    publisher(client, max_message_size=100).publish_batch(["a" * 50, "b" * 50, "c" * 50, "d" * 51, "e"])

    assert [[body[0] for body in call] for call in client.batches] == [["a", "b"], ["c"], ["d", "e"]]


def test_an_empty_batch_is_no_call(client: ScriptedClient) -> None:
    assert publisher(client).publish_batch([]) == []
    assert client.calls == []


def test_failed_entries_that_may_work_are_tried_again_and_those_that_cannot_are_not() -> None:
    pauses: list[float] = []
    client = ScriptedClient(batch(failing={"b": "InternalError"}, faulty={"d"}, silent={"e"}))

    with pytest.raises(PublishError) as caught:
        publisher(client, sleep=pauses.append).publish_batch(list("abcdef"))

    assert client.batches == [["a", "b", "c", "d", "e", "f"], ["b"]]
    assert caught.value.message_ids == ("id of a", "id of b", "id of c", "", "", "id of f")
    assert [(each.index, each.payload, each.unknown) for each in caught.value.failed] == [
        (3, "d", False),
        (4, "e", True),
    ]
    assert len(pauses) == 1


def test_on_a_fifo_topic_a_failed_entry_is_not_tried_again_and_stops_its_group() -> None:
    client = ScriptedClient(batch(failing={"odd 3": "InternalError"}))
    items = [Outgoing(f"{group} {number}", group_id=group) for number in range(12) for group in ("odd", "even")]

    with pytest.raises(PublishError) as caught:
        publisher(client, FIFO_ARN).publish_batch(items)

    assert client.batches[1:] == [[f"even {number}" for number in range(5, 10)], ["even 10", "even 11"]]
    assert [each.payload for each in caught.value.failed] == ["odd 3", *(f"odd {number}" for number in range(5, 12))]


def test_a_lost_answer_leaves_its_entries_unknown_and_the_rest_unsent() -> None:
    error = ReadTimeoutError(endpoint_url="https://sns.us-east-1.amazonaws.com")
    client = ScriptedClient(batch(), error)

    with pytest.raises(PublishError) as caught:
        publisher(client).publish_batch([str(number) for number in range(25)])

    assert caught.value.__cause__ is error
    assert [each.index for each in caught.value.failed] == list(range(10, 25))
    assert [each.unknown for each in caught.value.failed] == [True] * 10 + [False] * 5


# Configuration


def publish_one(publisher: SnsPublisher) -> None:
    publisher.publish("ping")


def publish_several(publisher: SnsPublisher) -> None:
    publisher.publish_batch(["ping", "pong"])


@pytest.fixture(params=[publish_one, publish_several])
def publish(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[SnsPublisher], None]:
    """Publish one message, or several, where boto3 finds nothing: neither environment nor profiles."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "MEGAFLOW_TOPIC_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
    function: Callable[[SnsPublisher], None] = request.param
    return function


def test_without_a_topic_the_error_names_parameter_and_variable(
    publish: Callable[[SnsPublisher], None], client: ScriptedClient
) -> None:
    with pytest.raises(ConfigurationError, match="topic_arn is not set: give topic_arn=, or set MEGAFLOW_TOPIC_ARN"):
        publish(SnsPublisher(client=client))

    assert client.calls == []


def test_the_topic_may_stand_in_the_environment(client: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = SnsPublisher(client=client)
    monkeypatch.setenv("MEGAFLOW_TOPIC_ARN", ARN)

    publisher.publish("ping")

    assert client.asked["TopicArn"] == ARN


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"region_name": "us-west-2"}, "and region_name='us-west-2' was given: leave region_name= out"),
        ({"profile_name": "nobody"}, "profile_name='nobody': "),
    ],
    ids=["another region", "unknown profile"],
)
def test_with_another_region_or_an_unknown_profile_publishing_is_a_configuration_error(
    publish: Callable[[SnsPublisher], None], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        publish(SnsPublisher(topic_arn=ARN, **options))


def test_half_a_pair_of_credentials_is_refused_in_the_constructor() -> None:
    with pytest.raises(ConfigurationError, match="aws_access_key_id was given without aws_secret_access_key"):
        SnsPublisher(topic_arn=ARN, aws_access_key_id="AKIA")
