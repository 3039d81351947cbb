"""Pointers: what the SQS and SNS extended clients send instead of a payload that they have put into S3.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-managing-large-messages.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from megaflow.messages.attributes import AttributeValue

_SIZE_ATTRIBUTES: Final = ("ExtendedPayloadSize", "SQSLargePayloadSize")
"""What the clients add to a message, today's and those before; they send nothing else under these names."""

_POINTER: Final = re.compile(
    r'\s*\[\s*"(?:software\.amazon\.payloadoffloading\.PayloadS3Pointer|com\.amazon\.sqs\.javamessaging\.MessageS3Pointer)"'
)


_UNREAD: Final = "of an extended client, which nothing here reads"


def find_pointer(payload: object, attributes: Mapping[str, AttributeValue]) -> str:
    """Say that a message is a pointer, or claims to be one by its *attributes*; ``""`` where it is none.

    What is said names neither bucket nor key, since it is logged.
    """
    if isinstance(payload, str) and _POINTER.match(payload):
        return f"a pointer to a payload in S3 {_UNREAD}"
    for name in _SIZE_ATTRIBUTES:
        if name in attributes:
            return f"said to have its payload in S3 by the attribute {name} {_UNREAD}"
    return ""
