"""A dict that became an SNS envelope only by encoding, its id a UUID, its time a datetime, was sent without a hint.

It was then opened by its receiver, who got the text inside it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import encode
from megaflow.messages.message import open_message

STAMPED = datetime(2020, 5, 4, 15, 53, 23, tzinfo=UTC)
SENT = {
    "Type": "Notification",
    "MessageId": UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8"),
    "TopicArn": "arn:aws:sns:us-west-2:424566909325:orders",
    "Timestamp": STAMPED,
    "Message": "hello",
}


@pytest.mark.parametrize("binary_encoding", [False, True])
def test_an_envelope_of_other_types_is_received_as_published(binary_encoding: bool) -> None:
    encoded = encode(SENT, binary_encoding=binary_encoding)

    hint = {"megaflow-kind": Attribute("String", str(encoded.hint))}
    message = open_message(encoded.body, sqs_attributes=hint)

    assert encoded.hint == "data"
    assert message.sns is None
    assert message.payload == SENT | {"MessageId": str(SENT["MessageId"]), "Timestamp": STAMPED.isoformat()}
