"""The same calls with boto3 and on the wire: what arrives, what is returned, what is raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from megaflow.wire.client import WireClient
from tests.wire.scripted import BOTOCORE, QUEUE_URL, Request, answer, scripted

HANDLE, TEXT = "AQEB+/=", {"DataType": "String", "StringValue": "wörld"}
BINARY = {"DataType": "Binary.png", "BinaryValue": b"\0\xff"}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "receive": (
        "receive_message",
        {
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": 20,
            "VisibilityTimeout": 0,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
            "ReceiveRequestAttemptId": "a-1",
        },
    ),
    "receive one": ("receive_message", {}),
    "send": ("send_message", {"MessageBody": 'é"\n\U0001f600\x7f', "DelaySeconds": 3}),
    "send attributes": (
        "send_message",
        {
            "MessageBody": "x",
            "MessageAttributes": {"text": TEXT, "image": BINARY},
            "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
            "MessageGroupId": "g",
            "MessageDeduplicationId": "d",
        },
    ),
    "send text as binary": (
        "send_message",
        {"MessageBody": "x", "MessageAttributes": {"b": {"DataType": "Binary", "BinaryValue": "text"}}},
    ),
    "send several": (
        "send_message_batch",
        {"Entries": [{"Id": str(n), "MessageBody": "x", "MessageAttributes": {"b": BINARY}} for n in range(10)]},
    ),
    "delete": ("delete_message", {"ReceiptHandle": HANDLE}),
    "delete several": ("delete_message_batch", {"Entries": [{"Id": "a", "ReceiptHandle": HANDLE}]}),
    "hide": ("change_message_visibility", {"ReceiptHandle": HANDLE, "VisibilityTimeout": 43_200}),
    "hide several": (
        "change_message_visibility_batch",
        {"Entries": [{"Id": "a", "ReceiptHandle": HANDLE, "VisibilityTimeout": 0}]},
    ),
    "as boto3 takes it": ("receive_message", {"MaxNumberOfMessages": True, "MessageAttributeNames": ("a", "b")}),
}
OWN = {"x-amz-date", "authorization", "amz-sdk-invocation-id"}
"""What no two requests have in common."""


def comparable(request: Request) -> tuple[object, ...]:
    headers = {name: value for name, value in request.headers.items() if name not in OWN}
    # boto3 counts there which of its own features a call has used.
    headers["user-agent"] = re.sub(r" m/\S+| cfg/\S+", "", headers["user-agent"])
    if BOTOCORE < (1, 44):  # it says how many attempts there are from the second one on
        headers["amz-sdk-request"] = headers["amz-sdk-request"].removesuffix("; max=3")
    return request.line, headers, request.body, set(request.headers), _signed(request)


def _signed(request: Request) -> str:
    found = re.search(
        "Credential=([^,]*), SignedHeaders=([^,]*), Signature=[0-9a-f]{64}$", request.headers["authorization"]
    )
    assert found is not None
    return f"{found[1]} {found[2]}"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("token", [None, "token/+="])
def test_what_arrives_is_the_same(name: str, token: str | None) -> None:
    method, parameters = CALLS[name]
    said = answer(b'{"MessageId": "m-1", "MD5OfMessageBody": "x"}') if method == "send_message" else answer()
    with scripted(said, said) as server:
        boto3 = server.client(aws_session_token=token)
        wire = WireClient(boto3)

        for client in (boto3, wire):
            getattr(client, method)(QueueUrl=QUEUE_URL, **parameters)
        wire.close()

    by_boto3, by_wire = map(comparable, server.requests)
    assert by_wire == by_boto3


def test_lambdas_trace_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759;Parent=é")
    with scripted() as server:
        boto3 = server.client()
        for client in (boto3, WireClient(boto3)):
            client.receive_message(QueueUrl=QUEUE_URL)

    traces = [request.headers["x-amzn-trace-id"] for request in server.requests]
    assert traces == ["Root=1-5759;Parent=%C3%A9"] * 2


MESSAGES = (
    b'{"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "Unknown": 1, "MD5OfBody": null,'
    b' "Attributes": {"SentTimestamp": "1"}, "MessageAttributes":'
    b' {"b": {"DataType": "Binary", "BinaryValue": "AP8="}, "s": {"DataType": "String", "StringValue": "\xc3\xa9"}}}]}'
)
BATCH = b'{"Successful": [{"Id": "a"}], "Failed": [{"Id": "b", "SenderFault": false, "Code": "C", "Message": "m"}]}'


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("receive", answer(b"{}")),
        ("receive", answer(b"")),
        ("receive", answer(b'{"Messages": null}')),
        ("receive", answer(b'{"Messages": []}')),
        ("receive", answer(MESSAGES)),
        ("send", answer(b'{"MessageId": "m", "MD5OfMessageBody": "x", "SequenceNumber": "18849496460467696128"}')),
        ("delete", answer(b"")),
        ("delete several", answer(BATCH)),
        ("hide several", answer(BATCH, X_Odd="1")),
        ("delete several", answer(b'{"Successful": null, "Failed": [{"Id": "0"}], "Else": {}}')),
    ],
)
def test_what_is_returned_is_the_same(name: str, said: bytes) -> None:
    assert outcome(name, said, wire=True) == outcome(name, said, wire=False)


def coded(code: str, status: str = "400 Bad Request", **headers: str) -> bytes:
    return answer(f'{{"__type": "com.amazonaws.sqs#{code}", "message": "said AWS"}}'.encode(), status=status, **headers)


@pytest.mark.parametrize(
    "said",
    [
        coded("QueueDoesNotExist", x_amzn_query_error="AWS.SimpleQueueService.NonExistentQueue;Sender"),
        coded("QueueDoesNotExist"),
        coded("OverLimit", x_amzn_query_error="OverLimit;Sender"),
        coded("ReceiptHandleIsInvalid", x_amzn_query_error="ReceiptHandleIsInvalid;Sender"),
        coded("UnrecognizedClientException", "403 Forbidden"),
        coded("ExpiredTokenException", "403 Forbidden"),
        coded("InvalidParameterValue", x_amzn_query_error="odd"),
        answer(b'{"Message": "no code"}', status="400 Bad Request"),
        answer(b"", status="413 Too Large"),
        answer(b"not here", status="404 Not Found"),
        answer(b"", status="301 Moved Permanently", location="https://example.com/"),
        answer(b"{}", status="307 Temporary Redirect", location="https://example.com/"),
        answer(b"<html><body>Not me</body></html>", status="405 Method Not Allowed"),
        answer(b"<html>Busy</html>", status="503 Service Unavailable"),
        answer(b"", status="500 Internal Server Error"),
        coded("InternalError", "500 Internal Server Error", x_amzn_query_error="InternalError;Receiver"),
        coded("RequestThrottled", x_amzn_query_error="RequestThrottled;Sender"),
        answer(b"slow down", status="429 Too Many Requests"),
    ],
)
def test_what_is_raised_is_the_same(said: bytes) -> None:
    raised, other = (outcome("receive", *([said] * 3), wire=wire) for wire in (True, False))

    if "RequestId" not in other["ResponseMetadata"]:
        # Where the error is not SQS's own, boto3 forgets it.
        del raised["ResponseMetadata"]["RequestId"]
    assert raised == other
    assert "Error" in raised


def outcome(name: str, *script: bytes, wire: bool) -> Mapping[str, Any]:
    """Return what a call returns, or what the response of its error says, and which error it is."""
    method, parameters = CALLS[name]
    with scripted(*script) as server:
        boto3 = server.client(config=Config(retries={"total_max_attempts": 1, "mode": "standard"}))
        client = WireClient(boto3) if wire else boto3
        try:
            answered: Mapping[str, Any] = getattr(client, method)(QueueUrl=QUEUE_URL, **parameters)
        except ClientError as error:
            kinds = [kind.__qualname__ for kind in type(error).__mro__]
            answered = {**error.response, "kinds": kinds, "text": str(error)}
        client.close()
    return answered


@pytest.mark.parametrize(
    "parameters",
    [{}, {"QueueUrl": 7}, {"QueueUrl": QUEUE_URL, "Max": 1}, {"QueueUrl": QUEUE_URL, "MaxNumberOfMessages": "1"}],
)
def test_wrong_parameters_are_refused_in_boto3s_words_and_nothing_is_sent(parameters: dict[str, Any]) -> None:
    said: list[str] = []
    with scripted() as server:
        boto3 = server.client()
        for client in (boto3, WireClient(boto3)):
            with pytest.raises(ParamValidationError) as raised:
                client.receive_message(**parameters)
            said.append(str(raised.value))

    assert said[0] == said[1]
    assert server.requests == []


def test_what_is_not_hot_is_boto3s_own() -> None:
    with scripted(answer(b'{"QueueUrl": "u"}')) as server:
        boto3 = server.client()
        wire = WireClient(boto3)

        assert wire.get_queue_url(QueueName="q")["QueueUrl"] == "u"
        assert wire.meta is boto3.meta
        paginator: Callable[..., object] = wire.get_paginator
        assert paginator == boto3.get_paginator
