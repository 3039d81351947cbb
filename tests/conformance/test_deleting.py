from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import DELETE, moto_differs


def test_a_deleted_message_is_gone(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url, VisibilityTimeout=1)

    world.delete(url, message)
    world.advance(1.1)

    assert world.receive(url) == []
    assert world.attributes(url)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_deleting_twice_succeeds(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)

    world.delete(url, message, message)

    assert world.attributes(url)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_the_latest_handle_deletes_a_message_that_can_be_seen_again(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url, VisibilityTimeout=0)

    world.delete(url, message)

    assert world.receive(url) == []


def test_a_handle_of_an_earlier_receive_deletes(world: World) -> None:
    url = world.queue()
    world.send(url)
    (stale,) = world.receive(url, VisibilityTimeout=0)
    world.receive(url, VisibilityTimeout=0)

    world.delete(url, stale)

    assert world.receive(url) == []


def test_handles_of_earlier_receives_delete_in_a_batch(world: World) -> None:
    url = world.queue(VisibilityTimeout="0")
    for body in "ab":
        world.send(url, body)
    entries = [{"Id": each["Body"], "ReceiptHandle": each["ReceiptHandle"]} for each in world.receive(url)]
    world.receive(url)

    answer = world.sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    assert sorted(one["Id"] for one in answer["Successful"]) == ["a", "b"]
    assert world.receive(url) == []


def test_a_made_up_handle_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.ReceiptHandleIsInvalid) as error:
        world.sqs.delete_message(QueueUrl=url, ReceiptHandle="made-up")

    assert error.value.response["Error"]["Code"] == "ReceiptHandleIsInvalid"


def test_a_handle_of_another_queue_is_refused(world: World) -> None:
    url, other = world.queue(), world.queue()
    world.send(other)
    (message,) = world.receive(other)

    with pytest.raises(world.sqs.exceptions.ReceiptHandleIsInvalid):
        world.delete(url, message)


@moto_differs("moto deletes by an expired handle of a FIFO queue", DELETE)
def test_an_expired_handle_of_a_fifo_queue_is_refused(world: World) -> None:
    url = world.fifo_queue()
    world.send_in_order(url, "a")
    (message,) = world.receive(url, VisibilityTimeout=0)

    with pytest.raises(ClientError, match="The receipt handle has expired") as error:
        world.delete(url, message)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_messages_are_deleted_in_batches(world: World) -> None:
    url = world.queue()
    world.send(url)
    (message,) = world.receive(url)

    answer = world.sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "made-up"},
        ],
    )

    assert answer["Successful"] == [{"Id": "good"}]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in answer["Failed"]] == [
        ("bad", "ReceiptHandleIsInvalid", True)
    ]


def test_purging_deletes_everything(world: World) -> None:
    url = world.queue()
    world.send(url, "visible")
    world.send(url, "in flight")
    world.send(url, "delayed", DelaySeconds=900)
    world.receive(url, 1)

    world.sqs.purge_queue(QueueUrl=url)

    assert world.receive(url) == []
    counts = {name: count for name, count in world.attributes(url).items() if name.startswith("Approximate")}
    assert set(counts.values()) == {"0"}


def test_purging_twice_within_a_minute_is_refused(world: World) -> None:
    url = world.queue()
    world.sqs.purge_queue(QueueUrl=url)

    with pytest.raises(world.sqs.exceptions.PurgeQueueInProgress, match="every 60 seconds") as error:
        world.sqs.purge_queue(QueueUrl=url)

    assert error.value.response["Error"]["Code"] == "AWS.SimpleQueueService.PurgeQueueInProgress"


def test_a_purged_queue_takes_again_what_it_was_sent_before(world: World) -> None:
    url = world.fifo_queue()
    world.send_in_order(url, "a")

    world.sqs.purge_queue(QueueUrl=url)
    world.send_in_order(url, "a")

    assert world.bodies(url) == ["a"]
