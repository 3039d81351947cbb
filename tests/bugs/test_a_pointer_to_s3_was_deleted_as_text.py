"""A message whose payload an extended client had put into S3 was text, matched nobody, and was deleted at INFO."""

from __future__ import annotations

import json
import logging

import pytest

from megaflow import App
from megaflow.awslambda.records import open_record
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message, open_message
from megaflow.testing import TestClient
from tests.messages.test_message import envelope

PLACE = {"s3BucketName": "my-bucket", "s3Key": "0a1b2c3d"}
NEW = json.dumps(["software.amazon.payloadoffloading.PayloadS3Pointer", PLACE])
OLD = json.dumps(["com.amazon.sqs.javamessaging.MessageS3Pointer", PLACE], separators=(",", ":"))
SIZE = Attribute("Number", "1048577")
READS = "a pointer to a payload in S3 of an extended client, which nothing here reads"


@pytest.mark.parametrize("name", ["ExtendedPayloadSize", "SQSLargePayloadSize"])
@pytest.mark.parametrize("body", [NEW, OLD, f" \n{NEW}"])
def test_a_pointer_has_a_problem_and_stays_text(body: str, name: str) -> None:
    message = open_message(body, sqs_attributes={name: SIZE})

    assert (message.kind, message.payload) == (Kind.TEXT, body)
    assert message.problem == READS


@pytest.mark.parametrize("body", [NEW, OLD])
def test_its_shape_alone_is_enough(body: str) -> None:
    assert open_message(body).problem == READS


@pytest.mark.parametrize("body", [json.dumps(PLACE), "somewhere in S3", "[]"])
@pytest.mark.parametrize("name", ["ExtendedPayloadSize", "SQSLargePayloadSize"])
def test_so_is_its_attribute_since_the_payload_is_said_to_be_elsewhere(body: str, name: str) -> None:
    problem = open_message(body, sqs_attributes={name: SIZE}).problem

    assert problem.startswith(f"said to have its payload in S3 by the attribute {name}")


@pytest.mark.parametrize(
    "body",
    [json.dumps(PLACE), json.dumps([PLACE]), json.dumps(["PayloadS3Pointer", PLACE]), f"see {NEW}", json.dumps(NEW)],
)
def test_anything_else_is_none(body: str) -> None:
    assert open_message(body, sqs_attributes={"tenant": Attribute("String", "acme")}).problem == ""


def test_one_inside_an_envelope_has_a_problem_too() -> None:
    size = {"MessageAttributes": {"ExtendedPayloadSize": {"Type": "Number", "Value": "1048577"}}}

    assert open_message(json.dumps(envelope(NEW))).problem == READS
    assert open_message(json.dumps(envelope(json.dumps(envelope(NEW, **size))))).problem == READS
    assert "ExtendedPayloadSize" in open_message(json.dumps(envelope("elsewhere", **size))).problem


def test_nobody_wants_it_so_it_is_dead_lettered_and_said_at_error(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.on_data()(lambda data: None)

    verdict = app.process(NEW)

    assert verdict.dead_letters
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.getMessage().endswith(f"no handler matched, and it is {READS}")
    assert "my-bucket" not in caplog.text


def test_whoever_wants_it_gets_it() -> None:
    app, got = App(), []

    @app.on_text()
    def read(text: str, message: Message) -> None:
        got.append((text, message.problem))

    verdict = app.process(NEW)

    assert verdict.deletes
    assert got == [(NEW, READS)]


def test_test_client_dead_letters_it_and_says_why() -> None:
    app = App()
    app.on_data()(lambda data: None)

    with TestClient(app) as client:
        client.publish_raw_message(NEW, attributes={"ExtendedPayloadSize": 1_048_577})

        (message,) = client.dead_lettered
        assert message.problem == READS
        assert READS in client.explain()


def test_lambda_sees_it_too() -> None:
    record = {
        "messageId": "m",
        "receiptHandle": "AQEB",
        "body": NEW,
        "eventSourceARN": "arn:aws:sqs:us-west-2:424566909325:orders",
        "messageAttributes": {"ExtendedPayloadSize": {"dataType": "Number", "stringValue": "1048577"}},
    }

    assert open_record(record, 30.0, lambda: 0.0).problem == READS
