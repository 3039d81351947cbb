"""What a topic got from another one, through a forwarder, was opened once, and was then data that nobody wanted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from megaflow import App, Message
from megaflow.awslambda.records import open_record
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import KIND_ATTRIBUTE, Kind, encode
from megaflow.messages.message import open_message, read_body
from megaflow.testing import TestClient
from tests.messages.test_message import CONFIRMATION, EVENT, envelope

INNER, OUTER = "arn:aws:sns:us-west-2:424566909325:inner", "arn:aws:sns:us-west-2:424566909325:outer"


def attributes(**values: str) -> dict[str, Any]:
    return {"MessageAttributes": {name: {"Type": "String", "Value": each} for name, each in values.items()}}


def hint(kind: str) -> dict[str, Any]:
    return {"MessageAttributes": {KIND_ATTRIBUTE: {"Type": "String", "Value": kind}}}


def wrap(body: str, times: int) -> str:
    for depth in range(times):
        body = json.dumps(envelope(body, MessageId=f"level-{times - depth}"))
    return body


def test_what_is_in_it_is_the_innermost_message() -> None:
    innermost = envelope(json.dumps(EVENT), TopicArn=INNER, Subject="an event", **attributes(tenant="acme"))

    message = open_message(json.dumps(envelope(json.dumps(innermost), TopicArn=OUTER, **attributes(via="forwarder"))))

    assert message.kind is Kind.MEGA
    assert message.payload.event.name == "x"
    assert message.sns is not None
    assert (message.sns.topic_arn, message.sns.subject) == (INNER, "an event")
    assert message.attributes == {"tenant": "acme"}


def test_what_the_innermost_lacks_is_not_inherited() -> None:
    innermost = envelope("AP8=", Subject=None)

    message = open_message(
        json.dumps(envelope(json.dumps(innermost), **attributes(tenant="acme"))),
        sqs_attributes={"outermost": Attribute("String", "x")},
    )

    assert (message.kind, message.payload) == (Kind.TEXT, "AP8=")
    assert message.attributes == {}
    assert message.sns is not None
    assert message.sns.subject == ""


def test_the_hint_is_that_of_the_innermost() -> None:
    innermost = envelope("AP8=", **hint("binary"))

    message = open_message(json.dumps(envelope(json.dumps(innermost))))

    assert (message.kind, message.payload) == (Kind.BINARY, b"\x00\xff")


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_four_are_opened(depth: int) -> None:
    message = open_message(wrap('{"order": 7}', depth))

    assert (message.kind, message.payload) == (Kind.DATA, {"order": 7})
    assert message.sns is not None
    assert message.sns.message_id == f"level-{depth}"
    assert read_body(message) == '{"order": 7}'


def test_a_fifth_one_is_data() -> None:
    message = open_message(wrap('{"order": 7}', 5))

    assert message.kind is Kind.DATA
    assert (message.payload["MessageId"], message.payload["Message"]) == ("level-5", '{"order": 7}')
    assert message.sns is not None
    assert message.sns.message_id == "level-4"


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_dict_that_looks_like_one_and_says_that_it_is_data_stays_data_at_every_depth(depth: int) -> None:
    published = envelope("hello")
    encoded = encode(published)
    body = json.dumps(envelope(encoded.body, **hint(str(encoded.hint))))
    for _ in range(depth):
        body = json.dumps(envelope(body))

    message = open_message(body)

    assert (message.kind, message.payload) == (Kind.DATA, published)
    assert read_body(message) == encoded.body


def test_a_hint_outside_says_nothing_about_what_is_inside() -> None:
    """The outer hint calls the text between the two envelopes data, and so no envelope."""
    body = json.dumps(envelope(json.dumps(envelope("hello", **hint("text"))), **hint("text")))

    message = open_message(body)

    assert message.kind is Kind.TEXT
    assert json.loads(message.payload)["Message"] == "hello"


def test_a_confirmation_inside_is_no_payload() -> None:
    message = open_message(json.dumps(envelope(json.dumps(CONFIRMATION))))

    assert not message.has_payload
    assert message.sns is not None
    assert message.sns.subscribe_url == CONFIRMATION["SubscribeURL"]


def test_an_event_inside_that_breaks_the_protocol_has_a_problem() -> None:
    message = open_message(wrap(json.dumps(EVENT | {"version": 2}), 3))

    assert message.problem == "not a valid MEGA event: version: must be 1, not 2"


def test_an_envelope_in_bson_inside_another_is_opened_too() -> None:
    inside = encode(envelope("hello"), binary_encoding=True).body

    assert open_message(json.dumps(envelope(inside))).payload == "hello"


def test_a_handler_behind_two_topics_gets_what_was_published() -> None:
    app, got = App(topic_arn=OUTER), []

    @app.on_data({"order": 7})
    def place(order: dict[str, Any], message: Message) -> None:
        got.append((order, message.sns and message.sns.topic_arn))

    with TestClient(app) as client:
        client.publish_raw_message(json.dumps(envelope('{"order": 7}', TopicArn=INNER)))

    assert got == [({"order": 7}, INNER)]


def test_lambda_opens_it_too() -> None:
    record = {
        "messageId": "m",
        "receiptHandle": "AQEB",
        "body": wrap("hello", 2),
        "eventSourceARN": "arn:aws:sqs:us-west-2:424566909325:orders",
    }

    message = open_record(record, 30.0, lambda: 0.0)

    assert message.payload == "hello"
