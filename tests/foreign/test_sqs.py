"""SQS as users of each client call it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from megaflow.local import SqsClient
from megaflow.local.server import Server
from tests.foreign.clients import Caller, Refused
from tests.waiting import EARLY, wait_until

SOME: dict[str, Any] = {
    "colour": {"DataType": "String", "StringValue": "röd & <blå>"},
    "count": {"DataType": "Number", "StringValue": "7"},
}


def queue(caller: Caller, name: str = "orders", **attributes: str) -> str:
    given = {"Attributes": attributes} if attributes else {}
    return str(caller.sqs("CreateQueue", QueueName=name, **given)["QueueUrl"])


def fifo_queue(caller: Caller, name: str = "orders.fifo", **attributes: str) -> str:
    return queue(caller, name, FifoQueue="true", ContentBasedDeduplication="true", **attributes)


def receive(caller: Caller, url: str, count: int = 10, **parameters: Any) -> list[dict[str, Any]]:
    answer = caller.sqs("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=count, **parameters)
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def bodies(caller: Caller, url: str) -> list[str]:
    return [each["Body"] for each in receive(caller, url)]


def attributes(caller: Caller, url: str, *names: str) -> dict[str, str]:
    answer = caller.sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=list(names or ("All",)))
    shown: dict[str, str] = answer["Attributes"]
    return shown


def test_a_message_goes_there_and_back(caller: Caller) -> None:
    url = queue(caller, VisibilityTimeout="40")

    sent = caller.sqs("SendMessage", QueueUrl=url, MessageBody="smörgås & <b>", MessageAttributes=SOME)
    (first,) = receive(caller, url, AttributeNames=["All"], MessageAttributeNames=["All"])
    caller.sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = receive(caller, url, AttributeNames=["ApproximateReceiveCount"], MessageAttributeNames=["co.*"])
    caller.sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])

    assert url == f"{caller.url}/000000000000/orders"
    assert (first["MessageId"], first["Body"]) == (sent["MessageId"], "smörgås & <b>")
    assert first["MessageAttributes"] == again["MessageAttributes"] == SOME
    assert first["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}
    shown = attributes(caller, url)
    assert shown["VisibilityTimeout"] == "40"
    assert (shown["ApproximateNumberOfMessages"], shown["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_bytes_go_there_and_back(caller: Caller) -> None:
    url = queue(caller)
    content = "what fits a command line, ö".encode() if caller.name.startswith("aws-cli") else bytes(range(256))
    image = {"image": {"DataType": "Binary.png", "BinaryValue": content}}

    caller.sqs("SendMessage", QueueUrl=url, MessageBody="a", MessageAttributes=image)

    (received,) = receive(caller, url, MessageAttributeNames=["image"])
    assert received["MessageAttributes"] == image


def test_batches_are_answered_entry_by_entry(caller: Caller) -> None:
    url = queue(caller)
    entries: list[dict[str, Any]] = [{"Id": str(number), "MessageBody": f"body {number}"} for number in range(10)]
    entries[3]["DelaySeconds"] = 901

    sent = caller.sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
    handles = {each["Body"]: each["ReceiptHandle"] for each in receive(caller, url)}
    hidden = [
        {"Id": "a", "ReceiptHandle": handles.pop("body 0"), "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": "made-up", "VisibilityTimeout": 0},
    ]
    changed = caller.sqs("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=hidden)
    done = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles.values())]
    deleted = caller.sqs("DeleteMessageBatch", QueueUrl=url, Entries=done)

    assert [each["Id"] for each in sent["Successful"]] == list("012456789")
    (failed,) = sent["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("3", "InvalidParameterValue", True)
    assert ([each["Id"] for each in changed["Successful"]], [each["Id"] for each in changed["Failed"]]) == (
        ["a"],
        ["b"],
    )
    assert len(deleted["Successful"]) == 8
    assert bodies(caller, url) == ["body 0"]


def test_a_fifo_queue_keeps_order_and_takes_each_message_once(caller: Caller) -> None:
    url = fifo_queue(caller)
    sent = [
        caller.sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=group)
        for group, body in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a1")]
    ]

    (first,) = receive(caller, url, 1, AttributeNames=["All"])
    rest = bodies(caller, url)
    caller.sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])

    assert sent[3]["SequenceNumber"] == sent[0]["SequenceNumber"] < sent[1]["SequenceNumber"]
    assert (first["Body"], first["Attributes"]["MessageGroupId"]) == ("a1", "a")
    assert rest == ["b1"]
    assert bodies(caller, url) == ["a2"]


def test_what_is_received_too_often_is_a_dead_letter_and_can_be_moved_back(caller: Caller, server: Server) -> None:
    dead_letters = queue(caller, "dead")
    arn = attributes(caller, dead_letters, "QueueArn")["QueueArn"]
    url = queue(
        caller,
        RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2}),
        VisibilityTimeout="0",
    )
    caller.sqs("SendMessage", QueueUrl=url, MessageBody="poison")

    received = [bodies(caller, url) for _ in range(3)]

    assert received == [["poison"], ["poison"], []]
    assert caller.sqs("ListDeadLetterSourceQueues", QueueUrl=dead_letters)["queueUrls"] == [url]
    (dead,) = receive(caller, dead_letters, AttributeNames=["All"], VisibilityTimeout=0)
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == attributes(caller, url, "QueueArn")["QueueArn"]
    caller.sqs("StartMessageMoveTask", SourceArn=arn)
    wait_until(lambda: server.account.peek("orders"))
    (task,) = caller.sqs("ListMessageMoveTasks", SourceArn=arn)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert bodies(caller, url) == ["poison"]


def test_a_long_poll_ends_with_the_message_it_waits_for(caller: Caller, server: Server) -> None:
    url = queue(caller)
    received_at = server.account.clock()
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(receive, caller, url, WaitTimeSeconds=20)
        wait_until(lambda: "orders" in server.account.polls)
        SqsClient(server.account).send_message(QueueUrl=url, MessageBody="at last")

        assert [each["Body"] for each in poll.result()] == ["at last"]
    assert server.account.clock() - received_at < EARLY


def test_queues_are_listed_tagged_changed_purged_and_deleted(caller: Caller) -> None:
    url = str(caller.sqs("CreateQueue", QueueName="orders", tags={"team": "blue", "gone": ""})["QueueUrl"])
    other = queue(caller, "others", DelaySeconds="9")
    caller.sqs("SendMessage", QueueUrl=url, MessageBody="a")

    caller.sqs("TagQueue", QueueUrl=url, Tags={"stage": "tests"})
    caller.sqs("UntagQueue", QueueUrl=url, TagKeys=["gone"])
    caller.sqs("SetQueueAttributes", QueueUrl=other, Attributes={"DelaySeconds": "0", "Policy": ""})
    caller.sqs("PurgeQueue", QueueUrl=url)

    assert caller.sqs("ListQueueTags", QueueUrl=url)["Tags"] == {"team": "blue", "stage": "tests"}
    assert attributes(caller, other, "DelaySeconds") == {"DelaySeconds": "0"}
    assert receive(caller, url) == []
    assert caller.sqs("GetQueueUrl", QueueName="others")["QueueUrl"] == other
    assert caller.sqs("ListQueues", QueueNamePrefix="o", MaxResults=1)["NextToken"]
    caller.sqs("DeleteQueue", QueueUrl=url)
    assert caller.sqs("ListQueues")["QueueUrls"] == [other]


MISSING = "AWS.SimpleQueueService.NonExistentQueue"
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("GetQueueUrl", {"QueueName": "nowhere"}, MISSING, "QueueDoesNotExist"),
    ("PurgeQueue", {}, "AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress"),
    (
        "CreateQueue",
        {"QueueName": "orders", "Attributes": {"DelaySeconds": "8"}},
        "QueueAlreadyExists",
        "QueueNameExists",
    ),
    ("DeleteMessage", {"ReceiptHandle": "made-up"}, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
    ("SendMessage", {"MessageBody": "\x02"}, "InvalidMessageContents", "InvalidMessageContents"),
    (
        "DeleteMessageBatch",
        {"Entries": [{"Id": "a", "ReceiptHandle": "x"}] * 2},
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "BatchEntryIdsNotDistinct",
    ),
]


@pytest.mark.parametrize(("operation", "asked", "code", "kind"), REFUSED, ids=[each[0] for each in REFUSED])
def test_errors_are_those_that_users_catch(
    caller: Caller, operation: str, asked: dict[str, Any], code: str, kind: str
) -> None:
    url = queue(caller, DelaySeconds="9")
    caller.sqs("PurgeQueue", QueueUrl=url)
    where = {} if "QueueName" in asked else {"QueueUrl": url}

    with pytest.raises(Refused) as refused:
        caller.sqs(operation, **where, **asked)

    seen = {
        "aws-cli": (code, ""),
        "aws-cli-of-old": (code, ""),
        "node": (kind, kind),
    }
    assert (refused.value.code, refused.value.kind) == seen.get(caller.name, (code, kind))
