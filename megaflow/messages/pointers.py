"""Pointers: what a message has in place of a payload that lies elsewhere, as the SQS and SNS extended clients send it.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-managing-large-messages.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.errors import PayloadError
from megaflow.messages.attributes import AttributeValue
from megaflow.printable import printable

SIZE_ATTRIBUTE: Final = "ExtendedPayloadSize"
"""The message attribute that says how many bytes lie elsewhere; it takes one of the ten places."""

SIZE_ATTRIBUTES: Final = (SIZE_ATTRIBUTE, "SQSLargePayloadSize")
"""What the clients add to a message, today's and those before; they send nothing else under these names."""

_CLASS: Final = "software.amazon.payloadoffloading.PayloadS3Pointer"
_POINTER: Final = re.compile(rf'\s*\[\s*"(?:{re.escape(_CLASS)}|com\.amazon\.sqs\.javamessaging\.MessageS3Pointer)"')

_LONGEST: Final = 16_384
"""Characters of a pointer: bucket and key have fewer, however they are written."""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_KEY_SIZE: Final = 1_024
_BUCKET_SIZE: Final = 255
"""Bytes of a key, and of a bucket's name, or its ARN."""

_UNREAD: Final = "of an extended client, which nothing here reads"


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a payload lies, outside of its message. ``str`` gives ``bucket/key``, as it may be shown."""

    bucket: str
    """The bucket of S3, or what stands for it."""

    key: str
    """The key of the object."""

    def __str__(self) -> str:
        """Give the place in one line."""
        return printable(f"{self.bucket}/{self.key}")


def find_pointer(payload: object, attributes: Mapping[str, AttributeValue]) -> str:
    """Say that a message is a pointer, or claims to be one by its *attributes*; ``""`` where it is none.

    What is said names neither bucket nor key, since it is logged.
    """
    if isinstance(payload, str) and _POINTER.match(payload):
        return f"a pointer to a payload in S3 {_UNREAD}"
    for name in SIZE_ATTRIBUTES:
        if name in attributes:
            return f"said to have its payload in S3 by the attribute {name} {_UNREAD}"
    return ""


def read_pointer(payload: object) -> Pointer:
    """Return the pointer that *payload* is; raise `PayloadError` where it is none that can be followed."""
    if not (isinstance(payload, str) and _POINTER.match(payload)):
        raise PayloadError("it has the attribute of a pointer, and is none")
    if len(payload) > _LONGEST:
        raise PayloadError(f"the pointer has more than {_LONGEST:,} characters")
    try:
        place = _read_place(json.loads(payload))
    except (ValueError, RecursionError):
        place = None
    if place is None:
        raise PayloadError("the pointer is not a list of a name and an object with s3BucketName and s3Key")
    pointer = Pointer(*place)
    if not (_is_name(pointer.bucket, _BUCKET_SIZE) and _is_name(pointer.key, _KEY_SIZE)) or _climbs(pointer.key):
        raise PayloadError("the pointer names a bucket or a key that cannot be one")
    return pointer


def read_size(attributes: Mapping[str, AttributeValue]) -> int | None:
    """Return the bytes that *attributes* say lie elsewhere; None where they say nothing of it.

    Raises `PayloadError` for what is no number of bytes.
    """
    for name in SIZE_ATTRIBUTES:
        if name in attributes:
            size = attributes[name]
            if not isinstance(size, int) or size < 0:
                raise PayloadError(f"its attribute {name} is no number of bytes")
            return size
    return None


def write_pointer(pointer: Pointer) -> str:
    """Return the body of a message whose payload lies there."""
    return json.dumps([_CLASS, {"s3BucketName": pointer.bucket, "s3Key": pointer.key}])


def _read_place(document: Any) -> tuple[str, str] | None:
    """Return bucket and key of a pointer, None where it has none."""
    if len(document) != 2 or not isinstance(document[1], dict):
        return None
    bucket, key = document[1].get("s3BucketName"), document[1].get("s3Key")
    return (bucket, key) if isinstance(bucket, str) and isinstance(key, str) else None


def _is_name(text: str, most: int) -> bool:
    try:
        return 0 < len(text.encode()) <= most and not any(char < " " or char == "\x7f" for char in text)
    except UnicodeEncodeError:
        return False


def _climbs(key: str) -> bool:
    """Tell whether *key* could lead out of a prefix that it begins with, where somebody takes it for a path."""
    return any(part in (".", "..") for part in re.split(r"[/\\]", key))
