"""What comes over HTTP, byte by byte: as SDKs send it, and as they had better not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import boto3
import pytest
from botocore.config import Config

from megaflow.local.account import Account
from megaflow.local.server import Server
from tests.local.wire import Answer, HttpShop, Wire, in_json, in_query, post

Dial = Callable[[], Wire]

JS_HEADERS = (
    "content-type: application/x-amz-json-1.0",
    "x-amzn-query-mode: true",
    "x-amz-user-agent: aws-sdk-js/3.1168.0",
    "user-agent: aws-sdk-js/3.1168.0 ua/2.1 os/linux#6.18 lang/js md/nodejs#20.20.2 api/sqs#3.1168.0 m/N,E,e",
    "amz-sdk-invocation-id: 50ec9b8f-7d83-4055-8ccd-1376a2cd1baa",
    "amz-sdk-request: attempt=1; max=3",
    "x-amz-date: 20261124T000426Z",
    "x-amz-content-sha256: 3ea67df38a21aa3733668a2da95e25f7d646e583c66d9fe77c7cdc44fc62e3ea",
    "authorization: AWS4-HMAC-SHA256 Credential=any/20261124/us-east-1/sqs/aws4_request, Signature=bebd5a34",
    "Connection: keep-alive",
)
CLI_HEADERS = (
    "Accept-Encoding: identity",
    "Content-Type: application/x-amz-json-1.0",
    "x-amzn-query-mode: true",
    "User-Agent: aws-cli/1.46.3 md/Botocore#1.43.62 ua/2.1 os/linux#6.18 cfg/retry-mode#legacy botocore/1.43.62",
    "X-Amz-Date: 20261124T000619Z",
    "Authorization: AWS4-HMAC-SHA256 Credential=any/20261124/us-east-1/sqs/aws4_request, Signature=1ebefccc",
    "amz-sdk-invocation-id: fccc095d-52b6-4573-ae65-2dad93c13743",
    "amz-sdk-request: attempt=1",
)
SIZE = 8 * 1024 * 1024
"""Bytes that a request can have."""


@pytest.fixture(scope="module")
def shop() -> Iterator[HttpShop]:
    made = HttpShop()
    with Server(made.account):
        yield made


@pytest.fixture
def dial(shop: HttpShop) -> Iterator[Dial]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(Wire(shop.account.url))


@pytest.fixture
def wire(dial: Dial) -> Wire:
    return dial()


def exchange(wire: Wire, request: bytes) -> Answer:
    wire.send(request)
    return wire.answer()


@pytest.mark.parametrize("headers", [JS_HEADERS, CLI_HEADERS])
def test_sqs_is_spoken_with_the_headers_of_each_sdk(shop: HttpShop, wire: Wire, headers: tuple[str, ...]) -> None:
    url = shop.fresh_queue()
    body = f'{{"QueueUrl":"{url}","MessageBody":"h\u00e9llo <&> \u2028 \U0001f600"}}'.encode()

    sent = exchange(wire, post(body, "x-amz-target: AmazonSQS.SendMessage", *headers))

    assert (sent.status, sent.headers["content-type"]) == (200, "application/x-amz-json-1.0")
    assert shop.bodies(url) == ["h\u00e9llo <&> \u2028 \U0001f600"]


def test_an_sdk_learns_the_code_an_error_had_before_sqs_spoke_json(wire: Wire) -> None:
    answer = exchange(wire, post(b'{"QueueName":"none"}', "x-amz-target: AmazonSQS.GetQueueUrl", *JS_HEADERS))

    assert answer.status == 400
    assert answer.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert answer.json["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"


def test_sns_is_spoken_as_the_sdk_for_javascript_does(shop: HttpShop, wire: Wire) -> None:
    url, topic = shop.fresh_queue(), shop.sns.create_topic(Name="news")["TopicArn"]
    arn = shop.account.queue(url).queue.arn
    shop.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    form = (
        b"Action=Publish&Version=2010-03-31&Message=a%2Bb%20%26%3D%25%20h%C3%A9llo%0A%F0%9F%98%80"
        b"&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A000000000000%3Anews&Subject=s&MessageAttributes.entry.1.Name=b"
        b"&MessageAttributes.entry.1.Value.DataType=Binary&MessageAttributes.entry.1.Value.BinaryValue=AP8%3D"
    )

    published = exchange(wire, post(form, "content-type: application/x-www-form-urlencoded", *JS_HEADERS[2:]))
    (message,) = shop.receive(url, MessageAttributeNames=["All"])

    assert (published.status, published.headers["content-type"]) == (200, "text/xml")
    assert message["Body"] == "a+b &=% h\u00e9llo\n\U0001f600"
    assert message["MessageAttributes"] == {"b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}


def test_a_request_is_taken_at_the_path_of_its_queue(shop: HttpShop, wire: Wire) -> None:
    url = shop.fresh_queue()
    ask = json.dumps({"QueueUrl": url, "MessageBody": "a"}).encode()
    path = url.removeprefix(shop.account.url)

    answer = exchange(wire, post(ask, "X-Amz-Target: AmazonSQS.SendMessage", path=path))

    assert "MessageId" in answer.json


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_the_header_that_names_the_operation_says_what_is_spoken(wire: Wire, content_type: str) -> None:
    request = post(b"{}", "X-Amz-Target: AmazonSQS.ListQueues", f"Content-Type: {content_type}")

    assert exchange(wire, request).status == 200


def test_each_answer_has_an_id_of_its_own(wire: Wire) -> None:
    requests = [in_json("ListQueues"), in_json("GetQueueUrl", QueueName="none"), in_query("ListTopics"), in_query("No")]

    ids = [exchange(wire, request).headers["x-amzn-requestid"] for request in requests]

    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("request_", "name", "words"),
    [
        (in_json("SendMassage"), "UnknownOperationException", "SQS has no operation SendMassage"),
        (post(b"{}", "X-Amz-Target: AmazonSNS.Publish"), "UnknownOperationException", "no operation AmazonSNS.Publish"),
        (post(b"{}", "X-Amz-Target: DynamoDB_20120810.PutItem"), "UnknownOperationException", "DynamoDB_20120810.Put"),
        (post(b"{}", "X-Amz-Target: ListQueues"), "UnknownOperationException", "no operation ListQueues"),
        (post(b"{}", "Content-Type: application/json"), "UnknownOperationException", "the header X-Amz-Target"),
        (in_json("SendMessage"), "MissingRequiredParameterException", "QueueUrl"),
        (post(b"", "X-Amz-Target: AmazonSQS.GetQueueUrl"), "MissingRequiredParameterException", "QueueName"),
        (post(b"nonsense", "X-Amz-Target: AmazonSQS.ListQueues"), "SerializationException", "not valid JSON"),
        (post(b"\xff\xfe", "X-Amz-Target: AmazonSQS.ListQueues"), "SerializationException", "not valid JSON"),
        (post(b"[]", "X-Amz-Target: AmazonSQS.ListQueues"), "SerializationException", "list"),
    ],
)
def test_what_is_no_call_of_sqs_is_refused(wire: Wire, request_: bytes, name: str, words: str) -> None:
    answer = exchange(wire, request_)

    assert answer.status == 400
    assert answer.json["__type"].rpartition("#")[2] == name
    assert words in answer.json["message"]


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (in_query("Publisch"), "InvalidAction", "SNS has no operation Publisch"),
        (in_query("ListPlatformApplications"), "InvalidAction", "embedded SNS has no operation"),
        (in_query("CreateTopic"), "ValidationError", "name"),
        (post(b""), "InvalidAction", "the parameter Action"),
        (post(b"nonsense", "Content-Type: text/plain"), "InvalidAction", "the parameter Action"),
        (post(b"Action=%ff"), "MalformedInput", "UTF-8"),
    ],
)
def test_what_is_no_call_of_sns_is_refused(wire: Wire, request_: bytes, code: str, words: str) -> None:
    answer = exchange(wire, request_)

    assert answer.status == 400
    assert f"<Code>{code}</Code>" in answer.body.decode()
    assert words in answer.body.decode()


def test_a_message_can_speak_of_the_version_of_sqs(shop: HttpShop, wire: Wire) -> None:
    topic = shop.sns.create_topic(Name="versions")["TopicArn"]

    answer = exchange(wire, in_query("Publish", TopicArn=topic, Message="Version=2012-11-05"))

    assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", ""),
        ("GET", "?MessageBody=a"),
        *((method, "?Action=ReceiveMessage") for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")),
    ],
)
def test_a_queue_has_no_page(shop: HttpShop, wire: Wire, method: str, query: str) -> None:
    path = shop.fresh_queue().removeprefix(shop.account.url)

    wire.send(f"{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = wire.answer(bodiless=method == "HEAD")

    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert b"POST" in answer.body or method == "HEAD"


def test_it_says_what_it_is_to_a_browser(wire: Wire) -> None:
    answer = exchange(wire, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert answer.status == 200
    assert b"SQS and SNS on this machine" in answer.body


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n"],
)
def test_what_is_not_http_is_refused_and_others_are_served(dial: Dial, request_: bytes) -> None:
    answer = exchange(dial(), request_)

    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert dial().call("ListQueues").status == 200


def test_a_body_that_is_too_long_is_refused_before_it_comes(wire: Wire) -> None:
    body = b"{}".ljust(SIZE + 1)
    request = post(body, "X-Amz-Target: AmazonSQS.ListQueues")

    wire.send(request[: -len(body)])
    refused = wire.answer()
    wire.send(body)
    next_one = wire.call("ListQueues")

    assert (refused.status, refused.json["__type"].rpartition("#")[2]) == (413, "RequestEntityTooLarge")
    assert next_one.status == 200


def test_a_body_can_have_eight_mebibytes(wire: Wire) -> None:
    answer = exchange(wire, post(b"{}".ljust(SIZE), "X-Amz-Target: AmazonSQS.ListQueues"))

    assert answer.status == 200


def chunked(*chunks: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


def test_a_body_can_come_in_chunks(shop: HttpShop, wire: Wire) -> None:
    url = shop.fresh_queue()
    body = json.dumps({"QueueUrl": url, "MessageBody": "a"}).encode()

    answer = exchange(wire, chunked(body[:9], body[9:], b""))

    assert answer.status == 200
    assert shop.bodies(url) == ["a"]


def test_chunks_that_get_too_many_are_refused_before_they_end(wire: Wire) -> None:
    answer = exchange(wire, chunked(*[b" " * 1024 * 1024] * 9))

    assert answer.status == 413


def test_who_expects_to_be_told_to_go_on_is_told(wire: Wire) -> None:
    request = post(b"{}", "X-Amz-Target: AmazonSQS.ListQueues", "Expect: 100-continue")

    wire.send(request[:-2])
    told = wire.answer()
    answer = exchange(wire, b"{}")

    assert (told.status, answer.status) == (100, 200)


def test_a_compressed_body_is_refused(wire: Wire) -> None:
    request = post(gzip.compress(b"{}"), "X-Amz-Target: AmazonSQS.ListQueues", "Content-Encoding: gzip")

    answer = exchange(wire, request)

    assert answer.status == 415
    assert "gzip" in answer.json["message"]


def test_http_1_0_is_answered_and_closed(wire: Wire) -> None:
    answer = exchange(wire, in_json("ListQueues").replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert answer.status == 200
    assert wire.is_closed()


class BrokenJournal:
    def write(self, account: Account, touched: object) -> None:
        raise ZeroDivisionError("a bug")


def test_a_bug_fails_its_call_is_logged_once_and_hurts_no_other(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    shop = HttpShop()
    with Server(shop.account) as server, Wire(server.url) as wire:
        shop.account.journal = BrokenJournal()

        failed = wire.call("CreateQueue", QueueName="orders")
        shop.account.journal = None
        next_one = wire.call("ListQueues")

    (record,) = caplog.records
    assert (failed.status, next_one.status) == (500, 200)
    assert failed.json["__type"] == "com.amazon.coral.service#InternalFailure"
    assert failed.headers["x-amzn-query-error"] == "InternalFailure;Receiver"
    assert failed.headers["x-amzn-requestid"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.fixture(scope="module")
def boto(shop: HttpShop) -> Iterator[Callable[[str], Any]]:
    """Give boto3's clients, which try calls again as they usually do."""
    session = boto3.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")
    with ExitStack() as opened:
        made = {
            name: opened.enter_context(
                closing(session.client(name, endpoint_url=shop.account.url, config=Config(proxies={})))
            )
            for name in ("sqs", "sns")
        }
        yield made.__getitem__


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "error"),
    [
        ("sqs", "get_queue_url", {"QueueName": "none"}, "QueueDoesNotExist"),
        ("sqs", "create_queue", {"QueueName": "taken", "Attributes": {"DelaySeconds": "1"}}, "QueueNameExists"),
        ("sqs", "delete_message", {"QueueUrl": "{url}", "ReceiptHandle": "x"}, "ReceiptHandleIsInvalid"),
        ("sqs", "send_message", {"QueueUrl": "{url}", "MessageBody": "\x01"}, "InvalidMessageContents"),
        ("sqs", "send_message_batch", {"QueueUrl": "{url}", "Entries": []}, "EmptyBatchRequest"),
        (
            "sqs",
            "get_queue_attributes",
            {"QueueUrl": "{url}", "AttributeNames": ["Colour"]},
            "InvalidAttributeName",
        ),
        ("sns", "get_topic_attributes", {"TopicArn": "arn:aws:sns:us-east-1:000000000000:none"}, "NotFoundException"),
        ("sns", "create_topic", {"Name": "no name"}, "InvalidParameterException"),
        (
            "sns",
            "tag_resource",
            {"ResourceArn": "arn:aws:sns:us-east-1:000000000000:none", "Tags": []},
            "ResourceNotFoundException",
        ),
    ],
)
def test_boto3_raises_its_own_errors_and_does_not_try_again(
    shop: HttpShop,
    boto: Callable[[str], Any],
    service: str,
    operation: str,
    parameters: dict[str, Any],
    error: str,
) -> None:
    client, url = boto(service), shop.queue("taken")
    parameters = {name: url if value == "{url}" else value for name, value in parameters.items()}

    with pytest.raises(getattr(client.exceptions, error)) as raised:
        getattr(client, operation)(**parameters)

    metadata = raised.value.response["ResponseMetadata"]
    assert (metadata["RetryAttempts"], metadata["HTTPStatusCode"] // 100) == (0, 4)
    assert len(metadata["RequestId"]) == 36
