from __future__ import annotations

import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.conformance.conftest import World
from tests.conformance.pages import METADATA, SEND, moto_differs


def error_code(error: pytest.ExceptionInfo[ClientError]) -> str:
    code: str = error.value.response["Error"]["Code"]
    return code


def test_a_sent_message_is_received_with_its_id_and_sum(world: World) -> None:
    url = world.queue()

    sent = world.send(url, "grüße")
    (received,) = world.receive(url)

    assert received["Body"] == "grüße"
    assert received["MessageId"] == sent["MessageId"]
    assert received["MD5OfBody"] == sent["MD5OfMessageBody"] == hashlib.md5("grüße".encode()).hexdigest()


def test_answers_carry_a_request_id_and_a_status(world: World) -> None:
    answer = world.send(world.queue())

    assert answer["ResponseMetadata"]["RequestId"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_the_sum_of_attributes_is_the_one_aws_documents(world: World) -> None:
    url = world.queue()

    sent = world.send(
        url,
        MessageAttributes={
            "Hello": {"DataType": "String", "StringValue": "There"},
            "General": {"DataType": "String", "StringValue": "Kenobi"},
        },
    )

    assert sent["MD5OfMessageAttributes"] == "fca026605781cb4126a1e9044df24232"


def test_the_sum_of_a_binary_attribute_is_the_one_aws_gives(world: World) -> None:
    url = world.queue()
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"

    world.send(url, MessageAttributes={"attr1": {"DataType": "Binary", "BinaryValue": value}})
    (received,) = world.receive(url, MessageAttributeNames=["All"])

    assert received["MD5OfMessageAttributes"] == "8cbe4db156db8a94db8b801b7addb984"
    assert received["MessageAttributes"]["attr1"] == {"DataType": "Binary", "BinaryValue": value}


def test_a_body_is_needed(world: World) -> None:
    url = world.queue()

    with pytest.raises(ParamValidationError, match="MessageBody"):
        world.sqs.send_message(QueueUrl=url)


def test_an_unknown_parameter_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ParamValidationError, match="Unknown parameter in input"):
        world.send(url, Priority=3)


@moto_differs("moto takes an empty body", SEND)
def test_an_empty_body_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.send(url, "")

    assert error_code(error) == "MissingParameter"


@moto_differs("moto takes every character", SEND)
def test_a_character_outside_xml_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.InvalidMessageContents) as error:
        world.send(url, "a\x00b")

    assert error_code(error) == "InvalidMessageContents"


def test_a_message_larger_than_the_queue_allows_is_refused(world: World) -> None:
    url = world.queue(MaximumMessageSize="1024")

    world.send(url, "x" * 1024)
    with pytest.raises(ClientError, match="Message must be shorter than 1024 bytes") as error:
        world.send(url, "x" * 1025)

    assert error_code(error) == "InvalidParameterValue"


@moto_differs("moto counts the body alone", METADATA)
def test_attributes_count_towards_the_size(world: World) -> None:
    url = world.queue(MaximumMessageSize="1024")

    with pytest.raises(ClientError, match="Message must be shorter"):
        world.send(url, "x" * 1015, MessageAttributes={"a": {"DataType": "String", "StringValue": "abc"}})


@moto_differs("moto takes any number of attributes", METADATA)
def test_more_than_ten_attributes_are_refused(world: World) -> None:
    url = world.queue()
    attributes = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}

    with pytest.raises(ClientError) as error:
        world.send(url, MessageAttributes=attributes)

    assert error_code(error) == "InvalidParameterValue"


def test_an_unknown_type_of_attribute_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.send(url, MessageAttributes={"a": {"DataType": "Text", "StringValue": "x"}})

    assert error_code(error) == "InvalidParameterValue"


@moto_differs("moto takes attributes without a value", METADATA)
@pytest.mark.parametrize(
    "attribute",
    [
        {"DataType": "String", "StringValue": ""},
        {"DataType": "Binary", "BinaryValue": b""},
        {"DataType": "String"},
    ],
)
def test_an_attribute_without_a_value_is_refused(world: World, attribute: dict[str, Any]) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.send(url, MessageAttributes={"a": attribute})

    assert error_code(error) == "InvalidParameterValue"


@moto_differs("moto takes any text as a number", METADATA)
def test_a_number_attribute_must_be_a_number(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.send(url, MessageAttributes={"a": {"DataType": "Number", "StringValue": "many"}})

    assert error_code(error) == "InvalidParameterValue"


@moto_differs("moto takes reserved names", METADATA)
@pytest.mark.parametrize("name", ["AWS.a", "amazon.b", ".c", "d.", "e..f"])
def test_a_reserved_or_badly_dotted_name_is_refused(world: World, name: str) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.send(url, MessageAttributes={name: {"DataType": "String", "StringValue": "x"}})

    assert error_code(error) == "InvalidParameterValue"


def test_a_data_type_may_have_a_label(world: World) -> None:
    url = world.queue()
    attributes = {"price": {"DataType": "Number.euro", "StringValue": "19.99"}}

    world.send(url, MessageAttributes=attributes)
    (received,) = world.receive(url, MessageAttributeNames=["price"])

    assert received["MessageAttributes"] == attributes


def test_a_delayed_message_is_seen_after_its_delay(world: World) -> None:
    url = world.queue()

    world.send(url, DelaySeconds=world.moment)
    before = world.receive(url)
    delayed = world.attributes(url)["ApproximateNumberOfMessagesDelayed"]
    world.advance(world.moment + 0.1)
    after = world.receive(url)

    assert (len(before), delayed, len(after)) == (0, "1", 1)


def test_the_delay_of_the_queue_holds_where_a_message_says_nothing(world: World) -> None:
    url = world.queue(DelaySeconds="900")

    world.send(url, "late")
    world.send(url, "now", DelaySeconds=0)

    assert world.bodies(url) == ["now"]


def test_a_delay_over_fifteen_minutes_is_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="DelaySeconds must be >= 0 and <= 900") as error:
        world.send(url, DelaySeconds=901)

    assert error_code(error) == "InvalidParameterValue"


def test_a_standard_queue_takes_a_message_group(world: World) -> None:
    url = world.queue()

    world.send(url, MessageGroupId="tenant-1")
    (received,) = world.receive(url, AttributeNames=["MessageGroupId"])

    assert received["Attributes"] == {"MessageGroupId": "tenant-1"}


@moto_differs("moto takes a deduplication id", SEND)
def test_a_standard_queue_refuses_a_deduplication_id(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.send(url, MessageDeduplicationId="1")

    assert error_code(error) == "InvalidParameterValue"


def test_sending_to_no_queue_says_so(world: World) -> None:
    url = world.queue() + "-not-there"

    with pytest.raises(world.sqs.exceptions.QueueDoesNotExist) as error:
        world.send(url)

    assert error_code(error) == "AWS.SimpleQueueService.NonExistentQueue"
    assert error.value.response["Error"]["QueryErrorCode"] == "QueueDoesNotExist"
    assert error.value.response["Error"]["Message"] == "The specified queue does not exist."
    assert error.value.operation_name == "SendMessage"
