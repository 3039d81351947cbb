from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import VISIBILITY, moto_differs


def test_a_received_message_is_hidden_until_its_timeout_ends(world: World) -> None:
    url = world.queue(VisibilityTimeout=str(world.moment))
    world.send(url)

    (first,) = world.receive(url, AttributeNames=["All"])
    meanwhile = world.receive(url)
    world.advance(world.moment + 0.1)
    (second,) = world.receive(url, AttributeNames=["All"])

    assert meanwhile == []
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    names = ("SentTimestamp", "ApproximateFirstReceiveTimestamp")
    assert [second["Attributes"][name] for name in names] == [first["Attributes"][name] for name in names]


def test_a_receive_may_set_the_timeout_for_its_messages(world: World) -> None:
    url = world.queue(VisibilityTimeout="43200")
    world.send(url)

    world.receive(url, VisibilityTimeout=0)

    assert len(world.receive(url)) == 1


@pytest.mark.parametrize("seconds", [-1, 43_201])
@moto_differs("moto takes any timeout here", VISIBILITY)
def test_a_receive_sets_no_timeout_over_twelve_hours(world: World, seconds: int) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="VisibilityTimeout is invalid"):
        world.receive(url, VisibilityTimeout=seconds)


def test_a_timeout_of_zero_gives_the_message_back(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)

    world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)

    assert [again["MessageId"] for again in world.receive(url)] == [message["MessageId"]]


def test_a_changed_timeout_counts_from_the_change(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)

    change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": world.moment}
    world.sqs.change_message_visibility(**change)
    before = world.receive(url)
    world.advance(world.moment + 0.1)

    assert before == []
    assert len(world.receive(url)) == 1


def test_messages_are_counted_by_state(world: World) -> None:
    url = world.queue()
    for _ in range(3):
        world.send(url)
    world.send(url, DelaySeconds=900)
    world.receive(url, 1)

    attributes = world.attributes(url)

    assert attributes["ApproximateNumberOfMessages"] == "2"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"


@moto_differs("moto answers InvalidParameterValue", VISIBILITY)
def test_a_message_of_a_fifo_queue_that_can_be_seen_is_not_in_flight(world: World) -> None:
    url = world.fifo_queue()
    world.send_in_order(url, "a")
    (message,) = world.receive(url, VisibilityTimeout=0)

    with pytest.raises(world.sqs.exceptions.MessageNotInflight) as error:
        world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=10)

    assert error.value.response["Error"]["Code"] == "AWS.SimpleQueueService.MessageNotInflight"


def test_a_message_that_can_be_seen_is_hidden_again_where_nobody_has_received_it_since(world: World) -> None:
    url = world.queue(VisibilityTimeout=str(world.moment))
    for body in "ab":
        world.send(url, body)
    first, second = sorted(world.receive(url), key=lambda message: str(message["Body"]))
    world.advance(world.moment + 1)

    world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=60)

    assert world.bodies(url) == [second["Body"]]


def test_a_handle_of_an_earlier_receive_changes_the_visibility(world: World) -> None:
    url = world.queue()
    world.send(url, "a")
    (earlier,) = world.receive(url, VisibilityTimeout=0)
    world.receive(url, VisibilityTimeout=60)

    world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=earlier["ReceiptHandle"], VisibilityTimeout=0)

    assert world.bodies(url) == ["a"]


def test_handles_of_earlier_receives_change_the_visibility_in_a_batch(world: World) -> None:
    url = world.queue(VisibilityTimeout="0")
    for body in "ab":
        world.send(url, body)
    entries = [
        {"Id": message["Body"], "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 60}
        for message in world.receive(url)
    ]
    world.receive(url)

    answer = world.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    assert sorted(one["Id"] for one in answer["Successful"]) == ["a", "b"]
    assert world.receive(url) == []


def test_a_made_up_handle_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.ReceiptHandleIsInvalid):
        world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle="made-up", VisibilityTimeout=10)


@moto_differs("moto answers ReceiptHandleIsInvalid", VISIBILITY)
def test_a_deleted_message_has_no_timeout_to_change(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)
    world.delete(url, message)

    with pytest.raises(ClientError, match="Message does not exist or is not available") as error:
        world.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=10)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_twelve_hours_after_receiving_are_the_limit(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)

    world.advance(1.1)
    with pytest.raises(
        ClientError, match=r"Total VisibilityTimeout for the message is beyond the limit \[43200"
    ) as error:
        world.sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_200
        )

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_timeouts_change_in_batches(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)

    answer = world.sqs.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "bad", "ReceiptHandle": "made-up", "VisibilityTimeout": 0},
        ],
    )

    assert answer["Successful"] == [{"Id": "good"}]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in answer["Failed"]] == [
        ("bad", "ReceiptHandleIsInvalid", True)
    ]
    assert len(world.receive(url)) == 1
