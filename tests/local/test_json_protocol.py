from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.model import DenormalizedStructureBuilder
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from megaflow.local.calls import SERVICES
from megaflow.local.http import json_protocol
from megaflow.local.refused import Refused, invalid_value, missing, sqs_code
from megaflow.local.shapes import service_model
from tests.local.conftest import Shop
from tests.local.shape_strategies import answers_of, asks_of

URL = "http://localhost:4100/123456789012/orders"
ATTRIBUTES = {
    "colour": {"DataType": "String", "StringValue": "grün \N{PINE DECORATION} \x07"},
    "count": {"DataType": "Number", "StringValue": "12"},
    "image": {"DataType": "Binary.png", "BinaryValue": bytes(range(256))},
}
TRACE = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}
RICH: dict[str, dict[str, Any]] = {
    "CreateQueue": {"QueueName": "orders", "Attributes": {"DelaySeconds": "3"}, "tags": {"team": "blue"}},
    "StartMessageMoveTask": {"SourceArn": "s", "DestinationArn": "d", "MaxNumberOfMessagesPerSecond": 500},
    "CancelMessageMoveTask": {"TaskHandle": "t"},
    "ListMessageMoveTasks": {"SourceArn": "s", "MaxResults": 10},
    "AddPermission": {"QueueUrl": URL, "Label": "l", "AWSAccountIds": ["1"], "Actions": ["*", "SendMessage"]},
    "RemovePermission": {"QueueUrl": URL, "Label": "l"},
    "DeleteQueue": {"QueueUrl": URL},
    "GetQueueUrl": {"QueueName": "orders", "QueueOwnerAWSAccountId": "123456789012"},
    "ListQueues": {"QueueNamePrefix": "o", "NextToken": "t", "MaxResults": 7},
    "ListDeadLetterSourceQueues": {"QueueUrl": URL, "NextToken": "t", "MaxResults": 7},
    "GetQueueAttributes": {"QueueUrl": URL, "AttributeNames": ["All", "QueueArn"]},
    "SetQueueAttributes": {"QueueUrl": URL, "Attributes": {"RedrivePolicy": '{"maxReceiveCount": "3"}'}},
    "PurgeQueue": {"QueueUrl": URL},
    "TagQueue": {"QueueUrl": URL, "Tags": {"team": "blue", "": ""}},
    "UntagQueue": {"QueueUrl": URL, "TagKeys": ["team"]},
    "ListQueueTags": {"QueueUrl": URL},
    "SendMessage": {
        "QueueUrl": URL,
        "MessageBody": 'A "body"\r\n\t\\ & <tag> \N{SNOWMAN}',
        "DelaySeconds": 3,
        "MessageAttributes": ATTRIBUTES,
        "MessageSystemAttributes": TRACE,
        "MessageDeduplicationId": "d",
        "MessageGroupId": "g",
    },
    "SendMessageBatch": {
        "QueueUrl": URL,
        "Entries": [
            {"Id": "1", "MessageBody": "one", "MessageAttributes": ATTRIBUTES, "DelaySeconds": 0},
            {"Id": "2", "MessageBody": "", "MessageAttributes": {}, "MessageGroupId": "g"},
        ],
    },
    "ReceiveMessage": {
        "QueueUrl": URL,
        "AttributeNames": ["All"],
        "MessageSystemAttributeNames": ["SenderId"],
        "MessageAttributeNames": ["colour", "im.*"],
        "MaxNumberOfMessages": 10,
        "VisibilityTimeout": 0,
        "WaitTimeSeconds": 20,
        "ReceiveRequestAttemptId": "a",
    },
    "DeleteMessage": {"QueueUrl": URL, "ReceiptHandle": "h"},
    "DeleteMessageBatch": {"QueueUrl": URL, "Entries": [{"Id": "1", "ReceiptHandle": "h"}]},
    "ChangeMessageVisibility": {"QueueUrl": URL, "ReceiptHandle": "h", "VisibilityTimeout": 0},
    "ChangeMessageVisibilityBatch": {
        "QueueUrl": URL,
        "Entries": [{"Id": "1", "ReceiptHandle": "h", "VisibilityTimeout": 30}, {"Id": "2", "ReceiptHandle": "i"}],
    },
}


def sent(operation: str, ask: dict[str, Any]) -> bytes:
    """Return what boto3 sends."""
    serializer = create_serializer("json", include_validation=False)
    body: bytes = serializer.serialize_to_request(ask, service_model("sqs").operation_model(operation))["body"]
    return body


def got(operation: str, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what boto3 gives its caller."""
    shape = service_model("sqs").operation_model(operation).output_shape
    response = {"status_code": status, "headers": headers or {}, "body": body}
    parsed: dict[str, Any] = create_parser("json").parse(response, shape)
    del parsed["ResponseMetadata"]
    return parsed


def refusal(operation: str, body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        json_protocol.read(operation, body)
    return caught.value


def read_or_refused(operation: str, body: bytes) -> dict[str, Any] | Refused:
    try:
        return json_protocol.read(operation, body)
    except Refused as refused:
        return refused


# Reading


def test_there_is_an_example_of_every_operation() -> None:
    assert set(SERVICES["sqs"]) <= set(RICH) <= set(service_model("sqs").operation_names)


@pytest.mark.parametrize("operation", RICH)
def test_what_boto3_sends_is_what_it_was_given(operation: str) -> None:
    assert json_protocol.read(operation, sent(operation, RICH[operation])) == RICH[operation]


@given(st.data())
def test_whatever_boto3_sends_is_what_it_was_given(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(SERVICES["sqs"])))
    ask = data.draw(asks_of("sqs", operation))

    assert json_protocol.read(operation, sent(operation, ask)) == ask


@pytest.mark.parametrize("operation", sorted(service_model("sqs").operation_names))
def test_every_operation_of_the_model_can_be_read(operation: str) -> None:
    required = service_model("sqs").operation_model(operation).input_shape.required_members

    if required:
        assert refusal(operation, b"{}").name == "MissingParameter"
    else:
        assert json_protocol.read(operation, b"{}") == {}


def test_types_that_only_a_later_botocore_has_are_taken_as_they_come() -> None:
    members = {"Flag": {"type": "boolean"}, "Count": {"type": "long"}}
    shape = DenormalizedStructureBuilder().with_members(members).build_model()

    read = json_protocol._compile(shape, "")

    assert read({"Flag": True, "Count": 2**40}) == {"Flag": True, "Count": 2**40}


def test_an_empty_body_asks_for_nothing_in_particular() -> None:
    assert json_protocol.read("ListQueues", b"") == {}


def test_nulls_and_what_the_model_does_not_know_are_left_out() -> None:
    body = b"""{"QueueUrl": "u", "MessageBody": "b", "DelaySeconds": null, "Colour": {"a": [1e9]}, "MessageAttributes":
        {"none": null, "one": {"DataType": "String", "StringValue": "v", "BinaryValue": null, "X": 1}}}"""

    ask = json_protocol.read("SendMessage", body)

    assert ask == {
        "QueueUrl": "u",
        "MessageBody": "b",
        "MessageAttributes": {"one": {"DataType": "String", "StringValue": "v"}},
    }


def test_nulls_in_a_list_are_left_out() -> None:
    ask = json_protocol.read("UntagQueue", b'{"QueueUrl": "u", "TagKeys": [null, "a", null]}')

    assert ask["TagKeys"] == ["a"]


@pytest.mark.parametrize(
    ("operation", "body", "ask"),
    [
        pytest.param(
            "ReceiveMessage",
            b'{"QueueUrl":"u","MessageAttributeNames":["All"],"MaxNumberOfMessages":10,"WaitTimeSeconds":20}',
            {"QueueUrl": "u", "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20},
            id="java",
        ),
        pytest.param(
            "SendMessage",
            '{"MessageBody":"\\u003cgrün\\u003e \\u0026 \\u2028","QueueUrl":"u"}'.encode(),
            {"MessageBody": "<grün> & \u2028", "QueueUrl": "u"},
            id="go",
        ),
        pytest.param(
            "SendMessage",
            b'{"MessageAttributes":{"b":{"BinaryValue":"\\u002B/8=","DataType":"Binary"}},'
            b'"MessageBody":"{\\u0022a\\u0022:\\u00221\\u0022} \\uD83D\\uDE00","QueueUrl":"u"}',
            {
                "MessageAttributes": {"b": {"BinaryValue": b"\xfb\xff", "DataType": "Binary"}},
                "MessageBody": '{"a":"1"} \N{GRINNING FACE}',
                "QueueUrl": "u",
            },
            id="dotnet",
        ),
        pytest.param(
            "SendMessage",
            b'{"QueueUrl":"http:\\/\\/localhost\\/1\\/q","MessageBody":"b","DelaySeconds":5}',
            {"QueueUrl": "http://localhost/1/q", "MessageBody": "b", "DelaySeconds": 5},
            id="php",
        ),
        pytest.param(
            "ChangeMessageVisibility",
            b' {\n "QueueUrl" : "u", "ReceiptHandle" : "h", "VisibilityTimeout" : 3.0e1 } \r\n',
            {"QueueUrl": "u", "ReceiptHandle": "h", "VisibilityTimeout": 30},
            id="by hand",
        ),
    ],
)
def test_other_senders_are_understood(operation: str, body: bytes, ask: dict[str, Any]) -> None:
    assert json_protocol.read(operation, body) == ask


@pytest.mark.parametrize(("number", "read"), [("10.0", 10), ("10.9", 10), ("-0.5", 0), ("1e1", 10), ("-3", -3)])
def test_a_fraction_is_cut_off(number: str, read: int) -> None:
    ask = json_protocol.read("ReceiveMessage", b'{"QueueUrl": "u", "MaxNumberOfMessages": %s}' % number.encode())

    assert ask["MaxNumberOfMessages"] == read
    assert type(ask["MaxNumberOfMessages"]) is int


# What is refused


@pytest.mark.parametrize(
    ("operation", "body", "parameter"),
    [
        ("DeleteQueue", {}, "QueueUrl"),
        ("DeleteQueue", {"QueueUrl": None}, "QueueUrl"),
        ("SendMessage", {"QueueUrl": "u"}, "MessageBody"),
        ("SendMessageBatch", {"QueueUrl": "u"}, "Entries"),
        ("SendMessageBatch", {"QueueUrl": "u", "Entries": [{}]}, "SendMessageBatchRequestEntry.1.Id"),
        (
            "DeleteMessageBatch",
            {"QueueUrl": "u", "Entries": [{"Id": "1", "ReceiptHandle": "h"}, {"Id": "2"}]},
            "DeleteMessageBatchRequestEntry.2.ReceiptHandle",
        ),
        (
            "SendMessageBatch",
            {"QueueUrl": "u", "Entries": [{"Id": "1", "MessageBody": "b", "MessageAttributes": {"red": {}}}]},
            "SendMessageBatchRequestEntry.1.MessageAttributes.red.DataType",
        ),
    ],
)
def test_a_missing_parameter_is_named(operation: str, body: dict[str, Any], parameter: str) -> None:
    refused = refusal(operation, json.dumps(body).encode())

    assert refused.name == "MissingParameter"
    assert refused.message == f"The request must contain the parameter {parameter}."
    assert refused.status == 400


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("QueueUrl", "1", "NUMBER_VALUE can not be converted to a String"),
        ("MessageBody", "1", "NUMBER_VALUE can not be converted to a String"),
        ("QueueUrl", "1.5", "NUMBER_VALUE can not be converted to a String"),
        ("QueueUrl", "true", "TRUE_VALUE can not be converted to a String"),
        ("QueueUrl", "[]", "Start of list found where not expected"),
        ("QueueUrl", "{}", "Start of structure or map found where not expected."),
        ("DelaySeconds", '"1"', "STRING_VALUE can not be converted to an Integer"),
        ("DelaySeconds", "false", "FALSE_VALUE can not be converted to an Integer"),
        ("DelaySeconds", "2147483648", "NUMBER_VALUE can not be converted to an Integer"),
        ("DelaySeconds", "-2147483649.0", "NUMBER_VALUE can not be converted to an Integer"),
        ("DelaySeconds", "1e999", "NUMBER_VALUE can not be converted to an Integer"),
        ("DelaySeconds", "[1]", "Start of list found where not expected"),
        ("MessageAttributes", '"a"', "Expected map or null"),
        ("MessageAttributes", "[]", "Start of list found where not expected"),
        ("MessageAttributes", '{"a": 1}', "Expected null"),
        ("MessageAttributes", '{"a": {"BinaryValue": 1}}', "NUMBER_VALUE can not be converted to a Blob"),
        ("MessageAttributes", '{"a": {"StringListValues": "a"}}', "Expected list or null"),
        (
            "MessageAttributes",
            '{"a": {"StringListValues": {}}}',
            "Start of structure or map found where not expected.",
        ),
    ],
)
def test_a_wrong_type_is_refused(parameter: str, value: str, words: str) -> None:
    refused = refusal("SendMessage", f'{{"{parameter}": {value}}}'.encode())

    assert (refused.name, refused.message, refused.status) == ("SerializationException", words, 400)


@pytest.mark.parametrize(
    "text", ["A", "AA", "AAA", "AA=", "AA==AA==", "AB==", "A A=", "AA==\\n", "-_==", "ä", "\\ud800"]
)
def test_blobs_are_strictly_base64(text: str) -> None:
    refused = refusal("SendMessage", f'{{"MessageAttributes": {{"a": {{"BinaryValue": "{text}"}}}}}}'.encode())

    assert (refused.name, refused.message) == (
        "SerializationException",
        "STRING_VALUE can not be converted to a Blob",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b" ",
        b"{",
        b'{"QueueUrl": "u",}',
        b"{'QueueUrl': 'u'}",
        b'{"QueueUrl": "u"} {}',
        b'{"QueueUrl": "\x00"}',
        b'{"QueueUrl": "\xff"}',
        b'{"QueueUrl": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"QueueUrl": "u"}',
        '{"QueueUrl": "u"}'.encode("utf-16"),
        b'{"QueueUrl": "u", "TagKeys": [], "QueueUrl": "u"}',
        b'{"QueueUrl": "u", "TagKeys": [], "X": {"a": 1, "\\u0061": 2}}',
        b'{"QueueUrl": "u", "X": NaN}',
        b'{"QueueUrl": "u", "X": -Infinity}',
        b'{"QueueUrl": "u", "X": 1%s}' % (b"0" * 5000),
        b'{"QueueUrl": "u", "X": %s}' % (b"[" * 100_000),
        b'{"QueueUrl": "u", "X": %s%s}' % (b'{"a":' * 100_000, b"}" * 100_000),
        b'{"QueueUrl": "\\ud800"}',
        b'{"QueueUrl": "\\udc00\\ud800"}',
        b'{"QueueUrl": "u", "TagKeys": ["\\ud83d"]}',
        b'{"QueueUrl": "u", "TagKeys": [], "Tags": {"\\ud83d": "x"}}',
        b'{"QueueUrl": "u", "TagKeys": [], "Tags": {"x": "\\ud83d"}}',
    ],
)
def test_a_malformed_body_is_refused(body: bytes) -> None:
    refused = refusal("TagQueue" if b"Tags" in body else "UntagQueue", body)

    assert (refused.name, refused.status) == ("SerializationException", 400)


def test_half_of_a_surrogate_pair_in_a_body_is_left_to_the_operation(shop: Shop) -> None:
    url = shop.queue()

    ask = json_protocol.read(
        "SendMessageBatch",
        b'{"QueueUrl": "%s", "Entries": [{"Id": "1", "MessageBody": "\\ud83d"}, {"Id": "2", "MessageBody": "ok"}]}'
        % url.encode(),
    )
    answer = SERVICES["sqs"]["SendMessageBatch"](shop.account, ask)

    assert [failed["Code"] for failed in answer["Failed"]] == ["InvalidMessageContents"]
    assert [one["Id"] for one in answer["Successful"]] == ["2"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(SERVICES["sqs"])), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(operation: str, body: bytes) -> None:
    read = read_or_refused(operation, body)

    assert isinstance(read, dict) or read.status == 400


@given(st.data())
def test_a_wrong_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(SERVICES["sqs"])))
    body = json.loads(sent(operation, RICH[operation]))
    within = body
    while True:
        key = data.draw(st.sampled_from(sorted(within) if isinstance(within, dict) else range(len(within))))
        if not within[key] or not isinstance(within[key], dict | list) or data.draw(st.booleans()):
            break
        within = within[key]
    within[key] = data.draw(JSON)

    read = read_or_refused(operation, json.dumps(body).encode())

    assert isinstance(read, dict) or read.name in {"SerializationException", "MissingParameter"}


def test_an_operation_nobody_knows_is_refused() -> None:
    refused = refusal("SendMassage", b"{}")

    assert (refused.name, refused.message) == ("UnknownOperationException", "SQS has no operation SendMassage.")


def test_an_operation_that_is_not_embedded_says_so() -> None:
    refused = json_protocol.unknown_operation("AddPermission")

    assert refused.message == "The embedded SQS has no operation AddPermission."


# Writing


def test_boto3_gives_what_was_answered(shop: Shop) -> None:
    url = shop.queue()
    body = 'A "body"\r\n\t\\ & <tag> \N{SNOWMAN}'
    shop.send(url, body, MessageAttributes={key: ATTRIBUTES[key] for key in ("count", "image")})
    ask = {"QueueUrl": url, "MessageAttributeNames": ["All"], "AttributeNames": ["All"]}

    answer = SERVICES["sqs"]["ReceiveMessage"](shop.account, ask)

    assert answer["Messages"][0]["Body"] == body
    assert got("ReceiveMessage", json_protocol.write("ReceiveMessage", answer)) == answer


@given(st.data())
def test_boto3_gives_whatever_was_answered(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(SERVICES["sqs"])))
    answer = data.draw(answers_of("sqs", operation, st.text(st.characters(), max_size=20)))

    assert got(operation, json_protocol.write(operation, answer)) == answer


def test_text_is_written_in_utf_8() -> None:
    assert json_protocol.write("GetQueueUrl", {"QueueUrl": "grün"}) == '{"QueueUrl":"grün"}'.encode()


def test_half_of_a_surrogate_pair_is_escaped() -> None:
    assert json_protocol.write("GetQueueUrl", {"QueueUrl": "grün\ud83d"}) == b'{"QueueUrl":"gr\\u00fcn\\ud83d"}'


@pytest.mark.parametrize("blob", [b"\xfb\xff", bytearray(b"\xfb\xff")])
def test_blobs_are_written_in_base64(blob: bytes) -> None:
    answer = {"Messages": [{"MessageAttributes": {"b": {"BinaryValue": blob, "DataType": "Binary"}}}]}

    assert b'"BinaryValue":"+/8="' in json_protocol.write("ReceiveMessage", answer)


def test_an_operation_without_an_answer_has_an_empty_body() -> None:
    assert json_protocol.write("DeleteMessage", {}) == b""
    assert json_protocol.write("ReceiveMessage", {}) == b"{}"


# Errors


@pytest.mark.parametrize("name", sorted(error.name for error in service_model("sqs").error_shapes))
def test_boto3_shows_an_error_as_the_client_in_this_process_does(name: str) -> None:
    body, headers = json_protocol.write_error(Refused(name, "Grün is not a queue.", status=404))

    assert got("SendMessage", body, 404, headers)["Error"] == {
        "Message": "Grün is not a queue.",
        "Code": sqs_code(name),
        "QueryErrorCode": name,
        "Type": "Sender",
    }


def test_an_error_looks_as_in_the_documentation_of_aws() -> None:
    body, headers = json_protocol.write_error(Refused("QueueDoesNotExist", "The specified queue does not exist."))

    assert body == (b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}')
    assert headers == {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}


@pytest.mark.parametrize(
    ("refused", "kind", "code"),
    [
        (missing("QueueUrl"), "MissingRequiredParameterException", "MissingParameter"),
        (invalid_value(11, "MaxResults", "too many"), "InvalidParameterValueException", "InvalidParameterValue"),
        (Refused("SerializationException", "?"), "SerializationException", "MalformedInput"),
        (json_protocol.unknown_operation("X"), "UnknownOperationException", "InvalidAction"),
    ],
)
def test_what_all_of_aws_refuses_is_named_as_all_of_aws_names_it(refused: Refused, kind: str, code: str) -> None:
    body, headers = json_protocol.write_error(refused)

    assert json.loads(body) == {"__type": f"com.amazon.coral.service#{kind}", "message": refused.message}
    assert headers == {"x-amzn-query-error": f"{code};Sender"}
    assert got("SendMessage", body, 400, headers)["Error"]["Code"] == code


def test_a_fault_of_the_server_is_the_receivers() -> None:
    body, headers = json_protocol.write_error(Refused("InternalFailure", "Something broke.", status=500))

    assert headers == {"x-amzn-query-error": "InternalFailure;Receiver"}
    assert got("SendMessage", body, 500, headers)["Error"]["Type"] == "Receiver"


def test_an_error_may_quote_half_of_a_surrogate_pair() -> None:
    body, _ = json_protocol.write_error(Refused("InvalidAttributeName", "Unknown Attribute \ud83d."))

    assert json.loads(body)["message"] == "Unknown Attribute \ud83d."
