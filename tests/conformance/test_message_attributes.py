"""What SQS and SNS take as message attributes, and what each says of others."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import METADATA, PUBLISH_BATCH, SNS_ATTRIBUTES, moto_differs

TYPES = "the set of supported type prefixes is Binary, Number, and String."
WRONG_TYPE = (
    "The type of message (user) attribute 'a' is invalid. You must use only the following supported type prefixes: "
    "Binary, Number, String."
)
NO_NAME = (
    "Invalid non-alphanumeric character '#x5E' was found in the message attribute name. Can only include alphanumeric "
    "characters, hyphens, underscores, or dots."
)


def send(world: World, name: str, attribute: dict[str, Any]) -> None:
    world.send(world.queue(), MessageAttributes={name: attribute})


@moto_differs("moto has other words", METADATA)
@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        (
            {"DataType": "String", "StringValue": ""},
            "Message (user) attribute 'a' must contain a non-empty value of type 'String'.",
        ),
        ({"DataType": "Number"}, "Message (user) attribute 'a' must contain a non-empty value of type 'Number'."),
        (
            {"DataType": "Binary", "BinaryValue": b""},
            "Message (user) attribute 'a' must contain a non-empty value of type 'Binary'.",
        ),
        (
            {"DataType": "Text", "StringValue": "x"},
            WRONG_TYPE,
        ),
        (
            {"DataType": f"String.{'x' * 256}", "StringValue": "x"},
            WRONG_TYPE,
        ),
        (
            {"DataType": "Number", "StringValue": "one"},
            "Can't cast the value of message (user) attribute 'a' to a number.",
        ),
    ],
)
def test_sqs_says_what_is_wrong_with_an_attribute(world: World, attribute: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError) as error:
        send(world, "a", attribute)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert error.value.response["Error"]["Message"] == words


@moto_differs("moto takes them", METADATA)
@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe"])
def test_a_control_character_in_an_attribute_is_a_wrong_value(world: World, character: str) -> None:
    with pytest.raises(ClientError) as error:
        send(world, "a", {"DataType": "String", "StringValue": character})

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto takes letters from A to Z alone", METADATA)
@pytest.mark.parametrize("name", ["attr.1øßä", "größe", "数"])
def test_names_have_letters_of_any_script(world: World, name: str) -> None:
    url, attributes = world.queue(), {name: {"DataType": "String", "StringValue": "x"}}

    world.send(url, MessageAttributes=attributes)

    (message,) = world.receive(url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes


@pytest.mark.parametrize(
    "name",
    [
        *("a!b", 'a"b', "a§b", "a(b", "a?b", "a b"),
        *(
            pytest.param(name, marks=moto_differs("moto takes it", METADATA))
            for name in (".a", "a.", "a..b", "AWS.a", "Amazon.a", "x" * 257)
        ),
    ],
)
def test_other_names_are_refused(world: World, name: str) -> None:
    with pytest.raises(ClientError) as error:
        send(world, name, {"DataType": "String", "StringValue": "x"})

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


WRONG_FOR_SNS: list[tuple[str, dict[str, Any], str]] = [
    (
        "a",
        {"DataType": "String", "StringValue": ""},
        "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'String'.",
    ),
    (
        "a",
        {"DataType": "String"},
        "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'String'.",
    ),
    (
        "a",
        {"DataType": "Binary", "BinaryValue": b""},
        "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'Binary'.",
    ),
    (
        "a",
        {"DataType": "String", "BinaryValue": b"x"},
        "The message attribute 'a' with type 'String' must use field 'String'.",
    ),
    (
        "a",
        {"DataType": "Number", "BinaryValue": b"1"},
        "The message attribute 'a' with type 'Number' must use field 'String'.",
    ),
    (
        "a",
        {"DataType": "Binary", "StringValue": "x"},
        "The message attribute 'a' with type 'Binary' must use field 'Binary'.",
    ),
    *(
        (
            "a",
            {"DataType": wrong, "StringValue": "x"},
            f"The message attribute 'a' has an invalid message attribute type, {TYPES}",
        )
        for wrong in ("Text", "String.", "Stringprefixed", "Number.", "")
    ),
    (
        "a",
        {"DataType": "Number", "StringValue": "one"},
        "Could not cast message attribute 'a' value to number.",
    ),
    (
        "x" * 257,
        {"DataType": "String", "StringValue": "x"},
        "Length of message attribute name must be less than 256 bytes.",
    ),
    (
        "a^b",
        {"DataType": "String", "StringValue": "x"},
        NO_NAME,
    ),
    (
        ".a",
        {"DataType": "String", "StringValue": "x"},
        "Invalid message attribute name starting with character '.' was found.",
    ),
    (
        "a.",
        {"DataType": "String", "StringValue": "x"},
        "Invalid message attribute name ending with character '.' was found.",
    ),
    (
        "a..b",
        {"DataType": "String", "StringValue": "x"},
        "Message attribute name can not have successive '.' character.",
    ),
]
MOTO_REFUSES = ("Text", "Stringprefixed")


@moto_differs("moto takes most of these, or has other words", SNS_ATTRIBUTES)
@pytest.mark.parametrize(("name", "attribute", "words"), WRONG_FOR_SNS)
def test_sns_says_what_is_wrong_with_an_attribute(
    world: World, name: str, attribute: dict[str, Any], words: str
) -> None:
    topic = world.topic()

    with pytest.raises(ClientError) as error:
        world.sns.publish(TopicArn=topic, Message="x", MessageAttributes={name: attribute})

    assert error.value.response["Error"]["Code"] == "ParameterValueInvalid"
    assert error.value.response["Error"]["Message"] == words


@pytest.mark.parametrize(
    ("name", "attribute", "words"),
    [
        pytest.param(
            *each, marks=[] if each[1]["DataType"] in MOTO_REFUSES else moto_differs("moto takes it", PUBLISH_BATCH)
        )
        for each in WRONG_FOR_SNS
    ],
)
def test_a_wrong_attribute_fails_a_whole_batch_of_sns(
    world: World, name: str, attribute: dict[str, Any], words: str
) -> None:
    topic = world.topic()
    entries = [{"Id": "1", "Message": "x"}, {"Id": "2", "Message": "x", "MessageAttributes": {name: attribute}}]

    with pytest.raises(ClientError) as error:
        world.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)

    assert error.value.response["Error"]["Message"] == words


@pytest.mark.parametrize("data_type", ["String.prefixed", "Number.int", "String.Array"])
def test_a_label_behind_the_type_is_taken(world: World, data_type: str) -> None:
    url, topic = world.queue(), world.topic()
    world.subscribe(topic, url, RawMessageDelivery="true")
    attributes = {"a": {"DataType": data_type, "StringValue": "1"}}

    world.sns.publish(TopicArn=topic, Message="x", MessageAttributes=attributes)

    (message,) = world.receive(url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
