from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import RECEIVE, moto_differs
from tests.waiting import EARLY

ATTRIBUTES = {
    "Hello": {"DataType": "String", "StringValue": "There"},
    "General": {"DataType": "String", "StringValue": "Kenobi"},
    "Help.Me": {"DataType": "String", "StringValue": "Me"},
}


def test_an_empty_queue_answers_without_messages(world: World) -> None:
    answer = world.sqs.receive_message(QueueUrl=world.queue())

    assert "Messages" not in answer


def test_one_message_is_received_unless_more_are_asked_for(world: World) -> None:
    url = world.queue()
    for body in "abc":
        world.send(url, body)

    answer = world.sqs.receive_message(QueueUrl=url)

    assert len(answer["Messages"]) == 1


def test_up_to_ten_messages_are_received_at_once(world: World) -> None:
    url = world.queue()
    for number in range(11):
        world.send(url, str(number))

    assert len(world.receive(url, 10)) == 10
    assert len(world.receive(url, 10)) == 1


@pytest.mark.parametrize("count", [0, 11])
def test_no_other_number_of_messages_can_be_asked_for(world: World, count: int) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="MaxNumberOfMessages is invalid") as error:
        world.receive(url, count)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_attributes_are_received_only_by_who_asks(world: World) -> None:
    url = world.queue()
    world.send(url, MessageAttributes=ATTRIBUTES)

    (received,) = world.receive(url)

    assert received.keys() == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["All"], {"Hello", "General", "Help.Me"}),
        ([".*"], {"Hello", "General", "Help.Me"}),
        (["Hello", "absent"], {"Hello"}),
    ],
)
def test_message_attributes_are_chosen_by_name(world: World, names: list[str], expected: set[str]) -> None:
    url = world.queue()
    world.send(url, MessageAttributes=ATTRIBUTES)

    (received,) = world.receive(url, MessageAttributeNames=names)

    assert received["MessageAttributes"] == {name: ATTRIBUTES[name] for name in expected}


def test_message_attributes_are_chosen_by_prefix(world: World) -> None:
    url = world.queue()
    world.send(url, MessageAttributes=ATTRIBUTES)

    (received,) = world.receive(url, MessageAttributeNames=["Help.*"])

    assert received["MessageAttributes"].keys() == {"Help.Me"}


def test_the_sum_is_that_of_the_attributes_shown(world: World) -> None:
    url = world.queue()
    world.send(url, MessageAttributes=ATTRIBUTES)

    (received,) = world.receive(url, MessageAttributeNames=["Hello"])

    assert received["MD5OfMessageAttributes"] == "a311262e065454b75da111d535b8dacd"


@pytest.mark.parametrize("parameter", ["AttributeNames", "MessageSystemAttributeNames"])
def test_system_attributes_are_all_there_for_all(world: World, parameter: str) -> None:
    url = world.queue()
    world.send(url)

    (received,) = world.receive(url, 10, **{parameter: ["All"]})

    assert received["Attributes"].keys() == {
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
    }


@pytest.mark.parametrize("parameter", ["AttributeNames", "MessageSystemAttributeNames"])
def test_system_attributes_are_chosen_by_name(world: World, parameter: str) -> None:
    url = world.queue()
    world.send(url)

    (received,) = world.receive(url, 10, **{parameter: ["ApproximateReceiveCount"]})

    assert received["Attributes"] == {"ApproximateReceiveCount": "1"}


def test_timestamps_are_milliseconds_of_the_epoch(world: World) -> None:
    url = world.queue()
    world.send(url)

    (received,) = world.receive(url, AttributeNames=["All"])

    sent = int(received["Attributes"]["SentTimestamp"])
    first = int(received["Attributes"]["ApproximateFirstReceiveTimestamp"])
    assert 1_000_000_000_000 < sent <= first < 10_000_000_000_000


@moto_differs("moto takes any name", RECEIVE)
def test_an_unknown_system_attribute_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.receive(url, AttributeNames=["Colour"])

    assert error.value.response["Error"]["Code"] == "InvalidAttributeName"


def test_the_trace_header_is_a_system_attribute(world: World) -> None:
    url = world.queue()
    trace = "Root=1-5e3d83c1-e6a0db584850d61342823d4c"

    world.send(url, MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}})
    (received,) = world.receive(url, MessageSystemAttributeNames=["AWSTraceHeader"], MessageAttributeNames=["All"])

    assert received["Attributes"] == {"AWSTraceHeader": trace}
    assert "MessageAttributes" not in received


@pytest.mark.parametrize("seconds", [-1, 21])
def test_nobody_waits_longer_than_twenty_seconds(world: World, seconds: int) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="WaitTimeSeconds is invalid"):
        world.receive(url, WaitTimeSeconds=seconds)


def test_a_long_poll_answers_at_once_where_there_is_a_message(world: World) -> None:
    url = world.queue(ReceiveMessageWaitTimeSeconds="20")
    world.send(url)
    start = time.monotonic()

    received = world.receive(url, WaitTimeSeconds=20)

    assert len(received) == 1
    assert time.monotonic() - start < EARLY


def test_a_wait_of_zero_overrides_that_of_the_queue(world: World) -> None:
    url = world.queue(ReceiveMessageWaitTimeSeconds="20")
    start = time.monotonic()

    received = world.receive(url, WaitTimeSeconds=0)

    assert received == []
    assert time.monotonic() - start < EARLY


def test_an_expired_message_is_gone(world: World) -> None:
    if world.advance is time.sleep:
        pytest.skip("the shortest retention period is a minute, too long to wait for")
    url = world.queue(MessageRetentionPeriod="60")
    world.send(url)

    world.advance(60)

    assert world.receive(url) == []
    assert world.attributes(url)["ApproximateNumberOfMessages"] == "0"
