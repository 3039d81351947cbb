from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import DELAY, ONCE, ORDER, RECEIVE, SEND, moto_differs


def test_messages_of_a_group_come_in_the_order_of_sending(world: World) -> None:
    url = world.fifo_queue()
    for body in "abc":
        world.send_in_order(url, body)

    assert world.bodies(url) == ["a", "b", "c"]


def test_one_receive_gives_several_of_one_group(world: World) -> None:
    url = world.fifo_queue()
    for body in ("a1", "b1", "a2", "b2"):
        world.send_in_order(url, body, group=body[0])

    received = world.bodies(url)

    assert sorted(received) == ["a1", "a2", "b1", "b2"]
    assert received.index("a1") < received.index("a2")
    assert received.index("b1") < received.index("b2")


@moto_differs("moto goes by the order of sending alone", ORDER)
def test_a_receive_takes_all_it_can_of_one_group_first(world: World) -> None:
    url = world.fifo_queue()
    for body in ("a1", "b1", "a2", "b2"):
        world.send_in_order(url, body, group=body[0])

    assert world.bodies(url, 2) == ["a1", "a2"]


def test_a_group_is_locked_behind_one_in_flight(world: World) -> None:
    url = world.fifo_queue()
    for body in ("a1", "a2", "b1"):
        world.send_in_order(url, body, group=body[0])

    first = world.bodies(url, 1)
    second = world.bodies(url, 10)
    third = world.bodies(url, 10)

    assert (first, second, third) == (["a1"], ["b1"], [])


@pytest.mark.parametrize(
    ("extended", "come_again"),
    [
        (0, []),
        pytest.param(1, ["foo"], marks=moto_differs("moto locks the whole group", ORDER)),
        pytest.param(2, ["foo", "bar"], marks=moto_differs("moto locks the whole group", ORDER)),
    ],
)
def test_what_comes_before_one_in_flight_comes_again(world: World, extended: int, come_again: list[str]) -> None:
    """Recorded from AWS on 2025-11-19."""
    url = world.fifo_queue(VisibilityTimeout=str(world.moment))
    for body in ("foo", "bar", "baz"):
        world.send_in_order(url, body)
    received = world.receive(url)

    world.sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=received[extended]["ReceiptHandle"], VisibilityTimeout=30
    )
    world.advance(world.moment + 0.5)

    assert world.bodies(url) == come_again


@moto_differs("moto locks the whole group", ORDER)
def test_the_first_of_two_in_flight_comes_again_as_soon_as_it_is_given_back(world: World) -> None:
    """Recorded from AWS."""
    url = world.fifo_queue()
    for body in ("a1", "a2", "b1"):
        world.send_in_order(url, body, group=body[0])
    first, _ = world.receive(url, 2)

    world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)

    assert sorted(world.bodies(url)) == ["a1", "b1"]


def test_deleting_the_one_in_flight_unlocks_the_group(world: World) -> None:
    url = world.fifo_queue()
    for body in "ab":
        world.send_in_order(url, body)
    (first,) = world.receive(url, 1)

    world.delete(url, first)

    assert world.bodies(url) == ["b"]


def test_a_message_that_comes_back_keeps_its_place(world: World) -> None:
    url = world.fifo_queue()
    for body in "ab":
        world.send_in_order(url, body)

    world.receive(url, 1, VisibilityTimeout=1)
    world.advance(1.1)

    assert world.bodies(url) == ["a", "b"]


def test_a_message_given_back_keeps_its_place(world: World) -> None:
    url = world.fifo_queue()
    for body in "ab":
        world.send_in_order(url, body)
    (first,) = world.receive(url, 1)

    world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)

    assert world.bodies(url) == ["a", "b"]


def test_the_group_stays_locked_behind_the_second_in_flight(world: World) -> None:
    url = world.fifo_queue()
    for body in "abc":
        world.send_in_order(url, body)
    first, _ = world.receive(url, 2)

    world.delete(url, first)

    assert world.bodies(url) == []


@moto_differs("moto draws sequence numbers at random", SEND)
def test_sequence_numbers_rise(world: World) -> None:
    url = world.fifo_queue()

    numbers = [int(world.send_in_order(url, body)["SequenceNumber"]) for body in "abcdefghijkl"]

    assert numbers == sorted(set(numbers))
    assert len(str(numbers[0])) == 20


def test_system_attributes_tell_group_and_sequence(world: World) -> None:
    url = world.fifo_queue()
    sent = world.send_in_order(url, "a", MessageDeduplicationId="one")

    (received,) = world.receive(url, AttributeNames=["All"])

    attributes = received["Attributes"]
    assert attributes["MessageGroupId"] == "g"
    assert attributes["MessageDeduplicationId"] == "one"
    assert attributes["SequenceNumber"] == sent["SequenceNumber"]


def test_a_duplicate_is_not_kept(world: World) -> None:
    url = world.fifo_queue()

    world.send_in_order(url, "a", MessageDeduplicationId="one")
    world.send_in_order(url, "b", MessageDeduplicationId="one")

    assert world.bodies(url) == ["a"]


@moto_differs("moto gives a duplicate ids of its own", ONCE)
def test_a_duplicate_is_answered_like_the_first(world: World) -> None:
    url = world.fifo_queue()

    first = world.send_in_order(url, "a", MessageDeduplicationId="one")
    second = world.send_in_order(url, "b", MessageDeduplicationId="one")

    assert second["MessageId"] == first["MessageId"]
    assert second["SequenceNumber"] == first["SequenceNumber"]


@moto_differs("moto forgets what was deleted", ONCE)
def test_a_duplicate_is_known_after_the_first_was_deleted(world: World) -> None:
    url = world.fifo_queue()
    world.send_in_order(url, "a", MessageDeduplicationId="one")
    world.delete(url, *world.receive(url))

    world.send_in_order(url, "b", MessageDeduplicationId="one")

    assert world.bodies(url) == []


def test_deduplication_goes_over_groups(world: World) -> None:
    url = world.fifo_queue()

    world.send_in_order(url, "a", group="one", MessageDeduplicationId="x")
    world.send_in_order(url, "b", group="two", MessageDeduplicationId="x")

    assert world.bodies(url) == ["a"]


@moto_differs("moto knows one scope of deduplication", ONCE)
def test_deduplication_may_be_by_group(world: World) -> None:
    url = world.fifo_queue(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")

    world.send_in_order(url, "a", group="one", MessageDeduplicationId="x")
    world.send_in_order(url, "b", group="two", MessageDeduplicationId="x")

    assert world.bodies(url) == ["a", "b"]


def test_the_body_may_serve_as_deduplication_id(world: World) -> None:
    url = world.fifo_queue(ContentBasedDeduplication="true")

    for body in ("a", "a", "b"):
        world.send(url, body, MessageGroupId="g")

    assert world.bodies(url) == ["a", "b"]


def test_an_id_goes_before_the_body(world: World) -> None:
    url = world.fifo_queue(ContentBasedDeduplication="true")

    world.send(url, "a", MessageGroupId="g", MessageDeduplicationId="1")
    world.send(url, "a", MessageGroupId="g", MessageDeduplicationId="2")

    assert world.bodies(url) == ["a", "a"]


def test_a_message_group_is_needed(world: World) -> None:
    url = world.fifo_queue()

    with pytest.raises(ClientError, match="must contain the parameter MessageGroupId") as error:
        world.send(url, MessageDeduplicationId="1")

    assert error.value.response["Error"]["Code"] == "MissingParameter"


def test_a_deduplication_id_is_needed_where_the_body_does_not_serve(world: World) -> None:
    url = world.fifo_queue()

    with pytest.raises(ClientError, match="ContentBasedDeduplication enabled or MessageDeduplicationId") as error:
        world.send(url, MessageGroupId="g")

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_message_cannot_have_a_delay_of_its_own(world: World) -> None:
    url = world.fifo_queue()

    with pytest.raises(ClientError, match="not valid for this queue type") as error:
        world.send_in_order(url, "a", DelaySeconds=2)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto takes any text as a group", SEND)
@pytest.mark.parametrize("group", ["with space", "g" * 129, "ü"])
def test_a_group_is_128_visible_characters_at_most(world: World, group: str) -> None:
    url = world.fifo_queue()

    with pytest.raises(ClientError, match="MessageGroupId") as error:
        world.send_in_order(url, "a", group=group)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_the_delay_of_the_queue_holds_for_every_message(world: World) -> None:
    url = world.fifo_queue(DelaySeconds=str(world.moment))
    for body in "ab":
        world.send_in_order(url, body)

    before = world.bodies(url)
    world.advance(world.moment + 0.2)

    assert before == []
    assert world.bodies(url) == ["a", "b"]


@moto_differs("moto delays only what is sent afterwards", DELAY)
def test_a_new_delay_holds_for_messages_that_are_there(world: World) -> None:
    url = world.fifo_queue(DelaySeconds="900")
    world.send_in_order(url, "a")

    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "1"})
    world.advance(1.2)

    assert world.bodies(url) == ["a"]


def test_a_delay_of_none_may_be_said(world: World) -> None:
    url = world.fifo_queue()

    world.send_in_order(url, "a", DelaySeconds=0)

    assert world.bodies(url) == ["a"]


def test_messages_of_a_locked_group_are_counted_as_visible(world: World) -> None:
    url = world.fifo_queue()
    for body in ("a1", "a2", "b1"):
        world.send_in_order(url, body, group=body[0])
    world.receive(url, 1)

    attributes = world.attributes(url)

    assert attributes["ApproximateNumberOfMessages"] == "2"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "0"


def test_delayed_messages_of_a_fifo_queue_are_counted(world: World) -> None:
    url = world.fifo_queue(DelaySeconds="60")
    world.send_in_order(url, "a")

    attributes = world.attributes(url)

    assert attributes["ApproximateNumberOfMessages"] == "0"
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"


@moto_differs("moto ignores ReceiveRequestAttemptId", RECEIVE)
def test_a_repeated_attempt_receives_the_same_again(world: World) -> None:
    url = world.fifo_queue()
    for body in "abc":
        world.send_in_order(url, body)

    first = world.receive(url, 2, ReceiveRequestAttemptId="attempt")
    second = world.receive(url, 2, ReceiveRequestAttemptId="attempt")

    assert second == first
    assert [message["Body"] for message in first] == ["a", "b"]
