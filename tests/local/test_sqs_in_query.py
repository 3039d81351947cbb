"""SQS in AWS Query: what SDKs from before its JSON protocol send, and curl; and XML back."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from megaflow.local import Account
from megaflow.local.server import Server
from tests.local.wire import Answer, Wire

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Account()) as server:
        yield server


class Caller:
    """Calls SQS in Query, by POST of a form unless it is told to do otherwise."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def send(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}", "", ""]
        self._wire.send("\r\n".join(lines).encode() + body)
        return self._wire.answer()

    def call(self, action: str, path: str = "/", **asked: Any) -> ElementTree.Element:
        form = urlencode({"Action": action, "Version": "2012-11-05", **asked}).encode()
        answer = self.send("POST", path, FORM, body=form)
        assert answer.status == 200, answer.body
        return ElementTree.fromstring(answer.body)

    def queue(self, name: str = "orders", **asked: str) -> str:
        return texts(self.call("CreateQueue", QueueName=name, **asked), "QueueUrl")[0]


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with Wire(server.url) as wire:
        yield Caller(wire)


def texts(document: ElementTree.Element, name: str) -> list[str]:
    return [each.text or "" for each in document.iter(f"{NAMESPACE}{name}")]


def pairs(document: ElementTree.Element, name: str, key: str = "Name") -> dict[str, str]:
    found = document.iter(f"{NAMESPACE}{name}")
    return {texts(each, key)[0]: texts(each, "Value")[0] for each in found}


def test_a_message_is_sent_received_and_deleted(caller: Caller) -> None:
    url = caller.queue()

    sent = caller.call("SendMessage", QueueUrl=url, MessageBody="a < b & \N{SNOWMAN}")
    received = caller.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, **{"AttributeName.1": "All"})
    deleted = caller.call("DeleteMessage", QueueUrl=url, ReceiptHandle=texts(received, "ReceiptHandle")[0])

    assert sent.tag == f"{NAMESPACE}SendMessageResponse"
    assert texts(received, "Body") == ["a < b & \N{SNOWMAN}"]
    assert texts(received, "MessageId") == texts(sent, "MessageId")
    assert texts(received, "MD5OfBody") == texts(sent, "MD5OfMessageBody")
    assert pairs(received, "Attribute")["ApproximateReceiveCount"] == "1"
    assert [each.tag for each in deleted] == [f"{NAMESPACE}ResponseMetadata"]
    assert texts(caller.call("GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "All"}), "Value").count("0") >= 3


def test_the_answer_has_the_form_of_the_documentation(caller: Caller) -> None:
    url = caller.queue()
    caller.call("SendMessage", QueueUrl=url, MessageBody="a")

    received = caller.call("ReceiveMessage", QueueUrl=url)

    (result, metadata) = received
    assert (result.tag, metadata.tag) == (f"{NAMESPACE}ReceiveMessageResult", f"{NAMESPACE}ResponseMetadata")
    assert [each.tag.removeprefix(NAMESPACE) for each in result] == ["Message"]
    assert [each.tag.removeprefix(NAMESPACE) for each in result[0]] == [
        *("MessageId", "ReceiptHandle", "MD5OfBody", "Body"),
    ]


def test_attributes_and_tags_of_a_queue_are_flat(caller: Caller) -> None:
    url = caller.queue(
        **{
            "Attribute.1.Name": "VisibilityTimeout",
            "Attribute.1.Value": "40",
            "Attribute.2.Name": "DelaySeconds",
            "Attribute.2.Value": "5",
            "Tag.1.Key": "team",
            "Tag.1.Value": "blue",
        }
    )

    caller.call("SetQueueAttributes", QueueUrl=url, **{"Attribute.Name": "DelaySeconds", "Attribute.Value": "6"})
    caller.call("TagQueue", QueueUrl=url, **{"Tag.1.Key": "more", "Tag.1.Value": ""})
    caller.call("UntagQueue", QueueUrl=url, **{"TagKey.1": "team"})

    shown = caller.call(
        "GetQueueAttributes",
        QueueUrl=url,
        **{"AttributeName.1": "VisibilityTimeout", "AttributeName.2": "DelaySeconds"},
    )
    assert pairs(shown, "Attribute") == {"VisibilityTimeout": "40", "DelaySeconds": "6"}
    assert pairs(caller.call("ListQueueTags", QueueUrl=url), "Tag", "Key") == {"more": ""}
    assert texts(caller.call("ListQueues", QueueNamePrefix="ord"), "QueueUrl") == [url]
    assert len(pairs(caller.call("GetQueueAttributes", QueueUrl=url, AttributeName="All"), "Attribute")) > 8


def test_message_attributes_go_there_and_back(caller: Caller) -> None:
    url = caller.queue()

    sent = caller.call(
        "SendMessage",
        QueueUrl=url,
        MessageBody="a",
        **{
            "MessageAttribute.1.Name": "colour",
            "MessageAttribute.1.Value.DataType": "String",
            "MessageAttribute.1.Value.StringValue": "red",
            "MessageAttribute.2.Name": "image",
            "MessageAttribute.2.Value.DataType": "Binary",
            "MessageAttribute.2.Value.BinaryValue": base64.b64encode(b"\x00\xff").decode(),
            "MessageSystemAttribute.1.Name": "AWSTraceHeader",
            "MessageSystemAttribute.1.Value.DataType": "String",
            "MessageSystemAttribute.1.Value.StringValue": "Root=1",
        },
    )
    received = caller.call(
        "ReceiveMessage",
        QueueUrl=url,
        **{"MessageAttributeName.1": "All", "MessageSystemAttributeName.1": "AWSTraceHeader"},
    )

    assert texts(received, "StringValue") == ["red"]
    assert [base64.b64decode(text) for text in texts(received, "BinaryValue")] == [b"\x00\xff"]
    assert texts(received, "DataType") == ["String", "Binary"]
    assert texts(received, "MD5OfMessageAttributes") == texts(sent, "MD5OfMessageAttributes")
    assert pairs(received, "Attribute") == {"AWSTraceHeader": "Root=1"}


def test_batches_are_flat(caller: Caller) -> None:
    url = caller.queue()
    entry = "SendMessageBatchRequestEntry"

    sent = caller.call(
        "SendMessageBatch",
        QueueUrl=url,
        **{
            f"{entry}.1.Id": "a",
            f"{entry}.1.MessageBody": "A",
            f"{entry}.2.Id": "b",
            f"{entry}.2.MessageBody": "B",
            f"{entry}.3.Id": "c",
            f"{entry}.3.MessageBody": "C",
            f"{entry}.3.DelaySeconds": "901",
        },
    )
    handles = texts(caller.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10), "ReceiptHandle")
    changed = caller.call(
        "ChangeMessageVisibilityBatch",
        QueueUrl=url,
        **{
            "ChangeMessageVisibilityBatchRequestEntry.1.Id": "x",
            "ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle": handles[0],
            "ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout": "60",
        },
    )
    deleted = caller.call(
        "DeleteMessageBatch",
        QueueUrl=url,
        **{
            f"DeleteMessageBatchRequestEntry.{number}.{name}": value
            for number, handle in enumerate(handles, 1)
            for name, value in (("Id", str(number)), ("ReceiptHandle", handle))
        },
    )

    assert texts(sent, "Id") == ["a", "b", "c"]
    assert len(list(sent.iter(f"{NAMESPACE}SendMessageBatchResultEntry"))) == 2
    (failed,) = sent.iter(f"{NAMESPACE}BatchResultErrorEntry")
    assert (texts(failed, "Code"), texts(failed, "SenderFault")) == (["InvalidParameterValue"], ["true"])
    assert [each.tag for each in changed[0]] == [f"{NAMESPACE}ChangeMessageVisibilityBatchResultEntry"]
    assert texts(deleted, "Id") == ["1", "2"]


def test_permissions_are_flat(caller: Caller) -> None:
    url = caller.queue()

    caller.call(
        "AddPermission",
        QueueUrl=url,
        Label="l",
        **{"AWSAccountId.1": "125074342641", "ActionName.1": "SendMessage", "ActionName.2": "ReceiveMessage"},
    )

    shown = pairs(caller.call("GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "Policy"}), "Attribute")
    assert "SQS:SendMessage" in shown["Policy"]
    assert "SQS:ReceiveMessage" in shown["Policy"]


def test_a_queue_is_called_at_its_own_path(caller: Caller) -> None:
    path = urlsplit(caller.queue()).path

    caller.call("SendMessage", path, MessageBody="a")
    answer = caller.send("GET", f"{path}/?Action=ReceiveMessage&Version=2012-11-05")

    assert texts(ElementTree.fromstring(answer.body), "Body") == ["a"]


def test_get_does_what_post_does(caller: Caller) -> None:
    created = caller.send("GET", "/?Action=CreateQueue&QueueName=by-get&Version=2012-11-05")
    unversioned = caller.send("GET", "/?Action=GetQueueUrl&QueueName=by-get")

    (url,) = texts(ElementTree.fromstring(created.body), "QueueUrl")
    assert url.endswith("/by-get")
    assert texts(ElementTree.fromstring(unversioned.body), "QueueUrl") == [url]


@pytest.mark.parametrize("path", ["/", "/000000000000/orders", "/anything/at/all"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("action", ["Nonsense", "createqueue", "ListPlatformApplications"])
def test_an_unknown_action_is_an_error_at_any_path(caller: Caller, method: str, path: str, action: str) -> None:
    answer = caller.send(method, f"{path}?Action={action}")

    assert answer.status == 400
    assert b"<Code>InvalidAction</Code>" in answer.body


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (
            {"Action": "SendMessage", "QueueUrl": "http://localhost/000000000000/nowhere", "MessageBody": "a"},
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist for this wsdl version.",
        ),
        (
            {"Action": "SendMessage", "QueueUrl": "orders"},
            "MissingParameter",
            "The request must contain the parameter MessageBody.",
        ),
        (
            {"Action": "SendMessageBatch", "QueueUrl": "orders"},
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "There should be at least one SendMessageBatchRequestEntry in the request.",
        ),
        (
            {"Action": "CreateQueue", "QueueName": "a b"},
            "InvalidParameterValue",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ),
        (
            {"Action": "SetQueueAttributes", "QueueUrl": "orders", "Attribute.1.Name": "DelaySeconds"},
            "MissingParameter",
            "The request must contain the parameter Attributes.Attribute.1.Value.",
        ),
    ],
)
def test_errors_have_the_codes_of_old(caller: Caller, asked: dict[str, str], code: str, words: str) -> None:
    caller.queue()

    answer = caller.send("POST", "/", FORM, body=urlencode({"Version": "2012-11-05", **asked}).encode())

    error = ElementTree.fromstring(answer.body)
    assert answer.status == 400
    assert error.tag == f"{NAMESPACE}ErrorResponse"
    assert (texts(error, "Type"), texts(error, "Code"), texts(error, "Message")) == (["Sender"], [code], [words])
    assert texts(error, "RequestId") != []


def test_a_browser_that_does_not_say_where_it_is_from_calls_nothing(caller: Caller) -> None:
    agent = "User-Agent: Mozilla/5.0"

    refused = caller.send("GET", "/?Action=CreateQueue&QueueName=a", agent)
    typed = caller.send("GET", "/?Action=CreateQueue&QueueName=b", agent, "Sec-Fetch-Site: none")
    elsewhere = caller.send("GET", "/?Action=CreateQueue&QueueName=c", agent, "Sec-Fetch-Site: cross-site")

    assert [refused.status, typed.status, elsewhere.status] == [403, 200, 403]
    assert [url.rpartition("/")[2] for url in texts(caller.call("ListQueues"), "QueueUrl")] == ["b"]


def test_what_is_signed_for_sqs_needs_no_version(caller: Caller) -> None:
    scope = "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sqs/aws4_request, Signature=0"
    url = caller.queue()

    answer = caller.send(
        "POST", "/", FORM, scope, body=urlencode({"Action": "RemovePermission", "QueueUrl": url}).encode()
    )

    assert b"Label" in answer.body
    assert NAMESPACE.strip("{}").encode() in answer.body


def test_parameters_in_the_url_and_in_the_body_go_together(server: Server, caller: Caller) -> None:
    url = caller.queue()

    answer = caller.send(
        "POST", f"/?{urlencode({'Action': 'SendMessage', 'QueueUrl': url})}", FORM, body=b"MessageBody=a"
    )

    assert answer.status == 200
    assert server.account.queues["orders"].queue.counts()["ApproximateNumberOfMessages"] == 1


def test_sns_takes_its_parameters_from_the_url(caller: Caller) -> None:
    created = caller.send("POST", "/?Action=CreateTopic&Name=news&Version=2010-03-31")

    published = caller.send(
        "POST",
        f"/?{urlencode({'Action': 'Publish', 'TopicArn': 'arn:aws:sns:us-east-1:000000000000:news', 'Message': 'x'})}",
    )

    assert (created.status, published.status) == (200, 200)
    assert b"<PublishResult><MessageId>" in published.body
