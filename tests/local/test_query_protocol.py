from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from megaflow.local.calls import SERVICES
from megaflow.local.http.query_protocol import SNS
from megaflow.local.refused import Refused
from megaflow.local.shapes import service_model
from tests.local.conftest import Shop
from tests.local.shape_strategies import answers_of, asks_of

ARN = "arn:aws:sns:eu-west-1:123456789012:orders"
REQUEST_ID = "5b2a7d3c-0000-4000-8000-123456789abc"
ATTRIBUTES = {
    "colour": {"DataType": "String", "StringValue": "grün & <so> \N{PINE DECORATION} \x07"},
    "count": {"DataType": "Number", "StringValue": "+12"},
    "image": {"DataType": "Binary.png", "BinaryValue": bytes(range(256))},
}
MESSAGE = '{"a": "100 %", "b": "1+1=2; x&y"}\r\n\t\N{SNOWMAN}'
RICH: dict[str, dict[str, Any]] = {
    "CreateTopic": {
        "Name": "orders",
        "Attributes": {"DisplayName": "Orders", "Policy": '{"Version": "1"}'},
        "Tags": [{"Key": "team", "Value": "blue"}, {"Key": "empty", "Value": ""}],
        "DataProtectionPolicy": "{}",
    },
    "AddPermission": {"TopicArn": ARN, "Label": "l", "AWSAccountId": ["1", "2"], "ActionName": ["Publish"]},
    "RemovePermission": {"TopicArn": ARN, "Label": "l"},
    "ConfirmSubscription": {"TopicArn": ARN, "Token": "t", "AuthenticateOnUnsubscribe": "true"},
    "DeleteTopic": {"TopicArn": ARN},
    "ListTopics": {"NextToken": "t"},
    "GetTopicAttributes": {"TopicArn": ARN},
    "SetTopicAttributes": {"TopicArn": ARN, "AttributeName": "DisplayName", "AttributeValue": ""},
    "TagResource": {"ResourceArn": ARN, "Tags": [{"Key": str(n), "Value": str(n)} for n in range(12)]},
    "UntagResource": {"ResourceArn": ARN, "TagKeys": ["b", "a"]},
    "ListTagsForResource": {"ResourceArn": ARN},
    "Subscribe": {
        "TopicArn": ARN,
        "Protocol": "sqs",
        "Endpoint": "arn:aws:sqs:eu-west-1:123456789012:orders",
        "Attributes": {"RawMessageDelivery": "true"},
        "ReturnSubscriptionArn": True,
    },
    "Unsubscribe": {"SubscriptionArn": f"{ARN}:1"},
    "ListSubscriptions": {},
    "ListSubscriptionsByTopic": {"TopicArn": ARN, "NextToken": "t"},
    "GetSubscriptionAttributes": {"SubscriptionArn": f"{ARN}:1"},
    "SetSubscriptionAttributes": {"SubscriptionArn": f"{ARN}:1", "AttributeName": "RawMessageDelivery"},
    "Publish": {
        "TopicArn": ARN,
        "Message": MESSAGE,
        "Subject": "Hi",
        "MessageStructure": "json",
        "MessageAttributes": ATTRIBUTES,
        "MessageDeduplicationId": "d",
        "MessageGroupId": "g",
    },
    "PublishBatch": {
        "TopicArn": ARN,
        "PublishBatchRequestEntries": [
            {"Id": "1", "Message": MESSAGE, "MessageAttributes": ATTRIBUTES},
            {"Id": "2", "Message": ""},
        ],
    },
}


def sent(operation: str, ask: dict[str, Any]) -> bytes:
    """Return what boto3 sends."""
    serializer = create_serializer("query", include_validation=False)
    request = serializer.serialize_to_request(ask, service_model("sns").operation_model(operation))
    prepared = AWSRequest(method="POST", url="http://localhost", data=request["body"]).prepare()
    body: str = prepared.body
    return body.encode()


def got(operation: str, body: bytes, status: int = 200) -> dict[str, Any]:
    """Return what boto3 gives its caller."""
    shape = service_model("sns").operation_model(operation).output_shape
    parsed: dict[str, Any] = create_parser("query").parse({"status_code": status, "headers": {}, "body": body}, shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == REQUEST_ID
    return parsed


def refusal(form: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        SNS.read(form)
    return caught.value


def read_or_refused(form: bytes) -> dict[str, Any] | Refused:
    try:
        return SNS.read(form)[1]
    except Refused as refused:
        return refused


# Reading


def test_there_is_an_example_of_every_operation() -> None:
    assert set(SERVICES["sns"]) <= set(RICH) <= set(service_model("sns").operation_names)


@pytest.mark.parametrize("operation", RICH)
def test_what_boto3_sends_is_what_it_was_given(operation: str) -> None:
    assert SNS.read(sent(operation, RICH[operation])) == (operation, RICH[operation])


@given(st.data())
def test_whatever_boto3_sends_is_what_it_was_given(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(SERVICES["sns"])))
    # An empty map leaves no trace in a form.
    ask = data.draw(asks_of("sns", operation, smallest=1))

    assert SNS.read(sent(operation, ask)) == (operation, ask)


@pytest.mark.parametrize("operation", sorted(service_model("sns").operation_names))
def test_every_operation_of_the_model_can_be_read(operation: str) -> None:
    required = service_model("sns").operation_model(operation).input_shape.required_members
    form = f"Action={operation}&Version=2010-03-31".encode()

    if required:
        assert refusal(form).name == "ValidationError"
    else:
        assert SNS.read(form) == (operation, {})


def test_numbers_are_read() -> None:
    _, ask = SNS.read(b"Action=ListOriginationNumbers&MaxResults=30")

    assert ask == {"MaxResults": 30}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("1", True), ("false", False)])
def test_booleans_are_read(text: str, value: bool) -> None:
    _, ask = SNS.read(f"Action=Subscribe&TopicArn=t&Protocol=sqs&ReturnSubscriptionArn={text}".encode())

    assert ask["ReturnSubscriptionArn"] is value


@pytest.mark.parametrize(
    ("form", "ask"),
    [
        pytest.param(
            b"Action=Publish&Message=%7B%22a%22%3A%201%7D%21&MessageAttributes.entry.1.Name=n&"
            b"MessageAttributes.entry.1.Value.DataType=Number&MessageAttributes.entry.1.Value.StringValue=1&"
            b"TopicArn=t&Version=2010-03-31",
            {
                "Message": '{"a": 1}!',
                "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "1"}},
                "TopicArn": "t",
            },
            id="go and javascript",
        ),
        pytest.param(
            b"TopicArn=t&MessageAttributes.entry.2.Value.BinaryValue=%2b%2f8%3D&MessageAttributes.entry.2.Name=b&"
            b"MessageAttributes.entry.2.Value.DataType=Binary&MessageAttributes.entry.1.Value.StringValue=gr%c3%bcn&"
            b"MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Name=a&"
            b"Message=one+two%0D%0A&Action=Publish&Signature=%2F&AWSAccessKeyId=x&&=&=x",
            {
                "TopicArn": "t",
                "MessageAttributes": {
                    "a": {"DataType": "String", "StringValue": "grün"},
                    "b": {"DataType": "Binary", "BinaryValue": b"\xfb\xff"},
                },
                "Message": "one two\r\n",
            },
            id="in another order, with small digits and more than is known",
        ),
        pytest.param(
            "Action=Publish&TopicArn=t&Message=grün = {1, 2}\n&Subject".encode(),
            {"TopicArn": "t", "Message": "grün = {1, 2}\n", "Subject": ""},
            id="nothing escaped",
        ),
        pytest.param(
            b"Action=UntagResource&ResourceArn=r&TagKeys=",
            {"ResourceArn": "r", "TagKeys": []},
            id="an empty list",
        ),
        pytest.param(
            b"Action=UntagResource&ResourceArn=r&TagKeys.member.10=c&TagKeys.member.9=b&TagKeys.member.2=a",
            {"ResourceArn": "r", "TagKeys": ["a", "b", "c"]},
            id="a list out of order, with gaps",
        ),
        pytest.param(
            b"Action=CreateTopic&Name=n&Attributes=&Attributes2.entry.1.key=x",
            {"Name": "n", "Attributes": {}},
            id="an empty map",
        ),
    ],
)
def test_other_senders_are_understood(form: bytes, ask: dict[str, Any]) -> None:
    assert SNS.read(form)[1] == ask


@given(st.lists(st.tuples(st.sampled_from(["Message", "Subject"]), st.text()), unique_by=lambda pair: pair[0]))
def test_forms_are_read_as_the_standard_library_reads_them(pairs: list[tuple[str, str]]) -> None:
    pairs = [(name, value.encode(errors="ignore").decode()) for name, value in pairs]
    for form in (urlencode(pairs), urlencode(pairs, quote_via=quote, safe="/")):
        read = read_or_refused(f"Action=Publish&{form or 'Subject'}".encode())

        expected = dict(parse_qsl(form, keep_blank_values=True, errors="strict")) or {"Subject": ""}
        assert isinstance(read, Refused) if "Message" not in expected else read == expected


ODD = st.text(st.sampled_from("%%%=+&.20aAfF\r\n\0é "), max_size=12)


@given(ODD)
def test_odd_escapes_are_read_as_the_standard_library_reads_them_or_refused(text: str) -> None:
    value = text.replace("&", "")

    read = read_or_refused(f"Action=Publish&Message={value}".encode())

    if isinstance(read, dict):
        assert [("Message", read["Message"])] == parse_qsl(f"Message={value}", keep_blank_values=True, errors="strict")
    else:
        assert read.name == "MalformedInput"
        assert "%" in value


# What is refused


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("Action=Publish", "message"),
        ("Action=DeleteTopic", "topicArn"),
        ("Action=PublishBatch&TopicArn=t", "publishBatchRequestEntries"),
        (
            "Action=PublishBatch&TopicArn=t&PublishBatchRequestEntries.member.1.Id=1",
            "publishBatchRequestEntries.1.member.message",
        ),
        (
            "Action=TagResource&ResourceArn=r&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=b",
            "tags.2.member.value",
        ),
        ("Action=TagResource&ResourceArn=r&Tags.member.1=", "tags.1.member.key"),
        (
            "Action=Publish&Message=m&MessageAttributes.entry.1.Value.DataType=String",
            "messageAttributes.entry.1.name",
        ),
        ("Action=Publish&Message=m&MessageAttributes.entry.1.Name=a", "messageAttributes.entry.1.value"),
        (
            "Action=Publish&Message=m&MessageAttributes.entry.1.Name=Red&MessageAttributes.entry.1.Value.StringValue=x",
            "messageAttributes.Red.member.dataType",
        ),
        (
            "Action=Publish&Message=m&MessageAttributes.entry.1.Name=&MessageAttributes.entry.1.Value=",
            "messageAttributes..member.dataType",
        ),
    ],
)
def test_a_missing_parameter_is_named(form: str, path: str) -> None:
    refused = refusal(form.encode())

    assert (refused.name, refused.status) == ("ValidationError", 400)
    assert refused.message == (
        f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
    )


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("TopicArn.member.1=t", "Start of structure or map found where not expected."),
        ("MessageAttributes=x", "Value found where not expected"),
        ("MessageAttributes.entry=x", "Value found where not expected"),
        ("MessageAttributes.entry.1=x", "Value found where not expected"),
        ("MessageAttributes.1.Name=x", "A list has its values at entry.1, entry.2 and so on"),
        ("MessageAttributes.entry.0.Name=x", "0 is not a valid index"),
        ("MessageAttributes.entry.01.Name=x", "01 is not a valid index"),
        ("MessageAttributes.entry.x.Name=x", "x is not a valid index"),
        ("MessageAttributes.entry..Name=x", " is not a valid index"),
        ("MessageAttributes.entry.%D9%A3.Name=x", "\N{ARABIC-INDIC DIGIT THREE} is not a valid index"),
        (f"MessageAttributes.entry.{'1' * 5000}.Name=x", f"{'1' * 5000} is not a valid index"),
        (
            "MessageAttributes.entry.1.Name=x&MessageAttributes.entry.1.Value.BinaryValue=A",
            "STRING_VALUE can not be converted to a Blob",
        ),
        (
            # The plus sign is not escaped.
            "MessageAttributes.entry.1.Name=x&MessageAttributes.entry.1.Value.BinaryValue=+/8=",
            "STRING_VALUE can not be converted to a Blob",
        ),
        ("Message=a&Message=b", "The request has Message twice"),
        (
            "MessageAttributes=&MessageAttributes.entry.1.Name=x",
            "The request has MessageAttributes.entry.1 both as a value and as more than one",
        ),
        ("MessageAttributes.entry.1.Name=x&MessageAttributes=", "The request has MessageAttributes twice"),
        ("Message=%FF", "The request is no form of escaped UTF-8"),
        ("Message=%ED%A0%80", "The request is no form of escaped UTF-8"),
        ("Message=100%", "The request is no form of escaped UTF-8"),
        ("Message=100%+x", "The request is no form of escaped UTF-8"),
        ("Message=%%20", "The request is no form of escaped UTF-8"),
        ("Message=%\n", "The request is no form of escaped UTF-8"),
    ],
)
def test_a_malformed_form_is_refused(form: str, words: str) -> None:
    refused = refusal(f"Action=Publish&{form}".encode())

    assert (refused.name, refused.message, refused.status) == ("MalformedInput", words, 400)


def test_a_map_with_a_key_twice_is_refused() -> None:
    attributes = "&".join(f"Attributes.entry.{n}.key=a&Attributes.entry.{n}.value={n}" for n in (1, 2))

    refused = refusal(f"Action=CreateTopic&Name=n&{attributes}".encode())

    assert (refused.name, refused.message) == ("MalformedInput", "The request has the entry a twice")


@pytest.mark.parametrize("form", [b"Message=\xff", b"\xff=1", b"Message=\xed\xa0\x80"])
def test_bytes_that_are_not_utf_8_are_refused(form: bytes) -> None:
    assert refusal(b"Action=Publish&" + form).name == "MalformedInput"


@pytest.mark.parametrize(
    ("form", "name", "words"),
    [
        ("Action=ListOriginationNumbers&MaxResults=1_0", "MalformedInput", "converted to an Integer"),
        ("Action=ListOriginationNumbers&MaxResults=" + "1" * 5000, "MalformedInput", "converted to an Integer"),
        ("Action=ListOriginationNumbers&MaxResults=", "MalformedInput", "converted to an Integer"),
        ("Action=Subscribe&ReturnSubscriptionArn=maybe", "MalformedInput", "converted to a Boolean"),
    ],
)
def test_what_is_no_number_or_truth_is_refused(form: str, name: str, words: str) -> None:
    refused = refusal(form.encode())

    assert refused.name == name
    assert refused.message.endswith(words)


def test_a_name_of_many_levels_is_no_burden() -> None:
    deep = "a." * 500_000

    _, ask = SNS.read(f"Action=Publish&Message=m&{deep}=1&{deep}b=1&Message2.{deep}=1".encode())

    assert ask == {"Message": "m"}


@pytest.mark.parametrize("form", ["", "Version=2010-03-31", "Action=", "Action.member.1=Publish"])
def test_a_form_without_an_operation_is_refused(form: str) -> None:
    refused = refusal(form.encode())

    assert (refused.name, refused.message, refused.status) == (
        "InvalidAction",
        "The request must contain the parameter Action.",
        400,
    )


def test_an_operation_nobody_knows_is_refused() -> None:
    refused = refusal(b"Action=Publisch")

    assert (refused.name, refused.message) == ("InvalidAction", "SNS has no operation Publisch.")


def test_an_operation_that_is_not_embedded_says_so() -> None:
    refused = SNS.unknown_operation("CheckIfPhoneNumberIsOptedOut")

    assert refused.message == "The embedded SNS has no operation CheckIfPhoneNumberIsOptedOut."


PARTS = [
    *("Message", "MessageAttributes", "PublishBatchRequestEntries", "Tags", "TopicArn", "TagKeys", "Attributes"),
    *("member", "entry", "1", "2", "Name", "Value", "Key", "key", "value", "Id", "DataType", "BinaryValue", ""),
]


@given(
    st.sampled_from(sorted(SERVICES["sns"])),
    st.dictionaries(st.lists(st.sampled_from(PARTS), min_size=1, max_size=7).map(".".join), st.text(max_size=3)),
    st.binary(max_size=20),
)
def test_whatever_comes_is_read_or_refused(operation: str, fields: dict[str, str], more: bytes) -> None:
    form = urlencode([("Action", operation), *fields.items()], errors="replace").encode()

    for body in (form, form + b"&" + more, more):
        read = read_or_refused(body)

        assert isinstance(read, dict) or read.status == 400


# Writing


def test_an_answer_looks_as_in_the_documentation_of_aws() -> None:
    body = SNS.write("Publish", {"MessageId": "m"}, REQUEST_ID)

    assert (
        body
        == (
            '<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
            "<PublishResult><MessageId>m</MessageId></PublishResult>"
            f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></PublishResponse>"
        ).encode()
    )


def test_an_operation_without_an_answer_has_no_result() -> None:
    body = SNS.write("DeleteTopic", {}, REQUEST_ID)

    assert b"DeleteTopicResponse" in body
    assert b"Result>" not in body
    assert got("DeleteTopic", body) == {}


def test_boto3_gives_what_was_answered(shop: Shop) -> None:
    topic = shop.sns.create_topic(
        Name="orders",
        Attributes={"DisplayName": 'A & B <"so">'},
        Tags=[{"Key": "a\r\n", "Value": " ]]> \N{SNOWMAN} "}],
    )["TopicArn"]
    entries = [{"Id": "1", "Message": "m"}, {"Id": "2", "Message": ""}]
    asks: dict[str, dict[str, Any]] = {
        "ListTopics": {},
        "GetTopicAttributes": {"TopicArn": topic},
        "ListTagsForResource": {"ResourceArn": topic},
        "TagResource": {"ResourceArn": topic, "Tags": []},
        "ListSubscriptions": {},
        "PublishBatch": {"TopicArn": topic, "PublishBatchRequestEntries": entries},
    }
    for operation, ask in asks.items():
        answer = SERVICES["sns"][operation](shop.account, ask)

        body = SNS.write(operation, answer, REQUEST_ID)

        assert got(operation, body) == answer


XML_TEXT = st.text(
    st.sampled_from("\t\n\r<>&]\"' ")
    | st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
    max_size=20,
)


@given(st.data())
def test_boto3_gives_whatever_was_answered(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(SERVICES["sns"])))
    answer = data.draw(answers_of("sns", operation, XML_TEXT))

    body = SNS.write(operation, answer, REQUEST_ID)

    assert got(operation, body) == answer


@given(st.text(st.characters(), max_size=20))
def test_what_xml_cannot_have_is_replaced(text: str) -> None:
    body = SNS.write("Publish", {"MessageId": text}, REQUEST_ID)

    read = got("Publish", body)["MessageId"]
    assert len(read) == len(text)
    assert all(after in (before, "\ufffd") for before, after in zip(text, read, strict=True))


def test_control_characters_are_replaced() -> None:
    body = SNS.write("Publish", {"MessageId": "a\x00b\x1fc\ud800d\ufffee\r\n\tf"}, REQUEST_ID)

    assert got("Publish", body) == {"MessageId": "a\ufffdb\ufffdc\ufffdd\ufffde\r\n\tf"}


# Errors


def test_an_error_looks_as_in_the_documentation_of_aws() -> None:
    body = SNS.write_error(Refused("NotFound", "Topic does not exist", status=404), REQUEST_ID)

    assert (
        body
        == (
            '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
            "<Error><Type>Sender</Type><Code>NotFound</Code><Message>Topic does not exist</Message></Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        ).encode()
    )


@pytest.mark.parametrize(
    ("refused", "fault"),
    [
        (Refused("InvalidParameter", "Invalid parameter: <é> & \"'", status=400), "Sender"),
        (Refused("InternalFailure", "Something broke.", status=500), "Receiver"),
    ],
)
def test_boto3_shows_an_error_as_the_client_in_this_process_does(refused: Refused, fault: str) -> None:
    body = SNS.write_error(refused, REQUEST_ID)

    assert got("Publish", body, refused.status)["Error"] == {
        "Type": fault,
        "Code": refused.name,
        "Message": refused.message,
    }


def test_an_error_may_quote_what_xml_cannot_have() -> None:
    body = SNS.write_error(Refused("InvalidParameter", "\x00\ud83d"), REQUEST_ID)

    assert got("Publish", body, 400)["Error"]["Message"] == "\ufffd\ufffd"
