"""A received message: its envelope opened, its attributes plain, its payload its own."""

from __future__ import annotations

import dataclasses
import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.errors import UsageError
from megaflow.event import Event, ObjectData, Payload, PayloadBuilder, serialize_payload
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import KIND_ATTRIBUTE, Encoded, Kind, encode
from megaflow.messages.envelope import SnsInfo
from megaflow.messages.message import Lease, Message, message_with, open_message
from tests.strategies import bodies, bson_objects, exactly, json_objects, payloads, plain_objects, telling_texts

TOPIC = "arn:aws:sns:us-west-2:424566909325:orders"
EVENT = {"protocol": "mega", "version": 1, "event": {"name": "x", "timestamp": "2020-05-04T15:53:23"}}


def envelope(message: str, **changes: Any) -> dict[str, Any]:
    """A notification as SNS delivers it to a queue without raw delivery."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "An order",
        "Message": message,
        "Timestamp": "2020-05-04T15:53:23.123Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE=",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService.pem",
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
    } | changes


CONFIRMATION = envelope(
    "You have chosen to subscribe to the topic.",
    Type="SubscriptionConfirmation",
    Token="2336412f37",
    SubscribeURL="https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
)


def open_enveloped(message: str, **changes: Any) -> Message:
    return open_message(json.dumps(envelope(message, **changes)))


def hint_of(encoded: Encoded) -> dict[str, Attribute]:
    return {KIND_ATTRIBUTE: Attribute("String", str(encoded.hint))} if encoded.hint else {}


def received(payload: object, *, binary_encoding: bool = False) -> Message:
    """Straight from the queue, as it is with SQS and with raw delivery."""
    encoded = encode(payload, binary_encoding=binary_encoding)
    return open_message(encoded.body, sqs_attributes=hint_of(encoded))


def received_by_sns(payload: object, *, binary_encoding: bool = False) -> Message:
    """Inside an envelope, the attributes with it."""
    encoded = encode(payload, binary_encoding=binary_encoding)
    carried = {name: {"Type": each.type, "Value": each.value} for name, each in hint_of(encoded).items()}
    return open_enveloped(encoded.body, MessageAttributes=carried)


# What was published is what is received.


@pytest.mark.parametrize("receive", [received, received_by_sns])
@given(data=st.data())
def test_whatever_is_published_is_received(receive: Any, data: st.DataObject) -> None:
    binary_encoding = data.draw(st.booleans())
    payload = data.draw(bson_objects if binary_encoding else json_objects | telling_texts | st.binary())

    message = receive(payload, binary_encoding=binary_encoding)

    assert exactly(message.payload) == exactly(payload)
    assert message.has_payload


@pytest.mark.parametrize("receive", [received, received_by_sns])
@given(payload=payloads(plain_objects), binary_encoding=st.booleans())
def test_whatever_event_is_published_is_received(receive: Any, payload: Payload, binary_encoding: bool) -> None:
    message = receive(payload, binary_encoding=binary_encoding)

    assert message.kind is Kind.MEGA
    assert exactly(serialize_payload(message.payload)) == exactly(serialize_payload(payload))


@pytest.mark.parametrize("receive", [received, received_by_sns])
@pytest.mark.parametrize("published", [envelope("inner"), CONFIRMATION])
@pytest.mark.parametrize("binary_encoding", [False, True])
def test_a_dict_that_looks_like_an_envelope_is_received_as_published(
    receive: Any, published: dict[str, Any], binary_encoding: bool
) -> None:
    message = receive(published, binary_encoding=binary_encoding)

    assert (message.kind, message.payload) == (Kind.DATA, published)
    assert message.has_payload


def test_text_that_is_an_envelope_is_received_as_published() -> None:
    published = json.dumps(envelope("inner"))

    message = received(published)

    assert (message.kind, message.payload, message.sns) == (Kind.TEXT, published, None)


# Any body at all.


@given(body=bodies, hint=st.none() | st.sampled_from(["text", "binary", "data", "mega"]) | st.text())
def test_no_body_makes_open_message_raise_or_is_lost(body: str, hint: str | None) -> None:
    attributes = {} if hint is None else {KIND_ATTRIBUTE: Attribute("String", hint)}

    message = open_message(body, sqs_attributes=attributes)

    assert message.body == body
    assert message.with_own_payload().body == body


@given(inner=bodies)
def test_no_body_inside_an_envelope_makes_it_raise(inner: str) -> None:
    message = open_enveloped(inner)

    assert message.sns is not None
    assert json.loads(message.body)["Message"] == inner


@pytest.mark.parametrize("value", [None, 7, [], {}, {"a": 1}, True])
@pytest.mark.parametrize("key", ["MessageId", "TopicArn", "Timestamp", "Message", "Type"])
def test_what_only_resembles_an_envelope_is_data(key: str, value: object) -> None:
    almost = envelope("inner") | {key: value}

    message = open_message(json.dumps(almost))

    assert (message.kind, message.payload, message.sns) == (Kind.DATA, almost, None)


@pytest.mark.parametrize("value", [None, 7, ["An order"], {"a": 1}])
def test_a_subject_that_is_no_text_is_none(value: object) -> None:
    message = open_enveloped("inner", Subject=value, SubscribeURL=value)

    assert message.sns is not None
    assert (message.sns.subject, message.sns.subscribe_url) == ("", "")


# Envelopes.


def test_an_envelope_is_opened() -> None:
    message = open_enveloped(json.dumps({"id": 7}))

    assert (message.kind, message.payload) == (Kind.DATA, {"id": 7})
    assert message.sns == SnsInfo(
        type="Notification",
        topic_arn=TOPIC,
        message_id="22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        timestamp="2020-05-04T15:53:23.123Z",
        subject="An order",
        subscribe_url="",
    )
    assert message.sns.is_notification


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        (json.dumps(EVENT), Kind.MEGA),
        (encode(EVENT, binary_encoding=True).body, Kind.MEGA),
        ("{}", Kind.DATA),
        (encode({"id": 7}, binary_encoding=True).body, Kind.DATA),
        ("ping", Kind.TEXT),
        ("", Kind.TEXT),
    ],
)
def test_the_inner_message_is_read_by_the_same_rules(inner: str, kind: Kind) -> None:
    message = open_enveloped(inner)

    assert message.kind is kind
    assert message.payload == open_message(inner).payload


def test_the_inner_event_may_have_a_problem() -> None:
    message = open_enveloped(json.dumps(EVENT | {"version": 2}))

    assert message.kind is Kind.DATA
    assert message.problem == "not a valid MEGA event: version: must be 1, not 2"


def test_the_attributes_are_those_inside_the_envelope() -> None:
    body = json.dumps(
        envelope(
            "hello",
            MessageAttributes={
                "color": {"Type": "String", "Value": "red"},
                "tags": {"Type": "String.Array", "Value": '["a","b"]'},
                "count": {"Type": "Number", "Value": "3"},
                "price": {"Type": "Number.eur", "Value": "19.90"},
                "photo": {"Type": "Binary", "Value": b64encode(b"\x89PNG").decode()},
                "icon": {"Type": "Binary.gif", "Value": b64encode(b"GIF").decode()},
            },
        )
    )
    outer = {"outer": Attribute("String", "of the queue")}

    message = open_message(body, sqs_attributes=outer)

    assert exactly(dict(message.attributes)) == exactly(
        {
            "color": "red",
            "tags": '["a","b"]',
            "count": 3,
            "price": Decimal("19.90"),
            "photo": b"\x89PNG",
            "icon": b"GIF",
        }
    )
    assert message.sqs_attributes == outer


@pytest.mark.parametrize(
    ("carried", "kept"),
    [
        (None, {}),
        ([], {}),
        ("text", {}),
        ({"a": None, "b": "text", "c": {"Type": "String"}, "d": {"Value": "x"}, "e": {"Type": 1, "Value": 1}}, {}),
        ({"a": {"Type": "Binary", "Value": "not Base64"}}, {"a": "not Base64"}),
        ({"a": {"Type": "Number", "Value": "many"}}, {"a": "many"}),
    ],
)
def test_odd_attributes_in_an_envelope_do_no_harm(carried: object, kept: dict[str, str]) -> None:
    message = open_enveloped("hello", MessageAttributes=carried)

    assert message.payload == "hello"
    assert message.attributes == kept


def test_a_hint_inside_the_envelope_counts() -> None:
    hint = {KIND_ATTRIBUTE: {"Type": "String", "Value": "binary"}}

    message = open_enveloped("AP8=", MessageAttributes=hint)

    assert (message.kind, message.payload) == (Kind.BINARY, b"\x00\xff")


def test_a_raw_delivery_looks_like_any_other_message() -> None:
    message = open_message('{"id": 7}', sqs_attributes={"color": Attribute("String", "red")})

    assert (message.kind, message.payload, message.sns) == (Kind.DATA, {"id": 7}, None)
    assert message.attributes == {"color": "red"}


def test_an_envelope_in_bson_is_opened_too() -> None:
    body = encode(envelope("hello"), binary_encoding=True).body

    assert open_message(body).payload == "hello"


@pytest.mark.parametrize("type_", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_a_confirmation_is_no_payload_and_keeps_topic_and_url(type_: str) -> None:
    message = open_message(json.dumps(CONFIRMATION | {"Type": type_}))

    assert not message.has_payload
    assert message.sns is not None
    assert message.sns.type == type_
    assert message.sns.topic_arn == TOPIC
    assert message.sns.subscribe_url == CONFIRMATION["SubscribeURL"]
    assert not message.sns.is_notification


def test_a_confirmation_whose_message_is_an_event_is_no_event() -> None:
    message = open_message(json.dumps(CONFIRMATION | {"Message": json.dumps(EVENT)}))

    assert message.kind is not Kind.MEGA
    assert not message.has_payload


# Attributes.


@pytest.mark.parametrize(
    ("type_", "value", "plain"),
    [
        ("String", "7", "7"),
        ("String.uuid", "x", "x"),
        ("Number", "7", 7),
        ("Number", "-007", -7),
        ("Number", "+7", 7),
        ("Number.int", "12345678901234567890123456789012345678", 12345678901234567890123456789012345678),
        ("Number", "19.90", Decimal("19.90")),
        ("Number", "1e3", Decimal("1e3")),
        ("Number", "seven", "seven"),
        ("Number", "", ""),
        ("Number", "1" * 100, Decimal("1" * 100)),
        ("Number", "1" * 101, "1" * 101),
        ("Number", "." + "1" * 5_000, "." + "1" * 5_000),
        ("Number", "5e-324", Decimal("5e-324")),
        ("Number", "-1.7976931348623157e+308", Decimal("-1.7976931348623157e+308")),
        ("Number", "1e325", "1e325"),
        ("Number", "1e-325", "1e-325"),
        ("Number", "1e400000", "1e400000"),
        ("Number", "1e" + "9" * 30, "1e" + "9" * 30),
        ("Number", "NaN", "NaN"),
        ("Number", "-sNaN123", "-sNaN123"),
        ("Number", "Infinity", "Infinity"),
        ("Number", "-inf", "-inf"),
        ("Number", "1_000", "1_000"),
        ("Number", " 7", " 7"),
        ("Number", "\u0667", "\u0667"),
        ("Number", ".", "."),
        ("Binary", b"\x00\xff", b"\x00\xff"),
        ("Binary.png", b"7", b"7"),
        ("Number", b"7", b"7"),
    ],
)
def test_attributes_are_plain_values(type_: str, value: str | bytes, plain: object) -> None:
    message = open_message("hello", sqs_attributes={"a": Attribute(type_, value)})

    assert type(message.attributes["a"]) is type(plain)
    assert message.attributes["a"] == plain


NUMERALS = st.from_regex(r"[-+]?[0-9]{0,200}(\.[0-9]{0,200})?([eE][-+]?[0-9]{1,30})?", fullmatch=True)


@given(value=NUMERALS | st.sampled_from(["NaN", "sNaN", "Infinity", "-inf"]))
def test_a_number_attribute_can_be_compared_and_made_whole(value: str) -> None:
    plain = Attribute("Number", value).plain

    if not isinstance(plain, str):
        assert isinstance(plain, int | Decimal)
        assert (plain < 0) in (True, False)
        assert abs(int(plain)) < 10**325
        assert plain == Decimal(value)
        assert hash(plain) == hash(Decimal(value))


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_as_the_number_it_was(value: float) -> None:
    plain = Attribute("Number", repr(value)).plain

    assert isinstance(plain, int | Decimal)
    assert float(plain) == value


@given(type_=st.sampled_from(["Number", "Number.x", "String", "Binary"]), value=st.text(st.characters()))
def test_no_attribute_makes_open_message_raise(type_: str, value: str) -> None:
    message = open_message("hello", sqs_attributes={KIND_ATTRIBUTE: Attribute(type_, value)})

    assert str(message.payload) == "hello"


@pytest.mark.parametrize(
    "hint", [Attribute("Binary", b"binary"), Attribute("Number", "7"), Attribute("String", "BINARY")]
)
def test_a_hint_is_the_exact_word_as_text(hint: Attribute) -> None:
    message = open_message("AP8=", sqs_attributes={KIND_ATTRIBUTE: hint})

    assert message.kind is Kind.TEXT


# The message itself.


def lease_until(expires_at: float, now: float = 100.0) -> Lease:
    return Lease(receipt_handle="AQEB", received_at=90.0, expires_at=expires_at, clock=lambda: now)


def test_a_message_knows_what_sqs_said_about_it() -> None:
    sent_at, lease = datetime(2020, 5, 4, tzinfo=UTC), lease_until(120.0)

    message = open_message(
        "hello",
        id="m-1",
        receive_count=3,
        sent_at=sent_at,
        group_id="g",
        deduplication_id="d",
        queue_url="https://sqs.us-west-2.amazonaws.com/1/q",
        lease=lease,
    )

    assert message == Message(
        id="m-1",
        body="hello",
        kind=Kind.TEXT,
        payload="hello",
        problem="",
        attributes={},
        receive_count=3,
        sent_at=sent_at,
        group_id="g",
        deduplication_id="d",
        sns=None,
        queue_url="https://sqs.us-west-2.amazonaws.com/1/q",
        lease=lease,
    )


def test_a_message_without_a_queue_was_received_once() -> None:
    assert open_message("hello").receive_count == message_with("hello").receive_count == 1


def test_a_message_is_immutable() -> None:
    message = open_message("hello")

    with pytest.raises(dataclasses.FrozenInstanceError):
        message.payload = "changed"  # type: ignore[misc]


@pytest.mark.parametrize(("expires_at", "remaining"), [(120.0, 20.0), (100.0, 0.0), (99.0, 0.0)])
def test_a_lease_runs_down_to_nothing(expires_at: float, remaining: float) -> None:
    assert lease_until(expires_at).remaining == remaining


# A payload of its own.


def spoil(value: Any) -> None:
    """Change everything in *value* that can be changed."""
    for each in list(value.values() if isinstance(value, dict) else value):
        if isinstance(each, dict | list):
            spoil(each)
    value.clear()


@given(body=json_objects.map(json.dumps))
def test_a_payload_of_its_own_shares_nothing_with_the_first(body: str) -> None:
    message = open_message(body)

    copied = message.with_own_payload()
    same = copied == message
    spoil(copied.payload)

    assert same
    assert exactly(message.payload) == exactly(json.loads(body))


@given(payload=payloads(plain_objects))
def test_an_event_of_its_own_shares_nothing_with_the_first(payload: Payload) -> None:
    message = received(payload)

    copied = message.with_own_payload()
    same = copied == message
    shared: list[Mapping[str, Any] | None] = [copied.payload.event.attributes, copied.payload.extra]
    if copied.payload.object is not None:
        shared += [copied.payload.object.current, copied.payload.object.previous]
    for each in shared:
        spoil(each or {})

    assert same
    assert exactly(serialize_payload(message.payload)) == exactly(serialize_payload(payload))


def test_a_deep_payload_gets_a_copy_too() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"a": [deep]}

    copied = message_with(deep).with_own_payload().payload

    assert copied is not deep
    assert copied["a"][0] is not deep["a"][0]
    while deep:
        deep, copied = deep["a"][0], copied["a"][0]
    assert copied == {}


# Messages without a queue.


EVENT_PAYLOAD = PayloadBuilder().with_event(name="x").build()


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (EVENT_PAYLOAD, Kind.MEGA),
        ({"id": 7}, Kind.DATA),
        (EVENT, Kind.DATA),
        (envelope("hello"), Kind.DATA),
        ("hello", Kind.TEXT),
        ('{"id": 7}', Kind.TEXT),
        (b"\x00", Kind.BINARY),
    ],
)
def test_a_payload_is_what_its_type_says(payload: object, kind: Kind) -> None:
    message = message_with(payload)

    assert (message.kind, message.payload) == (kind, payload)


def test_a_message_is_itself() -> None:
    message = open_message("hello")

    assert message_with(message) is message


@pytest.mark.parametrize("payload", [None, 7, [1], Event("x"), ObjectData()])
def test_nothing_else_is_a_payload(payload: object) -> None:
    with pytest.raises(UsageError, match=f"a payload is a Payload, .*, not {type(payload).__name__}$"):
        message_with(payload)
