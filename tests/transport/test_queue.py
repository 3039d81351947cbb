"""`OpenQueue`, as a consumer uses it: what is asked of the client, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from megaflow import Kind, Message
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Lease
from megaflow.messages.origin import ORIGIN_ATTRIBUTE
from megaflow.transport.queue import Failed, OpenQueue, QueueFacts
from tests.fakes import ScriptedClient, client_error

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/orders"
FIFO_URL = URL + ".fifo"
DEAD_URL = URL + "-dead"
FACTS = ["RedrivePolicy", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
DEAD_ARN = "arn:aws:sqs:us-east-1:000000000000:orders-dead"


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient()


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

    (message,) = OpenQueue(client, URL, clock=lambda: now).receive(7, wait_time_seconds=20, visibility_timeout=30)

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

    queue = OpenQueue(ScriptedClient(answer_late), URL, clock=lambda: now)
    (message,) = queue.receive(1, wait_time_seconds=20, visibility_timeout=30)
    now = 120.0

    assert message.lease is not None
    assert message.lease.expires_at == 145.0
    assert message.lease.remaining == 25.0


def test_a_poll_asks_for_what_a_message_says_and_no_more() -> None:
    client = ScriptedClient({})

    OpenQueue(client, URL).receive(7, wait_time_seconds=19, visibility_timeout=31)

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
                    "SequenceNumber",
                    "SenderId",
                    "AWSTraceHeader",
                    "DeadLetterQueueSourceArn",
                ],
                "MessageAttributeNames": ["All"],
            },
        )
    ]


@pytest.mark.parametrize("answer", [{}, {"Messages": []}], ids=repr)
def test_an_empty_queue_gives_no_messages(answer: dict[str, Any]) -> None:
    assert OpenQueue(ScriptedClient(answer), URL).receive(1, wait_time_seconds=0, visibility_timeout=30) == []


def test_a_message_of_which_little_is_said_is_received_all_the_same() -> None:
    client = ScriptedClient({"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "ping"}]})

    (message,) = OpenQueue(client, URL).receive(1, wait_time_seconds=0, visibility_timeout=30)

    assert (message.kind, message.receive_count, message.sent_at, message.group_id) == (Kind.TEXT, 1, None, "")
    assert message.attributes == {}


# Deleting and hiding


def test_receipt_handles_are_deleted_in_one_call() -> None:
    client = ScriptedClient({"Successful": [{"Id": "0"}, {"Id": "1"}]})

    failed = OpenQueue(client, URL).delete(["h0", "h1"])

    assert failed == []
    assert client.calls == [
        (
            "delete_message_batch",
            {"QueueUrl": URL, "Entries": [{"Id": "0", "ReceiptHandle": "h0"}, {"Id": "1", "ReceiptHandle": "h1"}]},
        )
    ]


def test_messages_are_hidden_for_whole_seconds_rounded_up() -> None:
    client = ScriptedClient({"Successful": [{"Id": "0"}, {"Id": "1"}, {"Id": "2"}]})

    failed = OpenQueue(client, URL).hide([("h0", 0.0), ("h1", 0.1), ("h2", 43_200.0)])

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


def delete(queue: OpenQueue, handles: list[str]) -> list[Failed]:
    return queue.delete(handles)


def hide(queue: OpenQueue, handles: list[str]) -> list[Failed]:
    return queue.hide([(handle, 5.0) for handle in handles])


@pytest.mark.parametrize("settle", [delete, hide])
def test_every_entry_of_the_answer_is_read(settle: Callable[[OpenQueue, list[str]], list[Failed]]) -> None:
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

    failed = settle(OpenQueue(client, URL), ["h0", "h1", "h2", "h3", "h4"])

    assert failed == [
        Failed("h0", "InternalError", "later", final=False),
        Failed("h1", "InternalError", "", final=False),
        Failed("h3", "ReceiptHandleIsInvalid", "expired", final=True),
        Failed("h4", "NoAnswer", "the answer does not speak of this entry", final=False),
    ]


@pytest.mark.parametrize("settle", [delete, hide])
def test_a_call_that_fails_as_a_whole_raises(settle: Callable[[OpenQueue, list[str]], list[Failed]]) -> None:
    error = ReadTimeoutError(endpoint_url=URL)

    with pytest.raises(ReadTimeoutError) as caught:
        settle(OpenQueue(ScriptedClient(error), URL), ["h0"])

    assert caught.value is error


# What the queue says of itself


def policy(**fields: Any) -> dict[str, Any]:
    return {"Attributes": {"RedrivePolicy": json.dumps(fields)}}


@pytest.mark.parametrize("most", [5, "5"], ids=repr)
def test_the_redrive_policy_names_the_dead_letter_queue(most: object) -> None:
    limit = {"Attributes": {"MaximumMessageSize": "262144"}}
    client = ScriptedClient(policy(deadLetterTargetArn=DEAD_ARN, maxReceiveCount=most), {"QueueUrl": DEAD_URL}, limit)

    facts = OpenQueue(client, URL).inspect()

    assert facts == QueueFacts(DEAD_URL, 5, dead_letter_size_limit=262_144)
    assert client.calls == [
        ("get_queue_attributes", {"QueueUrl": URL, "AttributeNames": FACTS}),
        ("get_queue_url", {"QueueName": "orders-dead", "QueueOwnerAWSAccountId": "000000000000"}),
        ("get_queue_attributes", {"QueueUrl": DEAD_URL, "AttributeNames": ["MaximumMessageSize"]}),
    ]


def test_a_dead_letter_queue_that_was_given_is_asked_for_its_limit(client: ScriptedClient) -> None:
    client = ScriptedClient({"Attributes": {}}, {"Attributes": {"MaximumMessageSize": "2048"}})

    facts = OpenQueue(client, URL).inspect(DEAD_URL)

    assert facts == QueueFacts(dead_letter_size_limit=2_048)
    assert [asked["QueueUrl"] for _, asked in client.calls] == [URL, DEAD_URL]


def test_a_dead_letter_queue_that_does_not_say_its_limit_is_one_all_the_same() -> None:
    client = ScriptedClient({"Attributes": {}}, client_error("AccessDenied", status=403))

    assert OpenQueue(client, URL).inspect(DEAD_URL) == QueueFacts()


def test_the_queue_says_about_how_much_it_holds() -> None:
    depths = {"ApproximateNumberOfMessages": "7", "ApproximateNumberOfMessagesNotVisible": "3"}

    facts = OpenQueue(ScriptedClient({"Attributes": depths}), URL).inspect()

    assert facts == QueueFacts(visible=7, in_flight=3)


@pytest.mark.parametrize("answer", [{}, {"Attributes": {}}, {"Attributes": {"RedrivePolicy": ""}}, policy()], ids=repr)
def test_a_queue_without_a_redrive_policy_has_no_dead_letter_queue(answer: dict[str, Any]) -> None:
    assert OpenQueue(ScriptedClient(answer), URL).inspect() == QueueFacts()


def test_a_queue_that_refuses_to_say_what_it_is_says_why() -> None:
    error = client_error("AccessDenied", status=403)

    facts = OpenQueue(ScriptedClient(error), URL).inspect()

    assert facts == QueueFacts(problem=f"its attributes could not be read: {error}")


@pytest.mark.parametrize(
    "error", [client_error("AccessDenied", status=403), client_error("QueueDoesNotExist")], ids=["refused", "gone"]
)
def test_a_dead_letter_queue_that_cannot_be_looked_up_is_none_and_the_count_is_known(error: Exception) -> None:
    client = ScriptedClient(policy(deadLetterTargetArn=DEAD_ARN, maxReceiveCount=2), error)

    facts = OpenQueue(client, URL).inspect()

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
        OpenQueue(ScriptedClient(error), URL).inspect()


def test_a_dead_letter_queue_that_does_not_answer_is_not_taken_for_none() -> None:
    client = ScriptedClient(policy(deadLetterTargetArn=DEAD_ARN, maxReceiveCount=2), client_error("Busy", status=503))

    with pytest.raises(ClientError):
        OpenQueue(client, URL).inspect()


# Dead letters


def message(body: str = "ping", *, group: str = "", attributes: dict[str, Attribute] | None = None) -> Message:
    return Message("m-1", body, Kind.TEXT, body, group_id=group, sqs_attributes=attributes or {}, queue_url=URL)


def test_a_dead_letter_goes_as_it_was_received_with_its_origin(client: ScriptedClient) -> None:
    carried = {"price": Attribute("Number.price", "19.90"), "blob": Attribute("Binary.png", b"\0")}

    OpenQueue(client, URL).send_dead_letter(DEAD_URL, message(' {"id":1}\n', attributes=carried), "where from")

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


def test_a_dead_letter_that_died_before_has_its_new_origin_in_place_of_the_old(client: ScriptedClient) -> None:
    carried = {name: Attribute("String", "value") for name in "abcdefghi"} | {
        ORIGIN_ATTRIBUTE: Attribute("String", "old")
    }

    OpenQueue(client, URL).send_dead_letter(DEAD_URL, message(attributes=carried), "new")

    assert client.asked["MessageAttributes"].keys() == carried.keys()
    assert client.asked["MessageAttributes"][ORIGIN_ATTRIBUTE]["StringValue"] == "new"


def test_an_origin_that_came_with_a_dead_letter_is_dropped_where_there_is_no_room_for_its_own(
    client: ScriptedClient,
) -> None:
    carried = {"price": Attribute("Number", "5"), ORIGIN_ATTRIBUTE: Attribute("String", "forged")}

    OpenQueue(client, URL).send_dead_letter(DEAD_URL, message(attributes=carried), "")

    assert client.asked["MessageAttributes"].keys() == {"price"}


def test_a_dead_letter_goes_without_an_origin_where_none_is_given(client: ScriptedClient) -> None:
    OpenQueue(client, URL).send_dead_letter(DEAD_URL, message("x"), "")

    assert client.asked.keys() == {"QueueUrl", "MessageBody"}


def test_a_dead_letter_of_a_fifo_queue_keeps_its_group_and_is_one_however_often_it_is_sent(
    client: ScriptedClient,
) -> None:
    OpenQueue(client, FIFO_URL).send_dead_letter("dead.fifo", message(group="g"), "where from")

    assert client.asked["MessageGroupId"] == "g"
    assert client.asked["MessageDeduplicationId"] == "m-1"


def test_a_dead_letter_without_a_group_is_a_group_of_its_own_in_a_fifo_queue(client: ScriptedClient) -> None:
    OpenQueue(client, URL).send_dead_letter("dead.fifo", message(), "where from")

    assert client.asked["MessageGroupId"] == "m-1"
    assert client.asked["MessageDeduplicationId"] == "m-1"


def test_a_dead_letter_of_a_standard_queue_keeps_its_group_and_has_no_deduplication_id(client: ScriptedClient) -> None:
    OpenQueue(client, URL).send_dead_letter(DEAD_URL, message(group="tenant"), "where from")

    assert client.asked["MessageGroupId"] == "tenant"
    assert "MessageDeduplicationId" not in client.asked


def test_a_dead_letter_that_is_refused_raises() -> None:
    error = client_error("AccessDenied", status=403)

    with pytest.raises(type(error)):
        OpenQueue(ScriptedClient(error), URL).send_dead_letter(DEAD_URL, message(), "where from")
