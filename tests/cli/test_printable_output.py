"""What others wrote is shown to people, and does nothing to their terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.bad_messages import EVIL, is_harmless
from tests.cli.conftest import Run


def envelope(message: str, topic: str) -> str:
    fields = {"Type": "Notification", "MessageId": "1", "Message": message, "Timestamp": "2026-01-01T00:00:00.000Z"}
    return json.dumps(fields | {"TopicArn": f"arn:aws:sns:us-east-1:123456789012:{topic}"})


@pytest.mark.parametrize("body", [envelope(EVIL, EVIL), f'{{"a": "{EVIL[7:-1]}"}}', "plain\u202e\x9b31m"])
def test_peek_shows_bodies_and_topics(run: Run, sqs: Any, orders: str, body: str) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody=body.replace("\x07", ""))

    ran = run("peek", "orders")

    assert is_harmless(ran.out + ran.err)
    assert r"\u202e" in ran.out


def test_peek_shows_what_an_origin_says(run: Run, sqs: Any, orders: str) -> None:
    origin = json.dumps({"message_id": EVIL, "queue": EVIL, "failed": {EVIL: EVIL}, "problem": EVIL})
    attributes = {"megaflow-origin": {"DataType": "String", "StringValue": origin}}
    sqs.send_message(QueueUrl=orders, MessageBody="{}", MessageAttributes=attributes)

    ran = run("peek", "orders")

    assert is_harmless(ran.out)
    assert r"\x1b]52" in ran.out
    assert not any(line.startswith("message 4711") for line in ran.out.splitlines())


def test_json_is_as_it_is(run: Run, sqs: Any, orders: str) -> None:
    sqs.send_message(QueueUrl=orders, MessageBody=envelope(EVIL, "news"))

    (shown,) = run("peek", "orders", "--json").json

    assert json.loads(shown["body"])["Message"] == EVIL


def test_an_error_says_what_was_given(run: Run, orders: str) -> None:
    ran = run("peek", f"orders\x1b[31m\u202e\n{'x'}")

    assert ran.code == 2
    assert is_harmless(ran.err)
