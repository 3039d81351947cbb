"""The SNS envelope: recognised, opened, and what it says of topic and subject.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.messages.attributes import Attribute

_SNS_TYPES: Final = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")


def is_sns_envelope(data: Mapping[str, Any]) -> bool:
    """Tell whether *data* is what SNS wraps around a message that it delivers to a queue.

    https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    """
    return data.get("Type") in _SNS_TYPES and all(
        isinstance(data.get(key), str) for key in ("MessageId", "TopicArn", "Timestamp", "Message")
    )


@dataclass(frozen=True, slots=True)
class SnsInfo:
    """What the SNS envelope of a message says. With raw message delivery there is no envelope."""

    type: str
    """``Notification``, or SNS's own ``SubscriptionConfirmation`` and ``UnsubscribeConfirmation``."""

    topic_arn: str
    """The topic."""

    message_id: str
    """The id that SNS gave the message."""

    timestamp: str
    """When it was published, as SNS writes it."""

    subject: str = ""
    """The subject; ``""`` where there is none."""

    subscribe_url: str = ""
    """The URL that confirms a subscription; ``""`` for messages. megaflow never visits it."""

    @property
    def is_notification(self) -> bool:
        """Whether this is a published message; False for a confirmation of a subscription."""
        return self.type == "Notification"


def read_sns_info(envelope: Mapping[str, Any]) -> SnsInfo:
    """Return what *envelope* says of its message."""
    return SnsInfo(
        type=envelope["Type"],
        topic_arn=envelope["TopicArn"],
        message_id=envelope["MessageId"],
        timestamp=envelope["Timestamp"],
        subject=_read_text(envelope.get("Subject")),
        subscribe_url=_read_text(envelope.get("SubscribeURL")),
    )


def _read_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def read_envelope_attributes(envelope: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return the publisher's attributes; what does not look like one is left out."""
    attributes = {}
    carried = envelope.get("MessageAttributes")
    for name, said in carried.items() if isinstance(carried, dict) else ():
        if isinstance(said, dict) and isinstance(said.get("Type"), str) and isinstance(said.get("Value"), str):
            attributes[name] = Attribute(said["Type"], _read_value(said["Type"], said["Value"]))
    return attributes


def _read_value(type_: str, value: str) -> str | bytes:
    if not type_.startswith("Binary"):
        return value
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return value
