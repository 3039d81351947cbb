"""Bad messages: what nobody sends who means well, and what each command has to show, to leave or to give back."""

from __future__ import annotations

import base64
import json
from typing import Any

import bson

from megaflow.messages.origin import ORIGIN_ATTRIBUTE


def envelope(**said: Any) -> dict[str, Any]:
    """Return an envelope of SNS."""
    topic = "arn:aws:sns:us-east-1:123456789012:t"
    fields = {"Type": "Notification", "MessageId": "m", "TopicArn": topic, "Timestamp": "t", "Message": "x"}
    return fields | said


def as_bson(document: dict[str, Any]) -> str:
    """Return a body as those that want BSON write it."""
    encode = bson.dumps if hasattr(bson, "dumps") else bson.encode
    return base64.b64encode(encode(document)).decode()


EVIL = "\x1b]52;c;cm0gLXJm\x07\x9b31m\u202e\u2066\r\nmessage 4711: deleted\x85\u2028\x00"
"""What would fill the clipboard, colour and turn what follows, and forge a line."""


def is_harmless(shown: str) -> bool:
    """Tell whether nothing in what a command wrote moves, colours, turns or rings."""
    return all(char.isprintable() or char == "\n" for char in shown)


BAD_BODIES = {
    "an envelope as BSON": as_bson(envelope(Message="from within")),
    "an envelope that holds BSON": json.dumps(envelope(Message=as_bson({"a": 1}))),
    "an envelope as BSON in an envelope": json.dumps(envelope(Message=as_bson(envelope()))),
    "an envelope of odd types": json.dumps(envelope(MessageAttributes=[1], Subject={"a": 1}, SubscribeURL=7)),
    "a confirmation": json.dumps(envelope(Type="SubscriptionConfirmation")),
    "too deep": "[" * 5_000,
    "too deep an object": '{"a":' * 5_000,
    "too many digits": '{"a": ' + "9" * 100_000 + "}",
    "infinite": '{"a": 1e999, "b": NaN}',
    "lone surrogates": '{"protocol": "mega", "version": "\\ud800", "\\udfff": "\\ud800"}',
    "lone surrogates in an envelope": json.dumps(envelope(Message="\ud800", TopicArn="\udcff")),
    "other scripts": "世界 🎉 Grüße\u202e",
    "line breaks": "\r\n\n\r",
    "an envelope that does what it likes to a terminal": json.dumps(
        envelope(Message=EVIL, TopicArn=f"arn:aws:sns:{EVIL}")
    ),
    "an event of odd types": '{"protocol": "mega", "version": 1, "event": {"name": [], "timestamp": 1e400}}',
}
BAD_ORIGINS = [
    *("", "[]", "null", "7", "{", "[" * 5_000, '{"failed": [1], "problem": {"a": 1}}', '"\\ud800"'),
    '{"queue": "\\ud800", "message_id": "\\udfff", "failed": {"\\ud800": "\\ud800"}, "problem": "\\ud800"}',
    '{"queue": "", "message_id": ""}',
    '{"queue": "https://[::1", "message_id": "m"}',
    '{"queue": "arn:aws:sqs", "failed": {"a": {"b": 1e999}}}',
    json.dumps({"message_id": EVIL, "queue": EVIL, "failed": {EVIL: EVIL}, "problem": EVIL}),
]


BAD_ATTRIBUTES = [
    ("Number", "1e400000"),
    ("Number", "9" * 5_000),
    ("Number.\n", "7"),
    ("String.\n", "a\r\nmessage 4711: deleted"),
    ("String.\u202e", "\u202e\u2066"),
]
"""Types and values that SQS takes."""


def send(sqs: Any, url: str, body: str, **attributes: str) -> None:
    """Send a message with attributes that are text; those that are empty are left out."""
    said = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value}
    sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=said)


def send_bad_messages(sqs: Any, url: str) -> int:
    """Send one of each kind, and return how many that are."""
    for body in BAD_BODIES.values():
        send(sqs, url, body)
    for origin in BAD_ORIGINS:
        send(sqs, url, "{}", **{ORIGIN_ATTRIBUTE: origin})
    for type_, value in BAD_ATTRIBUTES:
        attribute = {"DataType": type_, "StringValue": value}
        sqs.send_message(QueueUrl=url, MessageBody="{}", MessageAttributes={"count": attribute})
    return len(BAD_BODIES) + len(BAD_ORIGINS) + len(BAD_ATTRIBUTES)
