"""Events and messages as JSON text, for logs and tests."""

from __future__ import annotations

import json
from collections import UserString
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given

from megaflow import EncodeError, Payload, PayloadBuilder
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import Kind, decode, encode
from megaflow.messages.message import message_with, open_message
from tests.messages.test_message import TOPIC, envelope
from tests.strategies import bodies, payloads, plain_objects

EVENT = PayloadBuilder().with_event(name="x", timestamp="2020-05-04T15:53:23+00:00", quantity=5).build()


@given(payload=payloads(plain_objects))
def test_an_event_is_written_as_it_is_published(payload: Payload) -> None:
    text = payload.to_json()

    assert text == encode(payload).body
    assert decode(text).payload == payload


class Size(Enum):
    SMALL = "S"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (datetime(2020, 5, 4, tzinfo=UTC), "2020-05-04T00:00:00+00:00"),
        (Decimal("19.90"), "19.90"),
        (Size.SMALL, "S"),
        ({"b", "a"}, ["a", "b"]),
        (b"\xff", "/w=="),
        (UserString("its own text"), "its own text"),
    ],
)
def test_what_json_does_not_know_can_be_read_all_the_same(value: object, wanted: object) -> None:
    text = PayloadBuilder().with_event(name="x").with_extra(it=value).build().to_json()

    assert json.loads(text)["extra"] == {"it": wanted}


def test_a_message_tells_what_is_known_of_it() -> None:
    body = json.dumps(envelope('{"id": 7}', MessageAttributes={"price": {"Type": "Number", "Value": "19.90"}}))

    told = json.loads(
        open_message(
            body,
            id="m-1",
            receive_count=2,
            sent_at=datetime(2020, 5, 4, tzinfo=UTC),
            group_id="g",
            queue_url="https://sqs.us-west-2.amazonaws.com/1/q",
            system_attributes={"SenderId": "AIDA"},
        ).to_json()
    )

    assert told.pop("sns")["topic_arn"] == TOPIC
    assert told == {
        "id": "m-1",
        "kind": "data",
        "payload": {"id": 7},
        "attributes": {"price": "19.90"},
        "queue_url": "https://sqs.us-west-2.amazonaws.com/1/q",
        "receive_count": 2,
        "sent_at": "2020-05-04T00:00:00+00:00",
        "group_id": "g",
        "sender_id": "AIDA",
    }


@pytest.mark.parametrize(
    ("payload", "kind", "wanted"),
    [
        (EVENT, Kind.MEGA, json.loads(EVENT.to_json())),
        ({}, Kind.DATA, {}),
        ("", Kind.TEXT, ""),
        (b"\xff", Kind.BINARY, "/w=="),
    ],
)
def test_there_is_always_a_payload(payload: Any, kind: Kind, wanted: object) -> None:
    assert json.loads(message_with(payload).to_json()) == {"kind": kind.value, "payload": wanted, "receive_count": 1}


def test_a_problem_is_told() -> None:
    assert json.loads(open_message('{"protocol": "mega"}').to_json())["problem"].startswith("not a valid MEGA event")


@given(body=bodies)
def test_whatever_is_received_can_be_told(body: str) -> None:
    json.loads(open_message(body, sqs_attributes={"blob": Attribute("Binary", b"\xff")}).to_json())


def test_what_holds_itself_is_an_encode_error() -> None:
    endless: dict[str, Any] = {}
    endless["it"] = endless
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"a": deep}

    for payload in (endless, deep, {(1, 2): 3}):
        with pytest.raises(EncodeError, match="cannot be written as JSON"):
            message_with(payload).to_json()
    while deep:
        deep = deep.get("a", {})
