from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import SEND, moto_differs


def entries(*ids: str, body: str = "x") -> list[dict[str, Any]]:
    return [{"Id": one, "MessageBody": body} for one in ids]


def test_ten_messages_go_in_one_call(world: World) -> None:
    url = world.queue()

    answer = world.sqs.send_message_batch(QueueUrl=url, Entries=entries(*"0123456789"))

    assert [one["Id"] for one in answer["Successful"]] == list("0123456789")
    assert not answer.get("Failed")
    assert {message["MessageId"] for message in world.receive(url)} == {
        one["MessageId"] for one in answer["Successful"]
    }


def test_one_wrong_entry_fails_alone(world: World) -> None:
    url = world.queue()

    answer = world.sqs.send_message_batch(
        QueueUrl=url, Entries=[*entries("good"), {"Id": "bad", "MessageBody": "x", "DelaySeconds": 901}]
    )

    assert [one["Id"] for one in answer["Successful"]] == ["good"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "InvalidParameterValue", True)
    assert "DelaySeconds" in failed["Message"]


@moto_differs("moto takes an empty body", SEND)
def test_an_entry_with_an_empty_body_fails_alone(world: World) -> None:
    url = world.queue()

    answer = world.sqs.send_message_batch(QueueUrl=url, Entries=[*entries("good"), *entries("bad", body="")])

    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("bad", "MissingParameter")]


def test_an_empty_batch_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.EmptyBatchRequest) as error:
        world.sqs.send_message_batch(QueueUrl=url, Entries=[])

    assert error.value.response["Error"]["Code"] == "AWS.SimpleQueueService.EmptyBatchRequest"


def test_more_than_ten_entries_are_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="You have sent 11"):
        world.sqs.send_message_batch(QueueUrl=url, Entries=entries(*map(str, range(11))))


def test_ids_must_be_distinct(world: World) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.BatchEntryIdsNotDistinct, match="Id a repeated"):
        world.sqs.send_message_batch(QueueUrl=url, Entries=entries("a", "b", "a"))


@pytest.mark.parametrize("wrong", ["", "with space", "i:d", "i" * 81])
def test_ids_have_few_characters(world: World, wrong: str) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.InvalidBatchEntryId, match="at most 80 letters long"):
        world.sqs.send_message_batch(QueueUrl=url, Entries=entries("a", wrong))


def test_a_batch_is_a_mebibyte_at_most(world: World) -> None:
    url = world.queue()
    half = "x" * (1_048_576 // 2)

    with pytest.raises(world.sqs.exceptions.BatchRequestTooLong, match="1048577 bytes"):
        world.sqs.send_message_batch(QueueUrl=url, Entries=[*entries("a", "b", body=half), *entries("c")])


def test_batch_errors_keep_their_old_codes(world: World) -> None:
    url = world.queue()
    codes = []

    for wrong in (entries("a", "a"), entries(*map(str, range(11))), entries("i:d")):
        with pytest.raises(ClientError) as error:
            world.sqs.send_message_batch(QueueUrl=url, Entries=wrong)
        codes.append(error.value.response["Error"]["Code"].rpartition("AWS.SimpleQueueService.")[1:])

    assert codes == [
        ("AWS.SimpleQueueService.", "BatchEntryIdsNotDistinct"),
        ("AWS.SimpleQueueService.", "TooManyEntriesInBatchRequest"),
        ("AWS.SimpleQueueService.", "InvalidBatchEntryId"),
    ]


@moto_differs("moto fails the entry", SEND)
def test_an_entry_without_a_group_fails_the_whole_batch_to_a_fifo_queue(world: World) -> None:
    url = world.fifo_queue()
    good = {"Id": "1", "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d1"}

    with pytest.raises(ClientError) as error:
        world.sqs.send_message_batch(
            QueueUrl=url, Entries=[good, {"Id": "2", "MessageBody": "b", "MessageDeduplicationId": "d2"}]
        )

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert error.value.response["Error"]["Message"] == "The request must contain the parameter MessageGroupId."
    assert world.receive(url) == []


def test_an_entry_without_a_deduplication_id_fails_the_whole_batch_to_a_fifo_queue(world: World) -> None:
    url = world.fifo_queue()
    good = {"Id": "1", "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d1"}

    with pytest.raises(ClientError, match="ContentBasedDeduplication enabled or MessageDeduplicationId") as error:
        world.sqs.send_message_batch(
            QueueUrl=url, Entries=[good, {"Id": "2", "MessageBody": "b", "MessageGroupId": "g"}]
        )

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert world.receive(url) == []


def test_a_batch_to_a_fifo_queue_keeps_its_order(world: World) -> None:
    url = world.fifo_queue(ContentBasedDeduplication="true")

    answer = world.sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": body, "MessageBody": body, "MessageGroupId": "g"} for body in "cab"]
    )

    assert [one["Id"] for one in answer["Successful"]] == ["c", "a", "b"]
    assert world.bodies(url) == ["c", "a", "b"]
