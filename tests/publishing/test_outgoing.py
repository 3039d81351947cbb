"""Messages on their way out: what they become, and what is refused."""

from __future__ import annotations

import base64
import enum
import json
from decimal import Decimal
from typing import Any

import pytest

from megaflow import EncodeError, Outgoing, PayloadBuilder
from megaflow.messages.attributes import Attribute
from megaflow.publishing.outgoing import Prepared, PublishOptions, as_outgoing, prepare, prepare_all, prepare_raw
from megaflow.transport.entries import measure, write_attributes

ROOM = 1_000


class Price(int, enum.Enum):
    LOW = 1


# What a message becomes


def test_a_message_carries_its_payload_and_its_attributes() -> None:
    source = Outgoing({"id": 1}, attributes={"tenant": "acme"})

    prepared = prepare(source, max_size=ROOM, index=7)

    assert prepared == Prepared(7, source, '{"id": 1}', {"tenant": Attribute("String", "acme")}, 9 + 6 + 6 + 4)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("text", Attribute("String", "text")),
        (b"\0\xff", Attribute("Binary", b"\0\xff")),
        (7, Attribute("Number", "7")),
        (-7, Attribute("Number", "-7")),
        (10**400, Attribute("Number", "1" + "0" * 400)),
        (19.99, Attribute("Number", "19.99")),
        (1e300, Attribute("Number", "1e+300")),
        (Decimal("19.990"), Attribute("Number", "19.990")),
        (Price.LOW, Attribute("Number", "1")),
        (Attribute("Number.price", "19.99"), Attribute("Number.price", "19.99")),
        (Attribute("Binary.png", b"\x89"), Attribute("Binary.png", b"\x89")),
        (Attribute("String.Array", '["a"]'), Attribute("String.Array", '["a"]')),
    ],
    ids=repr,
)
def test_an_attribute_takes_the_type_of_its_value(value: Any, attribute: Attribute) -> None:
    prepared = prepare(Outgoing("x", attributes={"it": value}), max_size=ROOM)

    assert prepared.attributes == {"it": attribute}


def test_attributes_are_written_as_boto3_takes_them() -> None:
    attributes = {"text": Attribute("String", "a"), "blob": Attribute("Binary.png", b"b")}

    written = write_attributes(attributes)

    assert written == {
        "text": {"DataType": "String", "StringValue": "a"},
        "blob": {"DataType": "Binary.png", "BinaryValue": b"b"},
    }


@pytest.mark.parametrize(
    ("payload", "hint"),
    [(b"\0\1", "binary"), ('{"id": 1}', "text"), ("ping", ""), ({"id": 1}, ""), (b"ping", "binary")],
    ids=repr,
)
def test_a_hint_goes_along_only_where_the_body_alone_would_be_misread(payload: Any, hint: str) -> None:
    prepared = prepare(Outgoing(payload), max_size=ROOM)

    assert prepared.attributes == ({"megaflow-kind": Attribute("String", hint)} if hint else {})


def test_a_raw_message_is_sent_as_it_is_and_without_a_hint() -> None:
    prepared = prepare_raw(Outgoing('{"id":1}', attributes={"megaflow-kind": "text"}), max_size=ROOM)

    assert prepared.body == '{"id":1}'
    assert prepared.attributes == {"megaflow-kind": Attribute("String", "text")}


@pytest.mark.parametrize(
    ("body", "attributes", "size"),
    [
        ("x", {}, 1),
        ("é", {}, 2),
        ("🎈", {}, 4),
        ("x", {"name": Attribute("String", "é")}, 1 + 4 + 6 + 2),
        (
            "x",
            {"n": Attribute("Number.price", "19.99"), "b": Attribute("Binary", b"\0\1\2")},
            1 + 1 + 12 + 5 + 1 + 6 + 3,
        ),
    ],
)
def test_body_names_types_and_values_count_in_bytes(body: str, attributes: dict[str, Attribute], size: int) -> None:
    assert measure(body, attributes) == size


# What is refused


@pytest.mark.parametrize("character", ["é", "x", "🎈"])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(character: str) -> None:
    width = len(character.encode())
    full = character * (ROOM // width)

    prepared = prepare(Outgoing(full), max_size=ROOM)
    with pytest.raises(
        EncodeError, match="bytes with its attributes are more than the 1,000 allowed; send a reference"
    ):
        prepare(Outgoing(full + character), max_size=ROOM)

    assert prepared.size == ROOM


def test_attributes_count_towards_the_limit() -> None:
    attributes = {"name": "value"}
    full = "x" * (ROOM - len("name" + "String" + "value"))

    prepared = prepare(Outgoing(full, attributes=attributes), max_size=ROOM)
    with pytest.raises(EncodeError, match="payload: 1,001 bytes"):
        prepare(Outgoing(full + "x", attributes=attributes), max_size=ROOM)

    assert prepared.size == ROOM


def test_the_hint_counts_towards_the_limit() -> None:
    blob = bytes(30)
    size = len(base64.b64encode(blob)) + len("megaflow-kind" + "String" + "binary")

    prepared = prepare(Outgoing(blob), max_size=size)
    with pytest.raises(EncodeError, match=f"{size} bytes"):
        prepare(Outgoing(blob), max_size=size - 1)

    assert prepared.size == size


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("", "payload: is empty"),
        (b"", "payload: is empty"),
        ("a\0b", r"payload: holds '\\x00', a character that SQS refuses; send bytes, or JSON"),
        ("a\x0bb", r"payload: holds '\\x0b'"),
        ("a\ud800b", r"payload: holds '\\ud800'"),
        ("a\uffff", r"payload: holds '\\uffff'"),
        (42, "payload: a message is a Payload, a dict, a model, a str or bytes, not int"),
        ({"blob": b"\0"}, "payload.blob: bytes need binary_encoding=True"),
    ],
    ids=repr,
)
def test_a_body_that_sqs_refuses_is_refused(payload: Any, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        prepare(Outgoing(payload), max_size=ROOM)


@pytest.mark.parametrize("text", ["a\tb\r\nc", "\ud7ff\ue000\ufffd\U00010000\U0010ffff", "a\x7fb", " "], ids=ascii)
def test_every_character_that_sqs_takes_is_sent(text: str) -> None:
    assert prepare(Outgoing(text), max_size=ROOM).body == text


def test_an_object_may_hold_characters_that_a_body_may_not() -> None:
    prepared = prepare(Outgoing({"text": "a\0b\ud800"}), max_size=ROOM)

    assert json.loads(prepared.body) == {"text": "a\0b\ud800"}


def test_ten_attributes_are_sent_and_eleven_refused() -> None:
    attributes = {f"a{number}": number for number in range(10)}

    prepared = prepare(Outgoing("x", attributes=attributes), max_size=ROOM)
    with pytest.raises(EncodeError, match="attributes: 11 message attributes are more than 10"):
        prepare(Outgoing("x", attributes=attributes | {"b": 1}), max_size=ROOM)

    assert len(prepared.attributes) == 10


def test_the_hint_is_one_of_the_ten_attributes() -> None:
    attributes = {f"a{number}": number for number in range(10)}

    with pytest.raises(EncodeError, match="attributes: 11 message attributes"):
        prepare(Outgoing(b"\0", attributes=attributes), max_size=ROOM)


@pytest.mark.parametrize(
    "name", ["", "a b", "é", "a..b", ".a", "a.", "AWS.a", "aws.a", "Amazon.a", "a\n", "a" * 257, "a/b", 5], ids=repr
)
def test_a_wrong_attribute_name_is_refused(name: Any) -> None:
    with pytest.raises(EncodeError, match=r"a name is up to 256 letters, digits") as caught:
        prepare(Outgoing("x", attributes={name: "value"}), max_size=ROOM)

    assert caught.value.path == f"attributes.{name}"


@pytest.mark.parametrize("name", ["a", "a" * 256, "a.b-c_D9", "awsome", "AWS", "Amazonas.a", "9"])
def test_a_right_attribute_name_is_sent(name: str) -> None:
    assert name in prepare(Outgoing("x", attributes={name: "value"}), max_size=ROOM).attributes


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty, and AWS takes no empty text"),
        (b"", "is empty, and AWS takes no empty value"),
        ("a\0", r"holds '\\x00', a character that SQS refuses"),
        (True, "True is no text, number or bytes"),
        (None, "None is no text, number or bytes"),
        (["a"], "is no text, number or bytes"),
        (float("nan"), "nan is no text, number or bytes"),
        (float("inf"), "inf is no text, number or bytes"),
        (Decimal("sNaN"), "is no text, number or bytes"),
        (Decimal("-Infinity"), "is no text, number or bytes"),
        (Attribute("String", ""), "is empty"),
        (Attribute("Binary", b""), "is empty"),
        (Attribute("String", b"a"), "is neither a String or Number of text nor a Binary of bytes"),
        (Attribute("Binary", "a"), "is neither a String or Number of text nor a Binary of bytes"),
        (Attribute("Number", 5), "is neither a String or Number of text nor a Binary of bytes"),  # type: ignore[arg-type]
        (Attribute("Text", "a"), "is neither a String or Number of text nor a Binary of bytes"),
        (Attribute("", "a"), "is neither a String or Number of text nor a Binary of bytes"),
    ],
    ids=repr,
)
def test_a_wrong_attribute_value_is_refused(value: Any, said: str) -> None:
    with pytest.raises(EncodeError, match=said) as caught:
        prepare(Outgoing("x", attributes={"it": value}), max_size=ROOM)

    assert caught.value.path == "attributes.it"


@pytest.mark.parametrize("delay", [-1, 901, 1.5, True, "5"], ids=repr)
def test_a_delay_out_of_range_is_refused(delay: Any) -> None:
    with pytest.raises(EncodeError, match=r"delay_seconds: .* is no whole number from 0 to 900"):
        prepare(Outgoing("x", delay_seconds=delay), max_size=ROOM)


@pytest.mark.parametrize("delay", [None, 0, 900])
def test_a_delay_within_the_range_is_sent(delay: int | None) -> None:
    assert prepare(Outgoing("x", delay_seconds=delay), max_size=ROOM).source.delay_seconds == delay


@pytest.mark.parametrize("field", ["group_id", "deduplication_id"])
@pytest.mark.parametrize("value", ["a b", "é", "a\n", "a" * 129, 5, 0], ids=repr)
def test_a_wrong_group_or_deduplication_id_is_refused(field: str, value: Any) -> None:
    options: dict[str, Any] = {field: value}

    with pytest.raises(EncodeError, match=rf"{field}: .* is not up to 128 printable ASCII characters"):
        prepare(Outgoing("x", **options), max_size=ROOM)


@pytest.mark.parametrize("value", ["", "a", "a" * 128, "!~/?"])
def test_a_right_group_id_is_sent(value: str) -> None:
    assert prepare(Outgoing("x", group_id=value), max_size=ROOM).source.group_id == value


@pytest.mark.parametrize("body", [b"bytes", {"id": 1}, None], ids=repr)
def test_a_raw_message_that_is_no_text_is_refused(body: Any) -> None:
    with pytest.raises(EncodeError, match="body: a raw message is text, not"):
        prepare_raw(Outgoing(body), max_size=ROOM)


@pytest.mark.parametrize("body", ["", "a\0b", "x" * (ROOM + 1)], ids=["empty", "refused character", "too large"])
def test_a_raw_message_that_sqs_refuses_is_refused(body: str) -> None:
    with pytest.raises(EncodeError):
        prepare_raw(Outgoing(body), max_size=ROOM)


# Several at once


def accept(source: Outgoing) -> None: ...


def test_payloads_share_their_options_and_an_outgoing_brings_its_own() -> None:
    event = PayloadBuilder().with_event(name="user.created").build()
    shared: PublishOptions = {"binary_encoding": True, "group_id": "g"}

    sources = as_outgoing((event, Outgoing({"id": 1})), shared)

    assert list(sources) == [Outgoing(event, binary_encoding=True, group_id="g"), Outgoing({"id": 1})]


def test_entries_are_numbered_in_order() -> None:
    first, second = prepare_all([Outgoing("a"), Outgoing({"id": 1})], max_size=ROOM, check=accept)

    assert [(each.index, each.body) for each in (first, second)] == [(0, "a"), (1, '{"id": 1}')]


def test_an_entry_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(
        EncodeError, match=r"^entry 2: payload\.user\.avatar: bytes need binary_encoding=True$"
    ) as caught:
        prepare_all(map(Outgoing, ["a", "b", {"user": {"avatar": b""}}]), max_size=ROOM, check=accept)

    assert isinstance(caught.value.__cause__, EncodeError)


def test_an_entry_that_its_destination_does_not_take_is_named() -> None:
    def refuse_b(source: Outgoing) -> None:
        if source.payload == "b":
            raise EncodeError("is missing", "group_id")

    with pytest.raises(EncodeError, match=r"^entry 1: group_id: is missing$"):
        prepare_all(map(Outgoing, "abc"), max_size=ROOM, check=refuse_b)
