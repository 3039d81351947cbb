"""Bodies: what each kind of payload becomes, and what any body is read as."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.errors import EncodeError
from megaflow.event import Event, Payload, PayloadBuilder, matches_payload, serialize_payload
from megaflow.messages.codec import Decoded, Kind, decode, encode
from megaflow.messages.envelope import is_sns_envelope
from megaflow.messages.plain_values import plain_dict
from tests import documents
from tests.strategies import bodies, bson_objects, exactly, json_objects, payloads, plain_objects, telling_texts

README_PAYLOAD = {
    "type": "user_notification",
    "notification_type": "email",
    "user": {"id": 987650, "email": "johndoe_86@example.com"},
}
README_JSON = (
    '{"type": "user_notification", "notification_type": "email", '
    '"user": {"id": 987650, "email": "johndoe_86@example.com"}}'
)
README_BSON = (
    "cwAAAAJ0eXBlABIAAAB1c2VyX25vdGlmaWNhdGlvbgACbm90aWZpY2F0aW9uX3R5cGUABgAAAGVtYWlsAAN1c2VyAC8AAAAQaWQAAhIPAAJlbWFp"
    "bAAXAAAAam9obmRvZV84NkBleGFtcGxlLmNvbQAAAA=="
)
MEGA = {"protocol": "mega", "version": 1, "event": {"name": "x", "timestamp": "2020-05-04T15:53:23"}}
ENVELOPE = {
    "Type": "Notification",
    "MessageId": "22b80b92",
    "TopicArn": "arn:aws:sns:us-west-2:424566909325:orders",
    "Timestamp": "2020-05-04T15:53:23.123Z",
    "Message": "hello",
}


class Color(Enum):
    RED = "red"


class Word(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: int
    y: int


def there_and_back(payload: object, *, binary_encoding: bool = False) -> Decoded:
    encoded = encode(payload, binary_encoding=binary_encoding)
    return decode(encoded.body, encoded.hint)


# The README's figures.


def test_the_readmes_example_has_118_characters_as_json() -> None:
    encoded = encode(README_PAYLOAD)

    assert encoded.body == README_JSON
    assert len(encoded.body) == 118


def test_the_readmes_example_has_the_readmes_156_characters_as_bson() -> None:
    encoded = encode(README_PAYLOAD, binary_encoding=True)

    assert encoded.body == README_BSON
    assert len(encoded.body) == 156


@pytest.mark.parametrize(("body", "binary_encoding"), [(README_JSON, False), (README_BSON, True)])
def test_the_readmes_bodies_are_read_as_its_example(body: str, binary_encoding: bool) -> None:
    assert decode(body) == Decoded(Kind.DATA, README_PAYLOAD, binary_encoding=binary_encoding)


# There and back.


@given(value=json_objects)
def test_an_object_comes_back_from_json(value: dict[str, Any]) -> None:
    decoded = there_and_back(value)

    assert decoded.kind is Kind.DATA
    assert exactly(decoded.payload) == exactly(value)


@given(value=bson_objects)
def test_an_object_comes_back_from_bson(value: dict[str, Any]) -> None:
    decoded = there_and_back(value, binary_encoding=True)

    assert decoded.kind is Kind.DATA
    assert exactly(decoded.payload) == exactly(value)


@given(payload=payloads(plain_objects), binary_encoding=st.booleans())
def test_an_event_comes_back_from_either(payload: Payload, binary_encoding: bool) -> None:
    decoded = there_and_back(payload, binary_encoding=binary_encoding)

    assert decoded.kind is Kind.MEGA
    assert exactly(serialize_payload(decoded.payload)) == exactly(serialize_payload(payload))


@given(payload=payloads(bson_objects))
def test_an_event_with_bytes_comes_back_from_bson(payload: Payload) -> None:
    assert there_and_back(payload, binary_encoding=True) == Decoded(Kind.MEGA, payload, binary_encoding=True)


@given(value=telling_texts)
def test_text_comes_back_as_text_whatever_it_looks_like(value: str) -> None:
    assert there_and_back(value) == Decoded(Kind.TEXT, value)


@given(value=telling_texts)
def test_text_is_sent_as_it_is(value: str) -> None:
    assert encode(value).body == value


@given(value=st.binary())
def test_bytes_come_back_as_bytes(value: bytes) -> None:
    assert there_and_back(value) == Decoded(Kind.BINARY, value)


@given(value=bson_objects)
def test_bytes_that_are_bson_come_back_as_bytes(value: dict[str, Any]) -> None:
    blob = b64decode(encode(value, binary_encoding=True).body)

    assert there_and_back(blob) == Decoded(Kind.BINARY, blob)


@pytest.mark.parametrize("binary_encoding", [False, True])
def test_bytes_travel_as_base64_either_way(binary_encoding: bool) -> None:
    encoded = encode(b"\x00\xff", binary_encoding=binary_encoding)

    assert encoded.body == "AP8="


def test_a_bytearray_is_bytes() -> None:
    assert encode(bytearray(b"\x00\xff")) == encode(b"\x00\xff")


# The hint.


@pytest.mark.parametrize(
    "payload",
    [
        README_PAYLOAD,
        {},
        PayloadBuilder().with_event(name="x").build(),
        MEGA,
        "hello",
        "[1]",
        "7",
        '"text"',
        "{not json",
    ],
)
def test_what_reads_as_what_it_is_needs_no_hint(payload: object) -> None:
    assert encode(payload).hint == ""


@pytest.mark.parametrize(
    ("payload", "hint"),
    [
        (b"any", "binary"),
        (b"", "binary"),
        (README_JSON, "text"),
        (README_BSON, "text"),
        (json.dumps(MEGA), "text"),
        (json.dumps(ENVELOPE), "text"),
        (ENVELOPE, "data"),
    ],
)
def test_what_would_be_read_as_something_else_gets_a_hint(payload: object, hint: str) -> None:
    assert encode(payload).hint == hint


def test_an_object_that_looks_like_an_envelope_gets_its_hint_as_bson_too() -> None:
    assert encode(ENVELOPE, binary_encoding=True).hint == "data"


@pytest.mark.parametrize("missing", list(ENVELOPE))
def test_an_envelope_has_all_five_keys(missing: str) -> None:
    assert is_sns_envelope(ENVELOPE)
    assert not is_sns_envelope({key: value for key, value in ENVELOPE.items() if key != missing})


@given(body=bodies, hint=st.sampled_from(["mega", "data", "any", "nonsense", "TEXT", b"text", 1, None]))
def test_a_hint_that_says_nothing_new_is_ignored(body: str, hint: object) -> None:
    assert repr(decode(body, hint)) == repr(decode(body))


@pytest.mark.parametrize("body", ["not Base64", README_JSON, "cGluZw", "cGluZw==\n", "gr\u00fcn", "\ud800"])
def test_a_binary_hint_that_does_not_fit_is_ignored(body: str) -> None:
    assert decode(body, "binary") == decode(body)
    assert decode(body).kind is not Kind.BINARY


def test_an_event_that_is_sent_as_an_object_is_an_event() -> None:
    decoded = there_and_back(MEGA)

    assert decoded.kind is Kind.MEGA
    assert serialize_payload(decoded.payload)["event"]["name"] == "x"


# What bodies are read as.


@given(body=bodies, hint=st.sampled_from(["", "text", "binary", "data", "mega"]))
def test_no_body_makes_decode_raise(body: str, hint: str) -> None:
    decoded = decode(body, hint)

    types = {Kind.MEGA: Payload, Kind.DATA: dict, Kind.TEXT: str, Kind.BINARY: bytes}
    assert type(decoded.payload) is types[decoded.kind]


@given(data=st.binary())
def test_base64_is_text_or_an_object_but_never_bytes_without_a_hint(data: bytes) -> None:
    decoded = decode(b64encode(data).decode())

    assert decoded.kind in (Kind.TEXT, Kind.DATA)


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "hello",
        "ping",
        "d41d8cd98f00b204e9800998ecf8427e",
        "null",
        "true",
        "7",
        "19.99",
        '"quoted"',
        "[]",
        '[{"a": 1}]',
        "{",
        '{"a": 1} and more',
        '{"a": }',
        "\ufeff{}",
        "gr\u00fcn",
        "\ud800",
        "\0",
    ],
)
def test_everything_else_is_text(body: str) -> None:
    assert decode(body) == Decoded(Kind.TEXT, body)


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b64decode(README_BSON)[:-1], b64decode(README_BSON) + b"\0"])
def test_base64_that_is_no_whole_bson_document_is_text(data: bytes) -> None:
    body = documents.as_body(data)

    assert decode(body) == Decoded(Kind.TEXT, body)


def test_base64_is_read_strictly() -> None:
    body = README_BSON[:76] + "\n" + README_BSON[76:]

    assert decode(body) == Decoded(Kind.TEXT, body)


@pytest.mark.parametrize(
    "body",
    [
        '{"a":' * 40_000,
        "[" * 200_000,
        '{"a":' * 40_000 + "1" + "}" * 40_000,
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_200_kb_of_nesting_are_text(body: str) -> None:
    assert decode(body).kind is Kind.TEXT


def test_200_kb_of_nested_bson_are_text() -> None:
    levels = 28_000
    opened = b"".join(documents.opening(5 + 7 * inner) + b"\x03\0" for inner in range(levels, 0, -1))
    body = documents.as_body(opened + documents.document() + b"\0" * levels)

    assert decode(body).kind is Kind.TEXT


def test_an_integer_of_5000_digits_is_text() -> None:
    body = '{"a": ' + "1" * 5_000 + "}"

    assert decode(body) == Decoded(Kind.TEXT, body)


def test_a_lone_surrogate_in_json_is_a_value() -> None:
    assert decode('{"a": "\\ud800"}') == Decoded(Kind.DATA, {"a": "\ud800"})


def test_nan_and_infinity_in_json_are_values() -> None:
    payload = decode('{"a": NaN, "b": -Infinity, "c": 1e999}').payload

    assert [str(each) for each in payload.values()] == ["nan", "-inf", "inf"]


@pytest.mark.parametrize("space", [" ", "\n", "\t\r\n "])
def test_json_may_stand_among_whitespace(space: str) -> None:
    assert decode(space + README_JSON + space) == Decoded(Kind.DATA, README_PAYLOAD)


def test_of_a_repeated_key_the_last_counts() -> None:
    assert decode('{"a": 1, "a": 2}').payload == {"a": 2}


# Events that break the protocol.


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "not a valid MEGA event: version: must be 1, not 2"),
        ({"version": None}, "not a valid MEGA event: version: must be 1, not None"),
        ({"event": {"timestamp": "2020-05-04"}}, "not a valid MEGA event: event.name: is missing"),
        ({"event": {"name": "x"}}, "not a valid MEGA event: event.timestamp: is missing"),
        (
            {"event": {"name": "x", "timestamp": "soon"}},
            "not a valid MEGA event: event.timestamp: must be an ISO 8601 time, not another text",
        ),
        ({"event": None}, "not a valid MEGA event: event: is missing"),
        ({"extra": [1]}, "not a valid MEGA event: extra: must be an object, not list"),
    ],
)
@pytest.mark.parametrize("binary_encoding", [False, True])
def test_an_event_that_breaks_the_protocol_is_data_with_a_problem(
    changes: dict[str, Any], problem: str, binary_encoding: bool
) -> None:
    broken = MEGA | changes

    decoded = there_and_back(broken, binary_encoding=binary_encoding)

    assert (decoded.kind, decoded.payload) == (Kind.DATA, broken)
    assert decoded.problem.startswith(problem)


@pytest.mark.parametrize("payload", [MEGA, README_PAYLOAD, {"protocol": "http", "version": 2}, "text", b"bytes"])
def test_nothing_else_has_a_problem(payload: object) -> None:
    assert there_and_back(payload).problem == ""


@pytest.mark.parametrize("version", [1, "1"])
def test_an_event_of_version_1_is_an_event(version: object) -> None:
    assert decode(json.dumps(MEGA | {"version": version})).kind is Kind.MEGA


@given(value=json_objects)
def test_what_decode_calls_an_event_is_what_matches_payload_calls_one(value: dict[str, Any]) -> None:
    for candidate in (value, MEGA | value):
        assert (there_and_back(candidate).kind is Kind.MEGA) == matches_payload(candidate)


# Values on their way out.


@pytest.mark.parametrize("binary_encoding", [False, True])
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (datetime(2020, 5, 4, 15, 53, 23, 123000, tzinfo=UTC), "2020-05-04T15:53:23.123000+00:00"),
        (datetime(2020, 5, 4, 15, 53, 23), "2020-05-04T15:53:23"),
        (date(2020, 5, 4), "2020-05-04"),
        (Decimal("19.90"), "19.90"),
        (UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8"), "61fcc874-624e-40f8-8fd7-0e663c7837e8"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (set(), []),
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        (Color.RED, "red"),
        (Word.RED, "red"),
        (Number.ONE, 1),
        ([Color.RED], ["red"]),
        (OrderedDict(a=Decimal(1)), {"a": "1"}),
        (True, True),
        (None, None),
    ],
)
def test_values_that_json_lacks_become_those_it_has(value: object, sent: object, binary_encoding: bool) -> None:
    decoded = there_and_back({"value": value}, binary_encoding=binary_encoding)

    assert exactly(decoded.payload) == exactly({"value": sent})


ODD = st.sampled_from(
    [Decimal("1.5"), UUID(int=7), date(2020, 1, 2), Word.RED, float("nan"), b"x", {1, 2}, object(), True]
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | ODD
    | st.builds(pow, st.just(10), st.just(5_000)),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.tuples(inside, inside)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.just(Word.RED), inside, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4))
def test_what_needs_no_conversion_is_written_as_if_it_had_been_converted(document: dict[str, Any]) -> None:
    def say(write: Callable[[], str]) -> str:
        try:
            return write()
        except EncodeError as error:
            return f"refused: {error}"

    assert say(lambda: encode(document).body) == say(lambda: json.dumps(plain_dict(document, "payload", False)))


def test_the_same_set_is_always_the_same_body() -> None:
    sets = [set("abcdefgh"), set("hgfedcba"), frozenset("efghabcd")]

    sent = {encode({"set": each}).body for each in sets}

    assert sent == {'{"set": ["a", "b", "c", "d", "e", "f", "g", "h"]}'}


def test_a_set_may_hold_values_that_cannot_be_compared() -> None:
    assert there_and_back({"set": {1, "a", None}}).payload["set"] == [None, 1, "a"]


def test_an_event_is_converted_like_any_object() -> None:
    payload = Payload(Event("x", attributes={"price": Decimal("19.99"), "color": Color.RED}))

    assert there_and_back(payload).payload.event.attributes == {"price": "19.99", "color": "red"}


def test_bytes_in_bson_are_bytes() -> None:
    sent = {"avatar": b"\x89PNG", "thumbnail": bytearray(b"\xff")}

    decoded = there_and_back(sent, binary_encoding=True)

    assert exactly(decoded.payload) == exactly({"avatar": b"\x89PNG", "thumbnail": b"\xff"})


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])
def test_whole_numbers_of_64_bits_fit_into_bson(number: int) -> None:
    assert there_and_back({"n": number}, binary_encoding=True).payload == {"n": number}


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**400])
def test_larger_ones_need_json(number: int) -> None:
    assert there_and_back({"n": number}).payload == {"n": number}
    with pytest.raises(EncodeError, match=r"^payload\.n: a whole number beyond 64 bits does not fit into BSON"):
        encode({"n": number}, binary_encoding=True)


class Opaque:
    """Something of the user's that no format knows."""


def holding_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"user": {"avatar": b"\x89PNG"}}, "payload.user.avatar: bytes need binary_encoding=True"),
        ({"user": {"avatar": bytearray(b"\x89")}}, "payload.user.avatar: bytes need binary_encoding=True"),
        ({"items": [1, {"price": float("nan")}]}, "payload.items[1].price: nan is not a number that JSON knows"),
        ({"x": float("-inf")}, "payload.x: -inf is not a number that JSON knows"),
        ({"x": Decimal("NaN")}, "payload.x: NaN is not a number that JSON knows"),
        ({"x": (0, Opaque())}, "payload.x[1]: Opaque cannot be sent; turn it into text, a number or an object"),
        ({"x": Opaque}, "payload.x: type cannot be sent; turn it into text, a number or an object"),
        ({"x": 1j}, "payload.x: complex cannot be sent; turn it into text, a number or an object"),
        ({"x": {1: "one"}}, "payload.x: the key 1 is not text"),
        ({"x": {None: "none"}}, "payload.x: the key None is not text"),
        ({b"x": 1}, "payload: the key b'x' is not text"),
        ({Color.RED: 1}, "payload: the key <Color.RED: 'red'> is not text"),
        (Payload(Event("x", attributes={"a": b""})), "payload.event.attributes.a: bytes need binary_encoding=True"),
        (Payload(Event("x"), extra={"a": {1: 1}}), "payload.extra.a: the key 1 is not text"),
        (holding_itself(), "payload: is nested too deeply, over 100 levels, or holds itself"),
        (nested(100_000), "payload: is nested too deeply, over 100 levels, or holds itself"),
    ],
)
def test_what_cannot_be_sent_is_named_by_its_path(payload: object, reason: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(payload)

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"a": {"b\0c": 1}}, "payload.a: BSON allows no NUL in the key 'b\\x00c'"),
        ({"a": ["\ud800"]}, "payload.a[0]: BSON allows no lone surrogate in text"),
        ({"a": {"\ud800": 1}}, "payload.a: BSON allows no lone surrogate in text"),
        ({"a": float("inf")}, "payload.a: inf is not a number that JSON knows"),
        ({"a": {1: 1}}, "payload.a: the key 1 is not text"),
        ({"a": {"$$__CLASS_NAME__$$": "x"}}, "payload.a: the text $$__CLASS_NAME__$$ means something else in BSON"),
        ({"a": [["$$__CLASS_NAME__$$"]]}, "payload.a[0]: the text $$__CLASS_NAME__$$ means something else in BSON"),
        (Payload(Event("\ud800")), "payload.event.name: BSON allows no lone surrogate in text"),
        (holding_itself(), "payload: is nested too deeply, over 100 levels, or holds itself"),
    ],
)
def test_what_bson_refuses_is_named_by_its_path(payload: object, reason: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(payload, binary_encoding=True)

    assert str(caught.value) == reason


def test_json_carries_the_text_that_bson_refuses() -> None:
    payload = {"a\0b": "\ud800", "$$__CLASS_NAME__$$": "\0"}

    assert there_and_back(payload).payload == payload


@pytest.mark.parametrize(
    ("payload", "name"),
    [(None, "NoneType"), (7, "int"), ([1], "list"), (MappingProxyType({}), "mappingproxy"), (Opaque(), "Opaque")],
)
def test_a_message_is_one_of_four_types(payload: object, name: str) -> None:
    with pytest.raises(
        EncodeError, match=rf"^payload: a message is a Payload, a dict, a model, a str or bytes, not {name}$"
    ):
        encode(payload)


def test_text_has_no_binary_encoding() -> None:
    with pytest.raises(EncodeError, match="payload: text has no binary encoding"):
        encode("hello", binary_encoding=True)


@given(value=json_objects)
def test_what_is_sent_is_left_as_it_was(value: dict[str, Any]) -> None:
    before = json.dumps(value)

    encode(value)

    assert json.dumps(value) == before
